//! Values of the state's rows.

use crate::proto::store;
use crate::rows;
use crate::table::{self, Table};
use bytes::Bytes;
use prost::Message;

/// Decodes the rest of the bytes as a value of the table whose number is the first byte.
pub(super) fn run(bytes: &[u8]) -> bool {
    let Some((number, value)) = bytes.split_first() else { return false };
    let Some(table) = Table::ALL.get(usize::from(*number)) else { return false };
    let value = Bytes::copy_from_slice(value);
    match *table {
        Table::Meta => stable::<store::Cluster>(*table, &value),
        Table::Account => stable::<store::Account>(*table, &value),
        Table::Device => stable::<store::Device>(*table, &value),
        Table::Token => stable::<store::Token>(*table, &value),
        Table::Room => stable::<store::Room>(*table, &value),
        Table::Timeline => stable::<store::Event>(*table, &value),
        Table::Membership | Table::RoomMember => stable::<store::Membership>(*table, &value),
        Table::Relation => stable::<store::Relation>(*table, &value),
        Table::Dedup => stable::<store::Dedup>(*table, &value),
        Table::Alias => stable::<store::Alias>(*table, &value),
        Table::AccountData => stable::<store::AccountData>(*table, &value),
        Table::Sequence => stable::<store::Sequence>(*table, &value),
        Table::StateVersion => {
            let kind = rows::member_version_kind(&value);
            kind.is_ok_and(|kind| rows::member_version_value(kind) == value)
        }
        Table::RoomByPosition | Table::EventRoom => rows::room_in(*table, &value).is_ok(),
        // The value is empty, or bytes that are returned unchanged.
        Table::StateChange | Table::PublicRoom | Table::Filter => true,
    }
}

fn stable<M: Message + Default + PartialEq>(table: Table, value: &Bytes) -> bool {
    let Ok(first) = table::decode::<M>(table, value.clone()) else { return false };
    let second = table::decode::<M>(table, table::encode(&first));
    assert!(second.is_ok_and(|second| second == first), "another row is read back");
    true
}
