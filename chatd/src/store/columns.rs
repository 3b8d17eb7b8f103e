//! Which column family a table lives in. The only place that names column families.
//!
//! All families are flushed together (atomic flush), and each flush makes a file per family: so there are few, cut by how
//! they are used, not one per table. A key is the table's number, then core's key.

use quorate_core::table::Table;
use smallvec::SmallVec;

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// chatd's own rows: applied log id, membership, format.
    Own,
    /// Events: most of the bytes, read by page of a room.
    Timeline,
    /// What is found by room: state, members, relations; small rows, read by prefix.
    Room,
    /// What is found by an event's position: written once in ascending order, read one at a time.
    Position,
    /// What is found by user, device, token or alias.
    Account,
    /// Transaction ids: looked up once per command, nearly always in vain, so filters must answer.
    Dedup,
}

impl Column {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Own, Self::Timeline, Self::Room, Self::Position, Self::Account, Self::Dedup];

    /// Name on disk: a promise, like the keys.
    pub(crate) fn name(self) -> &'static str {
        match self {
            // RocksDB always has this one.
            Self::Own => "default",
            Self::Timeline => "timeline",
            Self::Room => "room",
            Self::Position => "position",
            Self::Account => "account",
            Self::Dedup => "dedup",
        }
    }

    /// Bytes in front of a key that all keys of one room share; `None` where keys do not begin with a room.
    pub(crate) fn prefix_len(self) -> Option<usize> {
        match self {
            // Table number, then the room's eight bytes.
            Self::Timeline | Self::Room => Some(1 + 8),
            Self::Own | Self::Position | Self::Account | Self::Dedup => None,
        }
    }
}

/// Where a table's rows are.
pub(crate) fn of(table: Table) -> Column {
    match table {
        Table::Timeline => Column::Timeline,
        Table::Room
        | Table::StateVersion
        | Table::StateChange
        | Table::RoomMember
        | Table::Relation
        | Table::PublicRoom => Column::Room,
        Table::RoomByPosition | Table::EventRoom => Column::Position,
        Table::Dedup => Column::Dedup,
        Table::Meta
        | Table::Account
        | Table::Device
        | Table::Token
        | Table::Membership
        | Table::Alias
        | Table::Filter
        | Table::AccountData
        | Table::Sequence => Column::Account,
    }
}

/// A key on disk. Most are shorter than this, and are made for each row that is read or written.
pub(crate) type Key = SmallVec<[u8; 120]>;

/// A row's key on disk.
pub(crate) fn key(table: Table, key: &[u8]) -> Key {
    let mut out = Key::with_capacity(1 + key.len());
    out.push(table as u8);
    out.extend_from_slice(key);
    out
}

/// The bound after a scan's last row; an empty `to` means the end of the table.
pub(crate) fn upper_bound(table: Table, to: &[u8]) -> Key {
    // Table numbers are below 255, and the one after may lack a table: only the order counts.
    if to.is_empty() { Key::from_slice(&[(table as u8).saturating_add(1)]) } else { key(table, to) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_ends_before_the_next_one_begins() {
        for pair in Table::ALL.windows(2) {
            let [this, next] = pair else { continue };
            assert!(key(*this, &[0xff; 64]) < upper_bound(*this, &[]));
            assert!(upper_bound(*this, &[]) <= key(*next, &[]));
        }
    }

    #[test]
    fn tables_that_share_a_family_of_rooms_begin_with_the_room() {
        let number = 7_u64.to_be_bytes();
        for table in [Table::Timeline, Table::Room, Table::RoomMember, Table::PublicRoom] {
            let len = of(table).prefix_len().expect("it is found by room");
            assert_eq!(key(table, &number).len(), len);
        }
    }
}
