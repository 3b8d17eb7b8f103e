//! Data about an upgraded room that its members take along when they join the successor.

use super::account_data;
use super::context::{ApplyContext, ApplyResult, RoomHandle};
use crate::id::RoomNumber;
use crate::json;
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, Table, key};
use bytes::Bytes;
use serde_json::Value;

/// Type of the account data that holds a room's tags.
const TAGS: &str = "m.tag";
/// Type of the global account data that lists direct chats by user.
const DIRECT: &str = "m.direct";

/// Maximum size in bytes of tags that are copied. A copy counts towards the user's limits but is not refused for them, and
/// whoever makes rooms makes copies; tags of people take some hundred bytes.
const MAX_TAGS_BYTES: usize = 4096;

/// Copies tags and the place among direct chats to the new room, for a user who was in the old one. Data that the user
/// already has about the new room stays.
pub(super) fn carry_over(context: &mut ApplyContext<'_>, room: &RoomHandle, localpart: &str) -> ApplyResult<()> {
    let old = RoomNumber(room.row.predecessor);
    if old.0 == 0 || rows::membership_row(&context.rows, old, localpart)?.kind() != Kind::Join {
        return Ok(());
    }
    if data_of(context, localpart, room.number, TAGS)?.is_none()
        && let Some(tags) = data_of(context, localpart, old, TAGS)?.filter(|tags| tags.len() <= MAX_TAGS_BYTES)
    {
        account_data::put_copy(context, localpart, room.number, TAGS, tags)?;
    }
    let old_id = context.room_by_number(old)?.id;
    if let Some(direct) = data_of(context, localpart, RoomNumber(0), DIRECT)?
        && let Some(direct) = with_new_room(&direct, &old_id, &room.id)
    {
        account_data::put_copy(context, localpart, RoomNumber(0), DIRECT, direct)?;
    }
    Ok(())
}

fn data_of(
    context: &ApplyContext<'_>,
    localpart: &str,
    room: RoomNumber,
    event_type: &str,
) -> ApplyResult<Option<Bytes>> {
    let key = key::account_data(localpart, room, event_type);
    let row = table::fetch_row::<store::AccountData>(&context.rows, Table::AccountData, &key)?;
    Ok(row.map(|row| row.content))
}

/// Adds the new room wherever the old one is named; `None` if nothing changes.
fn with_new_room(direct: &[u8], old_id: &str, new_id: &str) -> Option<Bytes> {
    let mut users = json::stored_object(direct);
    let mut changed = false;
    for rooms in users.values_mut().filter_map(Value::as_array_mut) {
        let names = |id: &str| rooms.iter().any(|room| room.as_str() == Some(id));
        if names(old_id) && !names(new_id) {
            rooms.push(new_id.into());
            changed = true;
        }
    }
    changed.then(|| json::canonical_json(&users))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_chat_stays_one_in_the_new_room() {
        let direct = br#"{"@b:x":["!old","!other"],"@c:x":["!other"],"odd":1}"#;
        let new = with_new_room(direct, "!old", "!new").unwrap();
        assert_eq!(new, r#"{"@b:x":["!old","!other","!new"],"@c:x":["!other"],"odd":1}"#);
        assert_eq!(with_new_room(&new, "!old", "!new"), None);
    }
}
