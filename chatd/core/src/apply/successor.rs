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
/// Type of the global account data that holds the push rules.
const PUSH_RULES: &str = "m.push_rules";
/// Kind of push rules that are named by the room that they are about.
const ROOM_RULES: &str = "room";

/// Maximum size in bytes of tags that are copied. A copy counts towards the user's limits but is not refused for them, and
/// whoever makes rooms makes copies; tags of people take some hundred bytes.
const MAX_TAGS_BYTES: usize = 4096;

/// Copies tags, push rules and the place among direct chats to the new room, for a user who was in the old one. Data that
/// the user already has about the new room stays, as does that about the old one.
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
    if let Some(rules) = data_of(context, localpart, RoomNumber(0), PUSH_RULES)?
        && let Some(rules) = with_rules_for(&rules, &old_id, &room.id)
    {
        account_data::put_copy(context, localpart, RoomNumber(0), PUSH_RULES, rules)?;
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

/// Adds a rule about the new room for each kind of rules of which one is about the old room and in force; `None` if
/// nothing changes.
fn with_rules_for(content: &[u8], old_id: &str, new_id: &str) -> Option<Bytes> {
    let mut content = json::stored_object(content);
    let mut changed = false;
    for (kind, rules) in content.get_mut("global")?.as_object_mut()? {
        let Some(rules) = rules.as_array_mut() else { continue };
        let names = |rule: &Value, id: &str| rule.get("rule_id").and_then(Value::as_str) == Some(id);
        let is_about_old = |rule: &Value| {
            if kind == ROOM_RULES {
                names(rule, old_id)
            } else {
                conditions(rule).any(|condition| asks_for(condition, old_id))
            }
        };
        let is_enabled = |rule: &Value| rule.get("enabled").and_then(Value::as_bool) != Some(false);
        if rules.iter().any(|rule| names(rule, new_id)) {
            continue;
        }
        let old = rules.iter().enumerate().find(|(_, rule)| is_enabled(rule) && is_about_old(rule));
        if let Some((place, rule)) = old.map(|(place, rule)| (place, with_room(rule.clone(), old_id, new_id))) {
            // Beside the old one: it has the same precedence over the others.
            rules.insert(place + 1, rule);
            changed = true;
        }
    }
    changed.then(|| json::canonical_json(&content))
}

fn conditions(rule: &Value) -> impl Iterator<Item = &Value> {
    rule.get("conditions").and_then(Value::as_array).into_iter().flatten()
}

/// Returns `true` if the condition of a push rule asks for this room.
fn asks_for(condition: &Value, room_id: &str) -> bool {
    let field = |name| condition.get(name).and_then(Value::as_str);
    field("key") == Some("room_id") && field("pattern") == Some(room_id)
}

/// Returns a push rule about one room as one about another.
fn with_room(mut rule: Value, old_id: &str, new_id: &str) -> Value {
    let Some(fields) = rule.as_object_mut() else { return rule };
    fields.insert("rule_id".into(), new_id.into());
    for condition in fields.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        if asks_for(condition, old_id)
            && let Some(condition) = condition.as_object_mut()
        {
            condition.insert("pattern".into(), new_id.into());
        }
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_direct_chat_stays_one_in_the_new_room() {
        let direct = br#"{"@b:x":["!old","!other"],"@c:x":["!other"],"odd":1}"#;
        let new = with_new_room(direct, "!old", "!new").unwrap();
        assert_eq!(new, r#"{"@b:x":["!old","!other","!new"],"@c:x":["!other"],"odd":1}"#);
        assert_eq!(with_new_room(&new, "!old", "!new"), None);
    }

    #[test]
    fn rules_about_a_room_are_joined_by_rules_about_the_new_one() {
        let about = |room: &str| json!([{"kind": "event_match", "key": "room_id", "pattern": room}, {"kind": "x"}]);
        let rule =
            |id: &str, room: &str| json!({"rule_id": id, "conditions": about(room), "actions": [], "enabled": true});
        let simple = |id: &str, enabled: bool| json!({"rule_id": id, "actions": ["notify"], "enabled": enabled});
        let master = json!({"rule_id": ".m.rule.master", "conditions": [], "enabled": false});
        let rules = |of_override: &[Value], of_room: &[Value], of_sender: &[Value]| {
            json!({"global": {"override": of_override, "room": of_room, "sender": of_sender}}).to_string()
        };
        let before = rules(
            &[master.clone(), rule("mute", "!old"), rule("other", "!other")],
            &[simple("!old", true), simple("!other", true)],
            &[simple("!old", true)],
        );
        let after = rules(
            &[master, rule("mute", "!old"), rule("!new", "!new"), rule("other", "!other")],
            &[simple("!old", true), simple("!new", true), simple("!other", true)],
            &[simple("!old", true)],
        );
        let new = with_rules_for(before.as_bytes(), "!old", "!new").unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&new).unwrap(), serde_json::from_str::<Value>(&after).unwrap());
        assert_eq!(with_rules_for(&new, "!old", "!new"), None, "the user's own rule about the new room stays");
        let off = rules(&[], &[simple("!old", false)], &[]);
        assert_eq!(with_rules_for(off.as_bytes(), "!old", "!new"), None);
        for odd in ["{}", r#"{"global":1}"#, r#"{"global":{"room":[1,{}],"override":{"a":1}}}"#] {
            assert_eq!(with_rules_for(odd.as_bytes(), "!old", "!new"), None, "{odd}");
        }
    }
}
