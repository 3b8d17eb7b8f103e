//! Creation of a room with all its first events, in the order that the Matrix specification gives for `createRoom`.

use super::alias;
use super::append::{self, NewEvent, append_event};
use super::context::{ApplyContext, ApplyResult, CommandAnswer, RoomHandle, refuse};
use super::initial_state::InitialState;
use super::member::{self, MemberChange, MemberNotes};
use super::state_change::set_state;
use crate::auth::levels;
use crate::id::{self, RoomNumber};
use crate::json::{self, JsonObject};
use crate::proto::log::create_room::Preset;
use crate::proto::log::set_membership::Change;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::room_version::RoomVersion;
use crate::rows::{self, event_type};
use crate::table::{self, Table, key};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;

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
    let version = room_version(&command.room_version)?;
    let invited = invited_localparts(context, &command.invite)?;
    let state = InitialState::of(command);
    let mut room = allocate_room(context, command, version)?;
    append_create_event(context, &mut room, command, &invited)?;
    member::join_creator(context, &mut room, command.is_direct)?;
    power_levels(context, &mut room, command, &state, &invited)?;
    if !command.alias.is_empty() {
        assign_alias(context, &mut room, &command.alias, &state)?;
    }
    apply_preset(context, &mut room, command, &state)?;
    for input in &state.events {
        if input.r#type != event_type::POWER_LEVELS || !input.state_key.is_empty() {
            initial_state(context, &mut room, input)?;
        }
    }
    set_text(context, &mut room, event_type::NAME, "name", &command.name)?;
    set_topic(context, &mut room, &command.topic)?;
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

/// Returns the version with this name, or the default one if it is empty.
pub(super) fn room_version(name: &str) -> ApplyResult<RoomVersion> {
    if name.is_empty() {
        return Ok(RoomVersion::default());
    }
    match RoomVersion::parse(name) {
        Some(version) => Ok(version),
        None => refuse(Reason::Invalid, format!("room version {name:?} is not supported")),
    }
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
pub(super) fn allocate_room(
    context: &mut ApplyContext<'_>,
    command: &log::CreateRoom,
    version: RoomVersion,
) -> ApplyResult<RoomHandle> {
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
        version: version.to_row(),
        ..store::Room::default()
    };
    let value = Bytes::copy_from_slice(&number.0.to_be_bytes());
    context.rows.put(Table::RoomByPosition, key::position_key(created_at), value);
    Ok(RoomHandle::new(number, rows::room_id_at(created_at, version, context.server_name), row))
}

pub(super) fn append_create_event(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    command: &log::CreateRoom,
    invited: &[&str],
) -> ApplyResult<()> {
    let version = room.version();
    let mut content = optional_object(&command.creation_content, "the creation content")?;
    content.insert("room_version".into(), version.name().into());
    // What the version itself says of the creator is not the client's to choose.
    content.remove("creator");
    if version.names_creator() {
        content.insert("creator".into(), context.user_id().into());
    }
    if !command.room_type.is_empty() {
        content.insert("type".into(), command.room_type.as_str().into());
    }
    if let Some(room_type) = json::string_field(&content, "type") {
        room.row_mut().room_type = room_type.to_owned();
    }
    if version.has_powerful_creators() {
        let trusted = if command.preset() == Preset::TrustedPrivate { invited } else { &[] };
        set_creators(context, room, &mut content, trusted)?;
    }
    if let Some(predecessor) = known_predecessor(context, &content)? {
        room.row_mut().predecessor = predecessor.0;
    }
    append_event(context, room, NewEvent::state(event_type::CREATE, "", json::canonical_json(&content))).map(drop)
}

