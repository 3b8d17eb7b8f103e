//! Values of the state's rows.

use crate::entry_events::EventRuns;
use crate::proto::store;
use crate::rows;
use crate::table::{self, Table};
use bytes::Bytes;
use prost::Message;

/// Decodes the rest of the bytes as a value of the table whose number is the first byte.
pub(super) fn fuzz_row(bytes: &[u8]) -> bool {
    let Some((number, value)) = bytes.split_first() else { return false };
    let Some(table) = Table::ALL.iter().find(|table| **table as u8 == *number) else { return false };
    let value = Bytes::copy_from_slice(value);
    match *table {
        Table::Meta => fuzz_value::<store::Cluster>(*table, &value),
        Table::Account => fuzz_value::<store::Account>(*table, &value),
        Table::Device => fuzz_value::<store::Device>(*table, &value),
        Table::Token => fuzz_value::<store::Token>(*table, &value),
        Table::Room => fuzz_value::<store::Room>(*table, &value),
        Table::Timeline => fuzz_value::<store::Event>(*table, &value),
        Table::Membership | Table::RoomMember => fuzz_value::<store::Membership>(*table, &value),
        Table::Relation => fuzz_value::<store::Relation>(*table, &value),
        Table::Aggregate => fuzz_value::<store::Aggregate>(*table, &value),
        Table::Dedup => fuzz_value::<store::Dedup>(*table, &value),
        Table::Alias => fuzz_value::<store::Alias>(*table, &value),
        Table::AccountData => fuzz_value::<store::AccountData>(*table, &value),
        Table::Report => fuzz_value::<store::Report>(*table, &value),
        Table::Pusher => fuzz_value::<store::Pusher>(*table, &value),
        Table::WaitingPush => fuzz_value::<store::WaitingPush>(*table, &value),
        Table::Sequence => fuzz_value::<store::Sequence>(*table, &value),
        Table::ToDevice => fuzz_value::<store::ToDevice>(*table, &value),
        Table::ToDeviceQueue => fuzz_value::<store::ToDeviceQueue>(*table, &value),
        Table::KeyBackup => fuzz_value::<store::KeyBackup>(*table, &value),
        Table::BackupKey => fuzz_value::<store::BackupKey>(*table, &value),
        Table::Receipt => fuzz_value::<store::Receipt>(*table, &value),
        Table::ReceiptChange => fuzz_value::<store::ReceiptChange>(*table, &value),
        Table::ReceiptPlace => fuzz_value::<store::ReceiptPlace>(*table, &value),
        Table::DeviceKeys => fuzz_value::<store::DeviceKeys>(*table, &value),
        Table::DehydratedDevice => fuzz_value::<store::DehydratedDevice>(*table, &value),
        Table::KeyStock => fuzz_value::<store::KeyStock>(*table, &value),
        Table::OneTimeKey => fuzz_value::<store::OneTimeKey>(*table, &value),
        Table::CrossSigningKey => fuzz_value::<store::CrossSigningKey>(*table, &value),
        Table::UserSignature => fuzz_value::<store::UserSignature>(*table, &value),
        Table::KeyChange => fuzz_value::<store::KeyChange>(*table, &value),
        Table::LastKeyChange => fuzz_value::<store::LastKeyChange>(*table, &value),
        Table::StateVersion => {
            let kind = rows::member_version_kind(&value);
            kind.is_ok_and(|kind| rows::member_version_value(kind) == value)
        }
        Table::RoomByPosition => rows::room_in(*table, &value).is_ok(),
        Table::EventRoom => EventRuns::decode(value).is_ok(),
        // The value is empty, or bytes that are returned unchanged.
        Table::StateChange
        | Table::PublicRoom
        | Table::Filter
        | Table::RoomAlias
        | Table::PublicRoomBySize
        | Table::PusherUser => true,
    }
}

fn fuzz_value<M: Message + Default + PartialEq>(table: Table, value: &Bytes) -> bool {
    let Ok(first) = table::decode_value::<M>(table, value.clone()) else { return false };
    let second = table::decode_value::<M>(table, table::encode_value(&first));
    assert!(second.is_ok_and(|second| second == first), "another row is read back");
    true
}
