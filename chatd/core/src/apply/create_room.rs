//! Creation of a room with all its first events, in the order that the Matrix specification gives for `createRoom`.

use super::append::{self, NewEvent, append_event};
use super::context::{ApplyContext, ApplyResult, CommandAnswer, RoomHandle, refuse};
use super::member::{self, MemberChange, MemberNotes};
use super::state_change::set_state;
use crate::id::{self, RoomNumber};
use crate::json::{self, JsonObject};
use crate::proto::log::create_room::Preset;
use crate::proto::log::set_membership::Change;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::rows::event_type;
use crate::table::{self, Table, TableRead, key};
use bytes::Bytes;
use serde_json::{Value, json};

/// Room version whose rules [`crate::auth`] implements.
const ROOM_VERSION: &str = "11";

/// Maximum number of invitations with one creation; more people can be invited after it. A command must stay far below
/// the number of ordinals that it may use, and below what one entry should cost to apply.
const MAX_INVITES: usize = 500;

/// Maximum number of initial state events with one creation.
const MAX_INITIAL_STATE: usize = 500;

pub(super) fn apply_create_room(
    context: &mut ApplyContext<'_>,
    command: &log::CreateRoom,
) -> ApplyResult<CommandAnswer> {
    if command.invite.len() > MAX_INVITES || command.initial_state.len() > MAX_INITIAL_STATE {
        let message = format!(
            "a new room can have at most {MAX_INVITES} invitations and {MAX_INITIAL_STATE} state events: send the rest later"
        );
        return refuse(Reason::TooLarge, message);
    }
    let invited = invited_localparts(context, &command.invite)?;
    let mut room = allocate_room(context, command)?;
    append_create_event(context, &mut room, command)?;
    member::join_creator(context, &mut room, command.is_direct)?;
    power_levels(context, &mut room, command, &invited)?;
    if !command.alias.is_empty() {
        assign_alias(context, &mut room, &command.alias)?;
    }
    apply_preset(context, &mut room, command)?;
    for state in &command.initial_state {
        initial_state(context, &mut room, state)?;
    }
    set_text(context, &mut room, event_type::NAME, "name", &command.name)?;
    set_text(context, &mut room, event_type::TOPIC, "topic", &command.topic)?;
    for target in invited {
        let is_direct = command.is_direct;
        let change = MemberChange {
            target,
            change: Change::Invite,
            content: None,
            notes: MemberNotes { is_direct, ..MemberNotes::default() },
        };
        member::apply_member_change(context, &mut room, &change)?;
    }
    context.save_room(&room);
    Ok(CommandAnswer::New(outcome::Kind::RoomCreated(log::RoomCreated { room_id: room.id }), None))
}

/// Returns the localparts of the invited users, without duplicates.
fn invited_localparts<'c>(context: &ApplyContext<'_>, user_ids: &'c [String]) -> ApplyResult<Vec<&'c str>> {
    let mut out = Vec::with_capacity(user_ids.len());
    for user_id in user_ids {
        let localpart = member::local_user(context, user_id)?;
        if !out.contains(&localpart) {
            out.push(localpart);
        }
    }
    Ok(out)
}

/// Assigns a number to the room; its id is derived from the position of the create event.
fn allocate_room(context: &mut ApplyContext<'_>, command: &log::CreateRoom) -> ApplyResult<RoomHandle> {
    // The create event is the first event of the command, so that its position is known before it is appended.
    let created_at = context.first;
    let cluster = context.cluster_mut();
    let number = RoomNumber(cluster.next_room);
    cluster.next_room += 1;
    let row = store::Room {
        created_at: table::position_field(created_at),
        creator: context.user.to_owned(),
        room_type: command.room_type.clone(),
        is_direct: command.is_direct,
        listed: command.listed,
        ..store::Room::default()
    };
    let value = Bytes::copy_from_slice(&number.0.to_be_bytes());
    context.rows.put(Table::RoomByPosition, key::position_key(created_at), value);
    Ok(RoomHandle::new(number, id::room_id(created_at, context.server_name), row))
}

fn append_create_event(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    command: &log::CreateRoom,
) -> ApplyResult<()> {
    let mut content = optional_object(&command.creation_content, "the creation content")?;
    content.insert("room_version".into(), ROOM_VERSION.into());
    if !command.room_type.is_empty() {
        content.insert("type".into(), command.room_type.as_str().into());
    }
    if let Some(room_type) = json::string_field(&content, "type") {
        room.row_mut().room_type = room_type.to_owned();
    }
    append_event(context, room, NewEvent::state(event_type::CREATE, "", json::canonical_json(&content))).map(drop)
}

