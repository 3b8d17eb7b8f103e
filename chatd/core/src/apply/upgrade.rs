//! Replacement of a room by a new one of another version: the new room begins with the state of the old one that the
//! specification names ("Room Upgrades"), and the old one ends with a tombstone that leads to it.

use super::administer::rooms::check_not_blocked;
use super::append::{NewEvent, append_event};
use super::context::{ApplyContext, ApplyResult, CommandAnswer, RoomHandle};
use super::{alias, create_room, directory, member};
use crate::auth::levels;
use crate::auth::send::{self, EventSender};
use crate::id::{self, Position, RoomNumber};
use crate::json::{self, JsonObject};
use crate::proto::log::{self, outcome};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::room_version::RoomVersion;
use crate::rows::{self, event_type};
use crate::table::{self, ScanControl, ScanRange, Table, key};
use serde_json::Value;

/// Types of state that the new room gets as they are.
const COPIED: [&str; 9] = [
    event_type::JOIN_RULES,
    event_type::HISTORY_VISIBILITY,
    event_type::GUEST_ACCESS,
    event_type::NAME,
    event_type::TOPIC,
    event_type::AVATAR,
    event_type::ENCRYPTION,
    event_type::SERVER_ACL,
    event_type::RETENTION,
];

/// Maximum number of bans, and of rooms of a space, that the new room gets: more would hold up all other commands. The
/// rest can be added by hand.
const MAX_COPIED: usize = 1000;

/// Maximum number of bytes of the bans, and of the rooms of a space: each of them may be as large as an event, and all
/// pods write them at once.
const MAX_COPIED_BYTES: usize = 4 << 20;

/// Maximum size in bytes of content that the new room gets. Content that fills a whole event might not fit into one of
/// the new room, whose id and sender may be longer, and whoever sets a name could prevent the upgrade with it.
const MAX_CONTENT_BYTES: usize = 60 << 10;

/// Maximum number of members, and of versions of a space's rooms, examined for that.
const MAX_LOOKED_AT: usize = 65_536;

/// Power that messages and invitations need in the old room afterwards, or one more than everybody has.
const POWER_AFTERWARDS: i64 = 50;

pub(super) fn apply_upgrade_room(
    context: &mut ApplyContext<'_>,
    command: &log::UpgradeRoom,
) -> ApplyResult<CommandAnswer> {
    let mut old = context.room_by_id(&command.room_id)?;
    context.joined(&old)?;
    // The new room would have the aliases of this one, and its place in the directory.
    check_not_blocked(context, old.number)?;
    let version = create_room::room_version(&command.new_version)?;
    let user_id = context.user_id();
    let sender = EventSender { user_id: &user_id, localpart: context.user };
    send::check_state(old.levels(), sender, event_type::TOMBSTONE, "")?;
    let create = creation(context, &old, command, version)?;
    let mut new = create_room::allocate_room(context, &create, version)?;
    create_room::append_create_event(context, &mut new, &create, &[])?;
    bury_room(context, &mut old, &new)?;
    member::join_creator(context, &mut new, create.is_direct)?;
    copy_levels(context, &old, &mut new)?;
    copy_state(context, old.number, &mut new)?;
    copy_bans(context, old.number, &mut new)?;
    move_names(context, &mut old, &mut new)?;
    quieten_room(context, &mut old)?;
    context.save_room(&old);
    context.save_room(&new);
    Ok(CommandAnswer::New(outcome::Kind::RoomCreated(log::RoomCreated { room_id: new.id }), None))
}