/// Gives unlimited power to the creator and the additional ones, to whom the trusted users are added.
fn set_creators(
    context: &ApplyContext<'_>,
    room: &mut RoomHandle,
    content: &mut JsonObject,
    trusted: &[&str],
) -> ApplyResult<()> {
    const FIELD: &str = "additional_creators";
    let mut names = Vec::new();
    match content.get(FIELD) {
        None => {}
        Some(Value::Array(named)) => {
            for name in named {
                match name.as_str().filter(|name| levels::is_user_id(name)) {
                    Some(name) => names.push(name.to_owned()),
                    None => return refuse(Reason::Invalid, format!("{FIELD} must be a list of user ids")),
                }
            }
        }
        Some(_) => return refuse(Reason::Invalid, format!("{FIELD} must be a list of user ids")),
    }
    names.extend(trusted.iter().map(|local| id::user_id(local, context.server_name)));
    let mut all = BTreeSet::from([context.user.to_owned()]);
    // Users of other servers cannot join, and so have no power here.
    all.extend(names.iter().filter_map(|name| id::user_localpart(name, context.server_name)).map(str::to_owned));
    room.row_mut().levels = Some(store::Levels { creators: all.into_iter().collect(), ..store::Levels::default() });
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    if !names.is_empty() {
        content.insert(FIELD.into(), names.into());
    }
    Ok(())
}

/// Returns the room that the new one replaces by its own account, if its creator has ever been in it: others must not
/// find out which rooms exist.
fn known_predecessor(context: &ApplyContext<'_>, content: &JsonObject) -> ApplyResult<Option<RoomNumber>> {
    let named = content.get("predecessor").and_then(Value::as_object);
    let Some(room_id) = named.and_then(|named| json::string_field(named, "room_id")) else { return Ok(None) };
    let Some(number) = rows::room_by_id(&context.rows, room_id, context.server_name)? else { return Ok(None) };
    let row = rows::membership_row(&context.rows, number, context.user)?;
    Ok(Some(number).filter(|_| row.kind() == Kind::Join))
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
    state: &InitialState<'_>,
    invited: &[&str],
) -> ApplyResult<()> {
    let content = match state.get(event_type::POWER_LEVELS) {
        Some(given) => optional_object(&given.content, "the content of the power levels")?,
        None => {
            let mut content = default_levels(context, room.version(), command.preset(), invited);
            content.extend(optional_object(&command.power_level_override, "the power level override")?);
            content
        }
    };
    levels::parse_levels(&content, context.server_name)?;
    levels::check_creators(&content, &room.levels().creators, context.server_name)?;
    append_event(context, room, NewEvent::state(event_type::POWER_LEVELS, "", json::canonical_json(&content))).map(drop)
}

fn default_levels(context: &ApplyContext<'_>, version: RoomVersion, preset: Preset, invited: &[&str]) -> JsonObject {
    let powerful_creators = version.has_powerful_creators();
    let mut users = JsonObject::new();
    if !powerful_creators {
        users.insert(context.user_id(), Value::from(100));
        if preset == Preset::TrustedPrivate {
            users.extend(invited.iter().map(|local| (id::user_id(local, context.server_name), Value::from(100))));
        }
    }
    // Only creators may replace a room whose creators have more power than anybody else.
    let tombstone = if powerful_creators { 150 } else { 100 };
    let events = json!({
        "m.room.avatar": 50, "m.room.canonical_alias": 50, "m.room.encryption": 100, "m.room.history_visibility": 100,
        "m.room.name": 50, "m.room.power_levels": 100, "m.room.server_acl": 100, "m.room.tombstone": tombstone,
    });
    let defaults = json!({
        "ban": 50, "events": events, "events_default": 0, "invite": 0, "kick": 50, "redact": 50, "state_default": 50,
        "users": users, "users_default": 0,
    });
    match defaults {
        Value::Object(content) => content,
        _ => JsonObject::new(),
    }
}

/// Takes the alias, and makes it the canonical one unless the initial state says which one is.
fn assign_alias(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    alias: &str,
    state: &InitialState<'_>,
) -> ApplyResult<()> {
    let Some(local) = id::alias_localpart(alias, context.server_name) else {
        return refuse(
            Reason::Invalid,
            "an alias must not be empty, too long, or contain colons, hashes or white space",
        );
    };
    // Before the event that names the alias, which is refused unless the alias leads to this room.
    alias::put_alias(context, room.number, local)?;
    if state.get(event_type::CANONICAL_ALIAS).is_some() {
        return Ok(());
    }
    let full = id::room_alias(local, context.server_name);
    set_text(context, room, event_type::CANONICAL_ALIAS, "alias", &full)
}