fn optional_object(bytes: &[u8], what: &str) -> ApplyResult<JsonObject> {
    if bytes.is_empty() {
        return Ok(JsonObject::new());
    }
    match json::check_event_content(bytes) {
        Ok(()) => Ok(json::stored_object(bytes)),
        Err(why) => refuse(Reason::BadJson, format!("{what} must be an object of canonical JSON: {why}")),
    }
}

/// Appends the first power levels. They are the creator's to choose: only the rules about their form apply, not those
/// about changes.
fn power_levels(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    command: &log::CreateRoom,
    invited: &[&str],
) -> ApplyResult<()> {
    let mut users = JsonObject::from_iter([(context.user_id(), Value::from(100))]);
    if command.preset() == Preset::TrustedPrivate {
        users.extend(invited.iter().map(|local| (id::user_id(local, context.server_name), Value::from(100))));
    }
    let events = json!({
        "m.room.avatar": 50, "m.room.canonical_alias": 50, "m.room.encryption": 100, "m.room.history_visibility": 100,
        "m.room.name": 50, "m.room.power_levels": 100, "m.room.server_acl": 100, "m.room.tombstone": 100,
    });
    let defaults = json!({
        "ban": 50, "events": events, "events_default": 0, "invite": 0, "kick": 50, "redact": 50, "state_default": 50,
        "users": users, "users_default": 0,
    });
    let mut content = match defaults {
        Value::Object(content) => content,
        _ => JsonObject::new(),
    };
    content.extend(optional_object(&command.power_level_override, "the power level override")?);
    crate::auth::levels::parse_levels(&content, context.server_name)?;
    append_event(context, room, NewEvent::state(event_type::POWER_LEVELS, "", json::canonical_json(&content))).map(drop)
}

fn assign_alias(context: &mut ApplyContext<'_>, room: &mut RoomHandle, alias: &str) -> ApplyResult<()> {
    let Some(local) = id::alias_localpart(alias, context.server_name) else {
        return refuse(
            Reason::Invalid,
            "an alias must not be empty, too long, or contain colons, hashes or white space",
        );
    };
    if context.rows.get(Table::Alias, &key::alias_key(local))?.is_some() {
        return refuse(Reason::AliasExists, format!("the alias {local} is taken"));
    }
    let row = store::Alias { room: room.number.0, creator: context.user.to_owned() };
    // Before the event that names the alias, which is refused unless the alias leads to this room.
    context.rows.put(Table::Alias, key::alias_key(local), table::encode_value(&row));
    let full = id::room_alias(local, context.server_name);
    set_text(context, room, event_type::CANONICAL_ALIAS, "alias", &full)
}

