//! Assignment of tables to column families. Nothing else names column families.
//!
//! All families are flushed together (atomic flush), and each flush makes one file per family. Families are therefore
//! few and divided by access pattern, instead of one per table. A key is the table's number followed by the key of
//! `quorate_core`.

use quorate_core::table::Table;
use smallvec::SmallVec;

/// Column family of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DbColumn {
    /// Rows of chatd itself: applied log id, membership, format.
    Own,
    /// Events: most of the bytes, read in pages of one room.
    Timeline,
    /// Rows found by room: state, members, relations. Small, and read by prefix.
    Room,
    /// Rows found by the position of an event: written once in ascending order, read one at a time.
    Position,
    /// Rows found by user, device, token or alias.
    Account,
    /// Transaction ids: looked up once per command and nearly always absent, so that filters must answer.
    Dedup,
}

impl DbColumn {
    pub(crate) const ALL: [Self; 6] =
        [Self::Own, Self::Timeline, Self::Room, Self::Position, Self::Account, Self::Dedup];

    /// Returns the name on disk. Like the keys, it must never change.
    pub(crate) fn name(self) -> &'static str {
        match self {
            // RocksDB always creates this one.
            Self::Own => "default",
            Self::Timeline => "timeline",
            Self::Room => "room",
            Self::Position => "position",
            Self::Account => "account",
            Self::Dedup => "dedup",
        }
    }

    /// Returns the length of the prefix that the keys of one room share, or `None` if keys do not begin with a room.
    pub(crate) fn prefix_len(self) -> Option<usize> {
        match self {
            // One byte for the table's number, eight for the room.
            Self::Timeline | Self::Room => Some(1 + 8),
            Self::Own | Self::Position | Self::Account | Self::Dedup => None,
        }
    }
}

/// Returns the column family that holds a table's rows.
pub(crate) fn column_of(table: Table) -> DbColumn {
    match table {
        Table::Timeline => DbColumn::Timeline,
        Table::Room
        | Table::StateVersion
        | Table::StateChange
        | Table::RoomMember
        | Table::Relation
        | Table::Aggregate
        | Table::PublicRoom
        | Table::Receipt
        | Table::ReceiptChange
        | Table::RoomAlias => DbColumn::Room,
        Table::RoomByPosition | Table::EventRoom | Table::ReceiptPlace => DbColumn::Position,
        Table::Dedup => DbColumn::Dedup,
        Table::Meta
        | Table::Account
        | Table::Device
        | Table::Token
        | Table::Membership
        | Table::Alias
        | Table::Filter
        | Table::AccountData
        | Table::Sequence
        | Table::ToDevice
        | Table::ToDeviceQueue
        | Table::KeyBackup
        | Table::BackupKey
        | Table::DeviceKeys
        | Table::KeyStock
        | Table::OneTimeKey
        | Table::CrossSigningKey
        | Table::UserSignature
        | Table::KeyChange
        | Table::LastKeyChange
        | Table::Report
        | Table::Pusher
        | Table::PusherUser
        | Table::WaitingPush
        | Table::DehydratedDevice
        // Read across rooms, which the family of rooms is not made for.
        | Table::PublicRoomBySize => DbColumn::Account,
    }
}

/// Key on disk. Inline up to 120 bytes, because most keys are shorter and one is made for each row read or written.
pub(crate) type RowKey = SmallVec<[u8; 120]>;

/// Returns the key on disk of a row.
pub(crate) fn row_key(table: Table, key: &[u8]) -> RowKey {
    let mut out = RowKey::with_capacity(1 + key.len());
    out.push(table as u8);
    out.extend_from_slice(key);
    out
}

/// Returns the exclusive upper bound of a scan; an empty `to` stands for the end of the table.
pub(crate) fn upper_bound(table: Table, to: &[u8]) -> RowKey {
    // Table numbers are below 255. The next number need not belong to a table: only the order matters.
    if to.is_empty() { RowKey::from_slice(&[(table as u8).saturating_add(1)]) } else { row_key(table, to) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_ends_before_the_next_one_begins() {
        for pair in Table::ALL.windows(2) {
            let [this, next] = pair else { continue };
            assert!(row_key(*this, &[0xff; 64]) < upper_bound(*this, &[]));
            assert!(upper_bound(*this, &[]) <= row_key(*next, &[]));
        }
    }

    #[test]
    fn tables_that_share_a_family_of_rooms_begin_with_the_room() {
        let number = 7_u64.to_be_bytes();
        for table in [Table::Timeline, Table::Room, Table::RoomMember, Table::PublicRoom] {
            let len = column_of(table).prefix_len().expect("it is found by room");
            assert_eq!(row_key(table, &number).len(), len);
        }
    }
}