/// Returns the command that would create the new room.
fn creation(
    context: &ApplyContext<'_>,
    old: &RoomHandle,
    command: &log::UpgradeRoom,
    version: RoomVersion,
) -> ApplyResult<log::CreateRoom> {
    let mut predecessor = JsonObject::from_iter([("room_id".to_owned(), old.id.as_str().into())]);
    if !version.has_powerful_creators() {
        // The tombstone, which follows the new room's first event.
        let tombstone = Position { ordinal: context.first.ordinal + 1, ..context.first };
        predecessor.insert("event_id".into(), id::event_id(tombstone).into());
    }
    let mut content = state_content(context, old.number, event_type::CREATE)?.unwrap_or_default();
    content.retain(|field, _| matches!(field.as_str(), "m.federate" | "type"));
    content.insert("predecessor".into(), predecessor.into());
    if version.has_powerful_creators() && !command.additional_creators.is_empty() {
        content.insert("additional_creators".into(), command.additional_creators.clone().into());
    }
    Ok(log::CreateRoom {
        is_direct: old.row.is_direct,
        room_type: old.row.room_type.clone(),
        creation_content: json::canonical_json(&content),
        ..log::CreateRoom::default()
    })
}

fn state_content(context: &ApplyContext<'_>, room: RoomNumber, event_type: &str) -> ApplyResult<Option<JsonObject>> {
    let event = rows::state_event(&context.rows, room, event_type, "", Position::MAX)?;
    Ok(event.map(|(_, event)| json::stored_object(&event.content)))
}

/// Returns the content of a piece of state that the new room gets, unless it is too large.
fn copied_content(context: &ApplyContext<'_>, room: RoomNumber, event_type: &str) -> ApplyResult<Option<JsonObject>> {
    let event = rows::state_event(&context.rows, room, event_type, "", Position::MAX)?;
    let event = event.filter(|(_, event)| event.content.len() <= MAX_CONTENT_BYTES);
    Ok(event.map(|(_, event)| json::stored_object(&event.content)))
}

/// Sends a state event that no rule judges, because it belongs to an upgrade that the rules allow.
fn put_state(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    event_type: &str,
    content: &JsonObject,
) -> ApplyResult<()> {
    append_event(context, room, NewEvent::state(event_type, "", json::canonical_json(content))).map(drop)
}

fn bury_room(context: &mut ApplyContext<'_>, old: &mut RoomHandle, new: &RoomHandle) -> ApplyResult<()> {
    let content = JsonObject::from_iter([
        ("body".to_owned(), "This room has been replaced".into()),
        ("replacement_room".to_owned(), new.id.as_str().into()),
    ]);
    put_state(context, old, event_type::TOMBSTONE, &content)
}

/// Copies the power levels, as far as the new version allows them.
fn copy_levels(context: &mut ApplyContext<'_>, old: &RoomHandle, new: &mut RoomHandle) -> ApplyResult<()> {
    let mut content = state_content(context, old.number, event_type::POWER_LEVELS)?.unwrap_or_default();
    let was_unlimited = old.levels().is_creator(context.user);
    let creators = new.levels().creators.clone();
    let users = content.entry("users").or_insert_with(|| JsonObject::new().into());
    if let Some(users) = users.as_object_mut() {
        users.retain(|user, _| {
            let local = id::user_localpart(user, context.server_name);
            local.is_none_or(|local| creators.binary_search_by(|creator| creator.as_str().cmp(local)).is_err())
        });
        if was_unlimited && creators.is_empty() {
            users.insert(context.user_id(), 100.into());
        }
    }
    put_state(context, new, event_type::POWER_LEVELS, &content)
}

fn copy_state(context: &mut ApplyContext<'_>, old: RoomNumber, new: &mut RoomHandle) -> ApplyResult<()> {
    for event_type in COPIED {
        if let Some(content) = copied_content(context, old, event_type)? {
            put_state(context, new, event_type, &content)?;
        }
    }
    let mut bytes = 0;
    for child in rooms_of_space(context, old)? {
        let event = rows::state_event(&context.rows, old, event_type::SPACE_CHILD, &child, Position::MAX)?;
        let content = event.map(|(_, event)| event.content).unwrap_or_default();
        bytes += content.len();
        if bytes > MAX_COPIED_BYTES {
            break;
        }
        // A child without content was taken out of the space.
        if content.len() <= MAX_CONTENT_BYTES && !json::stored_object(&content).is_empty() {
            append_event(context, new, NewEvent::state(event_type::SPACE_CHILD, &child, content))?;
        }
    }
    Ok(())
}