/// Sets join rule, history visibility and guest access by the preset, unless the initial state has its own.
fn apply_preset(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    command: &log::CreateRoom,
    state: &InitialState<'_>,
) -> ApplyResult<()> {
    let public = command.preset() == Preset::Public;
    let chosen = [
        (event_type::JOIN_RULES, "join_rule", if public { "public" } else { "invite" }),
        (event_type::HISTORY_VISIBILITY, "history_visibility", "shared"),
        (event_type::GUEST_ACCESS, "guest_access", if public { "forbidden" } else { "can_join" }),
    ];
    for (event_type, key, value) in chosen {
        if state.get(event_type).is_none() {
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

/// Sets the topic, also in the form that names its representation (`m.topic`), unless it is empty.
fn set_topic(context: &mut ApplyContext<'_>, room: &mut RoomHandle, topic: &str) -> ApplyResult<()> {
    if topic.is_empty() {
        return Ok(());
    }
    let content = json!({ "topic": topic, "m.topic": { "m.text": [{ "body": topic }] } });
    let content = content.as_object().map(json::canonical_json).unwrap_or_default();
    set_state(context, room, NewEvent::state(event_type::TOPIC, "", content)).map(drop)
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
    fn each_piece_of_state_is_set_once_and_what_the_command_names_itself_wins() {
        let mut world = world(&["alice", "bob"]);
        let state = |event_type: &str, content: &'static str| log::StateInput {
            r#type: event_type.into(),
            state_key: String::new(),
            content: content.into(),
        };
        let create = log::CreateRoom {
            topic: "Real".into(),
            power_level_override: r#"{"ban":1}"#.into(),
            initial_state: vec![
                state("m.room.topic", r#"{"topic":"Shenanigans"}"#),
                state("x", r#"{"n":1}"#),
                state("m.room.power_levels", r#"{"users":{"@alice:a.org":90}}"#),
                state("x", r#"{"n":2}"#),
                state("m.room.join_rules", r#"{"join_rule":"knock"}"#),
            ],
            ..Default::default()
        };
        let (room, _) = world.create("alice", create);
        let mut all = types(&world, room);
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "{all:?}");
        let content = |event_type| world.view().state_event(room, event_type, "", None).unwrap().unwrap().content;
        assert_eq!(content("m.room.topic"), r#"{"m.topic":{"m.text":[{"body":"Real"}]},"topic":"Real"}"#);
        assert_eq!(content("x"), r#"{"n":2}"#);
        assert_eq!(content("m.room.power_levels"), r#"{"users":{"@alice:a.org":90}}"#);
        assert_eq!(content("m.room.join_rules"), r#"{"join_rule":"knock"}"#);
    }

    #[test]
    fn trusted_users_create_a_room_of_version_twelve_with_its_creator() {
        let mut world = world(&["alice", "bob"]);
        let create = |content: &'static str| log::CreateRoom {
            preset: Preset::TrustedPrivate.into(),
            room_version: "12".into(),
            invite: vec!["bob".into()],
            creation_content: content.into(),
            ..Default::default()
        };
        assert_eq!(rejected(&mut world, create(r#"{"additional_creators":["bob"]}"#)), Reason::Invalid);
        assert_eq!(rejected(&mut world, create(r#"{"additional_creators":["@bob:a$b"]}"#)), Reason::Invalid);
        assert_eq!(rejected(&mut world, log::CreateRoom { room_version: "13".into(), ..create("") }), Reason::Invalid);
        let (room, id) = world.create("alice", create(r#"{"room_version":"1"}"#));
        let content = world.view().state_event(room, "m.room.create", "", None).unwrap().unwrap().content;
        assert_eq!(content, r#"{"additional_creators":["@bob:a.org"],"room_version":"12"}"#);
        world.moved("bob", &id, Change::Join, "");
        let kick = world.membership("alice", &id, Change::Kick, "bob");
        assert_eq!(world.rejected(kick), Reason::Forbidden);
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
            assert!(rooms[0].is_direct && rooms[0].kind == super::Kind::Join, "{user}: {rooms:?}");
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
            (state("m.room.create", "{}"), Reason::Invalid),
            (state("m.room.member", "{}"), Reason::Invalid),
            (state("", "{}"), Reason::Invalid),
            (state("t", "[]"), Reason::BadJson),
        ] {
            assert_eq!(rejected(&mut world, create.clone()), reason, "{create:?}");
        }
    }
}
