//! Ranges of rows, as scans visit them.

use super::{Table, key};
use std::borrow::Cow;

/// Direction in which a scan walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanDirection {
    /// Scan in ascending order of keys.
    Forward,
    /// Scan in descending order of keys.
    Backward,
}

/// Rows that a scan visits: those of one table with `from <= key < to`, in one direction. A `from` beyond `to` means no
/// rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanRange<'k> {
    /// Table that contains the rows.
    pub table: Table,
    /// Lowest key of the range.
    pub from: &'k [u8],
    /// End of the range, itself excluded; empty for the end of the table.
    pub to: Cow<'k, [u8]>,
    /// Direction in which the rows are visited.
    pub direction: ScanDirection,
}

impl<'k> ScanRange<'k> {
    /// Returns the range of all rows of a table, forward.
    #[must_use]
    pub fn all(table: Table) -> Self {
        Self::between(table, &[], &[])
    }

    /// Returns the range from a key to the end of the table, forward.
    #[must_use]
    pub fn starting_at(table: Table, from: &'k [u8]) -> Self {
        Self::between(table, from, &[])
    }

    /// Returns the range of the keys that begin with `prefix`, forward.
    #[must_use]
    pub fn with_prefix(table: Table, prefix: &'k [u8]) -> Self {
        Self { table, from: prefix, to: Cow::Owned(key::after_prefix(prefix)), direction: ScanDirection::Forward }
    }

    /// Returns the range from a key up to and excluding another, forward. An empty `to` means the end of the table.
    #[must_use]
    pub fn between(table: Table, from: &'k [u8], to: &'k [u8]) -> Self {
        Self { table, from, to: Cow::Borrowed(to), direction: ScanDirection::Forward }
    }

    /// Returns the same rows in this direction.
    #[must_use]
    pub fn in_direction(self, direction: ScanDirection) -> Self {
        Self { direction, ..self }
    }

    /// Returns the same rows in descending order of keys.
    #[must_use]
    pub fn backward(self) -> Self {
        self.in_direction(ScanDirection::Backward)
    }
}