/// Returns the state keys of the rooms of a space.
fn rooms_of_space(context: &ApplyContext<'_>, room: RoomNumber) -> ApplyResult<Vec<String>> {
    let prefix = key::state_of_type(room, event_type::SPACE_CHILD);
    let mut out = Vec::<String>::new();
    let mut looked_at = 0;
    context.rows.scan(&ScanRange::with_prefix(Table::StateVersion, &prefix), &mut |(key, _)| {
        looked_at += 1;
        if let Some((_, _, child, _)) = key::parse_state_version(key)
            && out.last().is_none_or(|last| last != child)
        {
            out.push(child.to_owned());
        }
        Ok(if out.len() < MAX_COPIED && looked_at < MAX_LOOKED_AT { ScanControl::More } else { ScanControl::Stop })
    })?;
    Ok(out)
}

fn copy_bans(context: &mut ApplyContext<'_>, old: RoomNumber, new: &mut RoomHandle) -> ApplyResult<()> {
    let prefix = key::room_key(old);
    let mut banned = Vec::new();
    let mut looked_at = 0;
    context.rows.scan(&ScanRange::with_prefix(Table::RoomMember, &prefix), &mut |(key, value)| {
        looked_at += 1;
        let row: store::Membership = table::decode_value(Table::RoomMember, value)?;
        if row.kind() == Kind::Ban {
            let localpart = std::str::from_utf8(key.get(prefix.len()..).unwrap_or_default()).unwrap_or_default();
            let at = table::decode_position(Table::RoomMember, &row.position)?.unwrap_or_default();
            banned.push((localpart.to_owned(), at));
        }
        Ok(if banned.len() < MAX_COPIED && looked_at < MAX_LOOKED_AT { ScanControl::More } else { ScanControl::Stop })
    })?;
    let mut bytes = 0;
    for (localpart, at) in banned {
        let content = rows::known_event(&context.rows, old, at)?.content;
        bytes += content.len();
        if bytes > MAX_COPIED_BYTES {
            break;
        }
        if content.len() <= MAX_CONTENT_BYTES {
            member::copy_ban(context, new, &localpart, content)?;
        }
    }
    Ok(())
}

/// Lets the aliases, the canonical one and the place in the public directory belong to the new room.
fn move_names(context: &mut ApplyContext<'_>, old: &mut RoomHandle, new: &mut RoomHandle) -> ApplyResult<()> {
    alias::move_aliases(context, old.number, new.number)?;
    if let Some(content) = copied_content(context, old.number, event_type::CANONICAL_ALIAS)?
        && !content.is_empty()
    {
        put_state(context, new, event_type::CANONICAL_ALIAS, &content)?;
        put_state(context, old, event_type::CANONICAL_ALIAS, &JsonObject::new())?;
    }
    if old.row.listed {
        directory::set_listed(context, old, false)?;
        directory::set_listed(context, new, true)?;
    }
    Ok(())
}

