//! Positions as values that can be compared and printed.

use quorate_wire::chat::v1;
use serde::Serialize;
use std::fmt;

/// Position of an event in the cluster-wide order; compared in the order of its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct EventPosition {
    /// Incarnation of the log, which rises by one with each restore or forced recovery.
    pub incarnation: u32,
    /// Index of the Raft log entry.
    pub index: u64,
    /// Place of the event within the entry.
    pub ordinal: u32,
}

impl From<v1::Position> for EventPosition {
    fn from(wire: v1::Position) -> Self {
        let v1::Position { incarnation, index, ordinal } = wire;
        Self { incarnation, index, ordinal }
    }
}

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.incarnation, self.index, self.ordinal)
    }
}