/// Sets join rule, history visibility and guest access by the preset, unless the initial state has its own.
fn apply_preset(context: &mut ApplyContext<'_>, room: &mut RoomHandle, command: &log::CreateRoom) -> ApplyResult<()> {
    let public = command.preset() == Preset::Public;
    let chosen = [
        (event_type::JOIN_RULES, "join_rule", if public { "public" } else { "invite" }),
        (event_type::HISTORY_VISIBILITY, "history_visibility", "shared"),
        (event_type::GUEST_ACCESS, "guest_access", if public { "forbidden" } else { "can_join" }),
    ];
    for (event_type, key, value) in chosen {
        let given = command.initial_state.iter().any(|state| state.r#type == event_type && state.state_key.is_empty());
        if !given {
            set_text(context, room, event_type, key, value)?;
        }
    }
    Ok(())
}

fn initial_state(context: &mut ApplyContext<'_>, room: &mut RoomHandle, state: &log::StateInput) -> ApplyResult<()> {
    append::check_names(&state.r#type, Some(&state.state_key))?;
    append::check_content(&state.content)?;
    let new = NewEvent::state(&state.r#type, &state.state_key, state.content.clone());
    set_state(context, room, new).map(drop)
}

/// Sets a state event that consists of one text, unless the text is empty.
fn set_text(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    event_type: &str,
    key: &str,
    text: &str,
) -> ApplyResult<()> {
    if text.is_empty() {
        return Ok(());
    }
    let content = json::canonical_json(&JsonObject::from_iter([(key.to_owned(), text.into())]));
    set_state(context, room, NewEvent::state(event_type, "", content)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::command::Kind;
    use crate::proto::store::membership::Kind as Membership;
    use crate::testing::{SERVER, World, world};

    fn types(world: &World, room: RoomNumber) -> Vec<String> {
        let view = world.view();
        let page = view.timeline("alice", room, crate::id::Position::ZERO, crate::table::ScanDirection::Forward, 100);
        page.unwrap().events.into_iter().map(|event| event.event_type).collect()
    }

    fn rejected(world: &mut World, create: log::CreateRoom) -> Reason {
        let envelope = world.by("alice", Kind::CreateRoom(create));
        world.rejected(envelope)
    }

    #[test]
    fn a_room_begins_with_the_events_of_the_specification_in_its_order() {
        let mut world = world(&["alice", "bob"]);
        let (room, room_id) = world.create(
            "alice",
            log::CreateRoom {
                preset: Preset::Public.into(),
                name: "Ops".into(),
                topic: "Everything".into(),
                alias: "ops".into(),
                invite: vec![id::user_id("bob", SERVER), "bob".into()],
                initial_state: vec![log::StateInput {
                    r#type: "m.room.history_visibility".into(),
                    state_key: String::new(),
                    content: r#"{"history_visibility":"joined"}"#.into(),
                }],
                listed: true,
                ..Default::default()
            },
        );
        let expected = [
            "create",
            "member",
            "power_levels",
            "canonical_alias",
            "join_rules",
            "guest_access",
            "history_visibility",
            "name",
            "topic",
            "member",
        ];
        assert_eq!(types(&world, room), expected.map(|name| format!("m.room.{name}")));
        let view = world.view();
        let summary = view.summary(room).unwrap();
        assert_eq!((summary.name.as_str(), summary.topic.as_str()), ("Ops", "Everything"));
        assert_eq!((summary.canonical_alias.as_str(), summary.join_rule.as_str()), ("#ops:a.org", "public"));
        assert_eq!((summary.joined_members, summary.invited_members), (1, 1));
        assert_eq!(view.resolve_room("#ops:a.org").unwrap(), room);
        assert_eq!(view.resolve_room(&room_id).unwrap(), room);
        assert_eq!(view.public_rooms(None, 10).unwrap().rooms, [summary]);
        let create = view.state_event(room, "m.room.create", "", None).unwrap().unwrap();
        assert_eq!(create.content, r#"{"room_version":"11"}"#);
    }

    #[test]
    fn a_direct_chat_is_direct_for_both() {
        let mut world = world(&["alice", "bob"]);
        let create = log::CreateRoom {
            preset: Preset::TrustedPrivate.into(),
            is_direct: true,
            invite: vec![id::user_id("bob", SERVER)],
            ..Default::default()
        };
        let (room, room_id) = world.create("alice", create);
        world.moved("bob", &room_id, Change::Join, "");
        for user in ["alice", "bob"] {
            let rooms = world.view().rooms_of(user).unwrap();
            assert!(rooms[0].is_direct && rooms[0].kind == Membership::Join, "{user}: {rooms:?}");
        }
        let powers: Vec<_> = world
            .view()
            .member_page_for("alice", room, None, 9)
            .unwrap()
            .members
            .iter()
            .map(|m| m.power_level)
            .collect();
        assert_eq!(powers, [100, 100]);
    }

    #[test]
    fn what_cannot_be_made_leaves_nothing() {
        let mut world = world(&["alice"]);
        world.create("alice", log::CreateRoom { alias: "taken".into(), ..Default::default() });
        let state = |event_type: &str, content: &'static str| log::CreateRoom {
            initial_state: vec![log::StateInput {
                r#type: event_type.into(),
                state_key: String::new(),
                content: content.into(),
            }],
            ..Default::default()
        };
        let with = |change: fn(&mut log::CreateRoom)| {
            let mut create = log::CreateRoom::default();
            change(&mut create);
            create
        };
        for (create, reason) in [
            (with(|c| c.alias = "taken".into()), Reason::AliasExists),
            (with(|c| c.alias = "a:b".into()), Reason::Invalid),
            (with(|c| c.invite = vec!["@bob:b.org".into()]), Reason::UserNotFound),
            (with(|c| c.invite = vec!["nobody".into()]), Reason::UserNotFound),
            (with(|c| c.invite = vec!["alice".into()]), Reason::Forbidden),
            (with(|c| c.invite = vec!["x".into(); MAX_INVITES + 1]), Reason::TooLarge),
            (with(|c| c.power_level_override = "{\"ban\":\"x\"}".into()), Reason::Invalid),
            (with(|c| c.power_level_override = "{\"users\":{}}".into()), Reason::Forbidden),
            (with(|c| c.creation_content = "1".into()), Reason::BadJson),
            (with(|c| c.power_level_override = "{\"x\":1.5}".into()), Reason::BadJson),
            (with(|c| c.name = "x".repeat(70_000)), Reason::TooLarge),
            (state("m.room.create", "{}"), Reason::Forbidden),
            (state("m.room.member", "{}"), Reason::Invalid),
            (state("", "{}"), Reason::Invalid),
            (state("t", "[]"), Reason::BadJson),
        ] {
            assert_eq!(rejected(&mut world, create.clone()), reason, "{create:?}");
        }
    }
}
