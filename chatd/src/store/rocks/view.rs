//! Consistent reads from an open database.

use super::live::Live;
use crate::store::StoreError;
use crate::store::columns::{self, Column};
use bytes::Bytes;
use held::Held;
use quorate_core::table::{Direction, Flow, Read, ReadError, Row, Table};
use rocksdb::{ReadOptions, Snapshot};
use std::sync::Arc;

#[allow(clippy::mem_forget, reason = "within the macro, where it hands a value over instead of dropping it")]
mod held {
    use super::{Arc, Live, Snapshot};

    self_cell::self_cell!(
        /// Snapshot together with the database that it borrows from.
        pub(super) struct Held {
            owner: Arc<Live>,
            #[covariant]
            dependent: Snapshot,
        }
    );
}

/// View of the rows as of one commit.
pub struct RocksView(Held);

impl RocksView {
    pub(super) fn of(live: Arc<Live>) -> Self {
        Self(Held::new(live, |live| live.db().snapshot()))
    }
}

fn engine(table: Table) -> impl Fn(rocksdb::Error) -> ReadError {
    move |source| ReadError::Engine { table, source: Box::new(source) }
}

fn family(live: &Live, table: Table) -> Result<&rocksdb::ColumnFamily, ReadError> {
    let no_family = |error: StoreError| ReadError::Engine { table, source: Box::new(error) };
    live.family(columns::of(table)).map_err(no_family)
}

/// Checks whether all keys from `from` up to and excluding `to` share the prefix that the family's filters are made of.
/// Filters may only be used in that case; otherwise files that hold rows of the range would be skipped.
fn within_one_prefix(column: Column, from: &[u8], to: &[u8]) -> bool {
    let Some(len) = column.prefix_len() else { return false };
    match (from.get(..len), to.get(..len)) {
        (Some(first), Some(last)) => first == last,
        _ => false,
    }
}

impl Read for RocksView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let family = family(self.0.borrow_owner(), table)?;
        let value = self.0.borrow_dependent().get_cf(family, columns::key(table, key));
        Ok(value.map_err(engine(table))?.map(Bytes::from))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut dyn FnMut(Row<'_>) -> Result<Flow, ReadError>,
    ) -> Result<(), ReadError> {
        let (lower, upper) = (columns::key(table, from), columns::upper_bound(table, to));
        if lower >= upper {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        options.set_total_order_seek(!within_one_prefix(columns::of(table), &lower, &upper));
        options.set_iterate_lower_bound(lower.as_slice());
        options.set_iterate_upper_bound(upper.as_slice());
        let family = family(self.0.borrow_owner(), table)?;
        let mut rows = self.0.borrow_dependent().raw_iterator_cf_opt(family, options);
        match direction {
            Direction::Forward => rows.seek(&lower),
            Direction::Backward => rows.seek_for_prev(&upper),
        }
        while let Some((key, value)) = rows.item() {
            // The first byte is the table's number, which the bounds guarantee.
            if visit((key.get(1..).unwrap_or_default(), value))? == Flow::Stop {
                return Ok(());
            }
            match direction {
                Direction::Forward => rows.next(),
                Direction::Backward => rows.prev(),
            }
        }
        rows.status().map_err(engine(table))
    }
}