/// Raises the power that messages and invitations need in the old room, if the caller may.
fn quieten_room(context: &mut ApplyContext<'_>, old: &mut RoomHandle) -> ApplyResult<()> {
    let Some(before) = state_content(context, old.number, event_type::POWER_LEVELS)? else { return Ok(()) };
    let needed = POWER_AFTERWARDS.max(old.levels().users_default.saturating_add(1));
    let mut after = before.clone();
    for (name, level) in [("events_default", old.levels().events_default), ("invite", old.levels().invite)] {
        after.insert(name.into(), Value::from(level.max(needed)));
    }
    let user_id = context.user_id();
    let sender = EventSender { user_id: &user_id, localpart: context.user };
    let power = old.levels().of(context.user);
    let is_allowed = send::check_state(old.levels(), sender, event_type::POWER_LEVELS, "").is_ok()
        && levels::parse_levels(&after, context.server_name).is_ok()
        && levels::check_change(&user_id, power, &before, &after).is_ok();
    if is_allowed && before != after { put_state(context, old, event_type::POWER_LEVELS, &after) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Reason;
    use crate::proto::log::command::Kind as Command;
    use crate::proto::log::set_membership::Change;
    use crate::testing::{World, world};
    use serde_json::json;

    fn upgrade(world: &mut World, user: &str, room: &str, version: &str) -> log::Envelope {
        let upgrade =
            log::UpgradeRoom { room_id: room.into(), new_version: version.into(), additional_creators: Vec::new() };
        world.by(user, Command::UpgradeRoom(upgrade))
    }

    fn upgraded(world: &mut World, envelope: log::Envelope) -> (RoomNumber, String) {
        match world.accepted(envelope).kind {
            Some(outcome::Kind::RoomCreated(created)) => {
                (world.view().resolve_room(&created.room_id).unwrap(), created.room_id)
            }
            other => panic!("{other:?}"),
        }
    }

    fn content(world: &World, room: RoomNumber, event_type: &str, key: &str) -> Value {
        let event = world.view().state_event(room, event_type, key, None).unwrap().unwrap();
        serde_json::from_slice(&event.content).unwrap()
    }

    #[test]
    fn an_upgraded_room_has_the_state_the_names_and_the_bans_of_the_old_one() {
        let mut world = world(&["alice", "bob", "carol"]);
        let create = log::CreateRoom {
            preset: log::create_room::Preset::Public.into(),
            name: "Ops".into(),
            topic: "All of it".into(),
            alias: "ops".into(),
            listed: true,
            ..Default::default()
        };
        let (old, old_id) = world.create("alice", create);
        world.moved("bob", &old_id, Change::Join, "");
        world.moved("alice", &old_id, Change::Ban, "carol");
        let not_mine = upgrade(&mut world, "bob", &old_id, "12");
        assert_eq!(world.rejected(not_mine), Reason::Forbidden);
        let unknown = upgrade(&mut world, "alice", &old_id, "99");
        assert_eq!(world.rejected(unknown), Reason::Invalid);
        let envelope = upgrade(&mut world, "alice", &old_id, "10");
        let (new, new_id) = upgraded(&mut world, envelope.clone());
        assert!(world.accepted(envelope).duplicate, "a retry makes no third room");
        assert_eq!(content(&world, old, event_type::TOMBSTONE, "")["replacement_room"], new_id);
        let created = content(&world, new, event_type::CREATE, "");
        assert_eq!((&created["room_version"], &created["creator"]), (&json!("10"), &json!("@alice:a.org")));
        assert_eq!(created["predecessor"]["room_id"], old_id);
        let tombstone = world.view().state_event(old, event_type::TOMBSTONE, "", None).unwrap().unwrap();
        assert_eq!(created["predecessor"]["event_id"], tombstone.event_id);
        assert_eq!(world.view().resolve_room("#ops:a.org").unwrap(), new);
        assert_eq!(content(&world, old, event_type::CANONICAL_ALIAS, ""), json!({}));
        let summary = world.view().summary(new).unwrap();
        assert_eq!((summary.name.as_str(), summary.canonical_alias.as_str()), ("Ops", "#ops:a.org"));
        assert!(summary.listed && !world.view().summary(old).unwrap().listed);
        assert_eq!(world.view().membership(new, "carol").unwrap(), Some(Kind::Ban));
        assert_eq!(content(&world, old, event_type::POWER_LEVELS, "")["events_default"], 50);
        assert_eq!(content(&world, new, event_type::POWER_LEVELS, "")["events_default"], 0);
    }

    #[test]
    fn state_that_fills_an_event_does_not_prevent_an_upgrade() {
        let mut world = world(&["alice"]);
        let (_, id) = world.public_room("alice");
        world.set("alice", &id, event_type::NAME, &format!(r#"{{"name":"{}"}}"#, "x".repeat(65_000)));
        let envelope = upgrade(&mut world, "alice", &id, "12");
        let (new, _) = upgraded(&mut world, envelope);
        assert_eq!(world.view().summary(new).unwrap().name, "");
    }

    #[test]
    fn members_take_their_own_data_along_when_they_join_the_new_room() {
        let mut world = world(&["alice", "bob"]);
        let (_, old_id) = world.public_room("alice");
        world.moved("bob", &old_id, Change::Join, "");
        for (room, event_type, content) in [
            (old_id.as_str(), "m.tag", r#"{"tags":{"u.x":{}}}"#.to_owned()),
            ("", "m.direct", format!(r#"{{"@alice:a.org":["{old_id}"]}}"#)),
            ("", "m.push_rules", format!(r#"{{"global":{{"room":[{{"actions":[],"rule_id":"{old_id}"}}]}}}}"#)),
        ] {
            let put = log::PutAccountData {
                room_id: room.into(),
                r#type: event_type.into(),
                content: content.into(),
                ..Default::default()
            };
            let envelope = world.by("bob", Command::PutAccountData(put));
            world.accepted(envelope);
        }
        let envelope = upgrade(&mut world, "alice", &old_id, "12");
        let (new, new_id) = upgraded(&mut world, envelope);
        assert!(!new_id.contains(':'));
        world.moved("bob", &new_id, Change::Join, "");
        let view = world.view();
        let tags = view.account_data("bob", Some(new), "m.tag").unwrap().unwrap();
        assert_eq!(tags, r#"{"tags":{"u.x":{}}}"#);
        let direct = view.account_data("bob", None, "m.direct").unwrap().unwrap();
        assert!(std::str::from_utf8(&direct).unwrap().contains(&new_id));
        let rules = view.account_data("bob", None, "m.push_rules").unwrap().unwrap();
        let rules = serde_json::from_slice::<Value>(&rules).unwrap();
        let ids: Vec<_> = rules["global"]["room"].as_array().unwrap().iter().map(|rule| &rule["rule_id"]).collect();
        assert_eq!(ids, [&json!(old_id), &json!(new_id)]);
    }

    #[test]
    fn creators_of_version_twelve_are_above_all_levels_and_their_room_is_named_by_its_first_event() {
        let mut world = world(&["alice", "bob"]);
        let create = |levels: &'static str| log::CreateRoom {
            room_version: "12".into(),
            power_level_override: levels.into(),
            ..Default::default()
        };
        let own = world.by("alice", Command::CreateRoom(create(r#"{"users":{"@alice:a.org":100}}"#)));
        assert_eq!(world.rejected(own), Reason::Invalid);
        let (room, id) = world.create("alice", create(r#"{"users":{"@bob:a.org":100}}"#));
        let first = world.view().state_event(room, event_type::CREATE, "", None).unwrap().unwrap();
        assert_eq!(id[1..], first.event_id[1..]);
        assert!(world.view().resolve_room(&id::room_id(first.position, "a.org")).is_err(), "it has no other name");
        world.moved("alice", &id, Change::Invite, "bob");
        world.moved("bob", &id, Change::Join, "");
        let kick = world.membership("bob", &id, Change::Kick, "alice");
        assert_eq!(world.rejected(kick), Reason::Forbidden);
        let demote = world.event("alice", &id, event_type::POWER_LEVELS, Some(""), r#"{"users":{"@alice:a.org":1}}"#);
        assert_eq!(world.rejected(demote), Reason::Invalid);
        let bury = upgrade(&mut world, "bob", &id, "11");
        assert_eq!(world.rejected(bury), Reason::Forbidden, "100 is not enough");
        world.set("alice", &id, event_type::POWER_LEVELS, r#"{"users":{"@bob:a.org":0}}"#);
        let envelope = upgrade(&mut world, "alice", &id, "11");
        let (new, _) = upgraded(&mut world, envelope);
        assert_eq!(content(&world, new, event_type::POWER_LEVELS, "")["users"]["@alice:a.org"], 100);
    }
}
