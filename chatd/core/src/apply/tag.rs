//! Tags of rooms: account data of which clients change one entry at a time, so that two devices that tag a room at once
//! do not undo each other's work.
//! Source: Matrix specification, "Room Tagging".

use super::account_data::{self, MAX_BYTES};
use super::append;
use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use crate::json::{self, JsonObject};
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{self, Table, key};
use serde_json::Value;

/// Maximum number of tags of one room. People have a handful; a list of rooms goes through all of them.
const MAX_TAGS: usize = 100;
/// Maximum length of a tag in bytes (specification, "Room Tagging").
const MAX_TAG_BYTES: usize = 255;
/// Field of the content that holds the tags.
const TAGS: &str = "tags";

pub(super) fn apply_change_tag(context: &mut ApplyContext<'_>, command: &log::ChangeTag) -> ApplyResult<CommandAnswer> {
    if command.tag.is_empty() || command.tag.len() > MAX_TAG_BYTES {
        return refuse(Reason::Invalid, format!("a tag must have 1 to {MAX_TAG_BYTES} bytes"));
    }
    let info = command.info.as_deref().map(tag_info).transpose()?;
    let room = context.room_by_id(&command.room_id)?;
    if rows::membership_row(&context.rows, room.number, context.user)?.kind() == Kind::Unspecified {
        return refuse(Reason::NotMember, "you are not in this room; join it first");
    }
    let key = key::account_data(context.user, room.number, event_type::TAG);
    let old = table::fetch_row::<store::AccountData>(&context.rows, Table::AccountData, &key)?;
    let mut content = old.map(|old| json::stored_object(&old.content)).unwrap_or_default();
    // A client may have stored any content with the whole of the account data.
    let mut tags = match content.remove(TAGS) {
        Some(Value::Object(tags)) => tags,
        _ => JsonObject::new(),
    };
    let before = tags.get(&command.tag).cloned();
    match info.map(Value::Object) {
        after if after == before => return Ok(CommandAnswer::done()),
        Some(info) => drop(tags.insert(command.tag.clone(), info)),
        None => drop(tags.remove(&command.tag)),
    }
    if before.is_none() && tags.len() > MAX_TAGS {
        return refuse(Reason::TooLarge, format!("a room can have at most {MAX_TAGS} tags: remove one first"));
    }
    content.insert(TAGS.into(), Value::Object(tags));
    let content = json::canonical_json(&content);
    if content.len() > MAX_BYTES {
        return refuse(Reason::TooLarge, format!("the tags of a room can have at most {MAX_BYTES} bytes"));
    }
    let data = log::PutAccountData {
        r#type: event_type::TAG.into(),
        content,
        max_entries: command.max_entries,
        max_bytes: command.max_bytes,
        ..log::PutAccountData::default()
    };
    account_data::store_datum(context, room.number, &data)?;
    Ok(CommandAnswer::done())
}

fn tag_info(info: &[u8]) -> ApplyResult<JsonObject> {
    if info.len() > MAX_BYTES {
        return refuse(Reason::TooLarge, format!("the description of a tag must have at most {MAX_BYTES} bytes"));
    }
    append::check_object(info)?;
    json::parse_object(info).or_else(|why| refuse(Reason::BadJson, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::set_membership::Change;
    use crate::testing::{World, world};

    fn change(world: &mut World, user: &str, room: &str, tag: &str, info: Option<&str>) -> Envelope {
        let change = log::ChangeTag {
            room_id: room.into(),
            tag: tag.into(),
            info: info.map(|info| info.to_owned().into()),
            ..log::ChangeTag::default()
        };
        world.by(user, log::command::Kind::ChangeTag(change))
    }

    fn tags(world: &World, user: &str, room: &str) -> String {
        let room = world.view().resolve_room(room).unwrap();
        let content = world.view().account_data(user, Some(room), "m.tag").unwrap().unwrap_or_default();
        String::from_utf8(content.to_vec()).unwrap()
    }

    #[test]
    fn each_tag_is_changed_by_itself() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("alice");
        let one = change(&mut world, "alice", &room, "u.work", Some(r#"{"order":0.25}"#));
        let two = change(&mut world, "alice", &room, "m.favourite", Some("{}"));
        world.apply(vec![one.clone(), two]);
        assert_eq!(tags(&world, "alice", &room), r#"{"tags":{"m.favourite":{},"u.work":{"order":0.25}}}"#);
        assert!(world.accepted(one).duplicate, "a repetition is no second change");
        let gone = change(&mut world, "alice", &room, "m.favourite", None);
        world.accepted(gone);
        assert_eq!(tags(&world, "alice", &room), r#"{"tags":{"u.work":{"order":0.25}}}"#);
        assert_eq!(tags(&world, "bob", &room), "");
    }

    #[test]
    fn a_tag_that_is_as_it_was_wakes_nobody() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let mut touched = |tag: &str, info| {
            let envelope = change(&mut world, "alice", &room, tag, info);
            world.apply(vec![envelope]).remove(0).touched.users
        };
        assert_eq!(touched("u.a", Some("{}")), ["alice"]);
        assert!(touched("u.a", Some("{}")).is_empty());
        assert!(touched("u.b", None).is_empty());
    }

    #[test]
    fn what_else_is_in_the_account_data_stays_and_what_is_no_list_of_tags_does_not() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        for (before, after) in [
            (r#"{"tags":{"u.b":{}},"x":1}"#, r#"{"tags":{"u.a":{},"u.b":{}},"x":1}"#),
            (r#"{"tags":[1],"x":1}"#, r#"{"tags":{"u.a":{}},"x":1}"#),
        ] {
            let put = log::PutAccountData {
                room_id: room.clone(),
                r#type: "m.tag".into(),
                content: before.into(),
                ..log::PutAccountData::default()
            };
            let put = world.by("alice", log::command::Kind::PutAccountData(put));
            world.accepted(put);
            let envelope = change(&mut world, "alice", &room, "u.a", Some("{}"));
            world.accepted(envelope);
            assert_eq!(tags(&world, "alice", &room), after);
        }
    }

    #[test]
    fn tags_that_cannot_be_are_refused() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("alice");
        let mut refused = |user: &str, room: &str, tag: &str, info| {
            let envelope = change(&mut world, user, room, tag, Some(info));
            world.rejected(envelope)
        };
        assert_eq!(refused("alice", &room, "", "{}"), Reason::Invalid);
        assert_eq!(refused("alice", &room, &"x".repeat(256), "{}"), Reason::Invalid);
        assert_eq!(refused("alice", &room, "u.a", "1"), Reason::BadJson);
        assert_eq!(refused("bob", &room, "u.a", "{}"), Reason::NotMember);
        assert_eq!(refused("bob", "!nowhere:a.org", "u.a", "{}"), Reason::RoomNotFound);
    }

    #[test]
    fn the_tags_of_a_room_are_bounded_and_outlast_a_leave() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("alice");
        world.moved("bob", &room, Change::Join, "");
        for n in 0..MAX_TAGS {
            let envelope = change(&mut world, "bob", &room, &format!("u.{n}"), Some("{}"));
            world.accepted(envelope);
        }
        world.moved("bob", &room, Change::Leave, "");
        let more = change(&mut world, "bob", &room, "u.more", Some("{}"));
        assert_eq!(world.rejected(more), Reason::TooLarge);
        let changed = change(&mut world, "bob", &room, "u.0", Some(r#"{"order":1}"#));
        world.accepted(changed);
        let removed = change(&mut world, "bob", &room, "u.1", None);
        world.accepted(removed);
        let more = change(&mut world, "bob", &room, "u.more", Some("{}"));
        world.accepted(more);
    }
}
