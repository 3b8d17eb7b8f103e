//! Checks what each reader is shown of a room, using facts that only members at the right time may know.

use crate::id::{self, Position, RoomNumber};
use crate::proto::log;
use crate::proto::log::command::Kind as Command;
use crate::proto::log::set_membership::Change;
use crate::proto::store::membership::Kind;
use crate::query::{PAGE_BYTES, QueryError, RelationQuery, RoomEvent, StateScope, StateView, SyncFilter, SyncRequest};
use crate::table::ScanDirection;
use crate::testing::{World, world};

/// Collects all parts of what the APIs send part by part.
impl StateView<'_> {
    fn all_of(
        &self,
        reader: &str,
        room: RoomNumber,
        scope: &StateScope,
        at: Position,
    ) -> Result<Vec<RoomEvent>, QueryError> {
        let (mut all, mut from) = (Vec::new(), None);
        loop {
            let part = self.state_part_for(reader, room, scope, at, from.as_ref())?;
            all.extend(part.events);
            let Some(next) = part.next else { return Ok(all) };
            from = Some(next);
        }
    }

    fn state_for(&self, reader: &str, room: RoomNumber) -> Result<Vec<RoomEvent>, QueryError> {
        self.all_of(reader, room, &StateScope::All, self.state_place(reader, room)?)
    }

    fn members_for(&self, reader: &str, room: RoomNumber, at: Option<Position>) -> Result<Vec<RoomEvent>, QueryError> {
        self.all_of(reader, room, &StateScope::Members, self.members_place(reader, room, at)?)
    }

    fn present_members_for(&self, reader: &str, room: RoomNumber) -> Result<Vec<RoomEvent>, QueryError> {
        self.all_of(reader, room, &StateScope::Members, self.present_members_place(reader, room)?)
    }
}

fn set_text(world: &mut World, room: &str, what: &str, text: &str) -> Position {
    world.set("alice", room, &format!("m.room.{what}"), &format!(r#"{{"{what}":"{text}"}}"#))
}

/// Returns Alice's room, whose history is only for those who were joined. Bob was in it while the topic was "then".
fn left(how: Change) -> (World, RoomNumber, String) {
    let mut world = world(&["alice", "bob", "carol", "dave", "eve"]);
    let (room, id) = world.create("alice", log::CreateRoom { name: "Ops".into(), ..Default::default() });
    world.set("alice", &id, "m.room.history_visibility", r#"{"history_visibility":"joined"}"#);
    set_text(&mut world, &id, "topic", "before");
    for user in ["bob", "dave"] {
        world.moved("alice", &id, Change::Invite, user);
        world.moved(user, &id, Change::Join, "");
    }
    set_text(&mut world, &id, "topic", "then");
    match how {
        Change::Leave => world.moved("bob", &id, Change::Leave, ""),
        how => world.moved("alice", &id, how, "bob"),
    };
    set_text(&mut world, &id, "topic", "later");
    set_text(&mut world, &id, "name", "Secret");
    world.moved("alice", &id, Change::Invite, "carol");
    world.moved("carol", &id, Change::Join, "");
    world.moved("dave", &id, Change::Leave, "");
    world.set("alice", &id, "m.room.power_levels", r#"{"users":{"@alice:a.org":100,"@carol:a.org":50}}"#);
    (world, room, id)
}

fn members_of(events: Vec<RoomEvent>) -> Vec<String> {
    let joined = events.into_iter().filter(|event| event.content.starts_with(br#"{"membership":"join""#));
    let mut members: Vec<_> = joined.filter_map(|event| event.state_key).collect();
    // State is in no particular order.
    members.sort_unstable();
    members
}

fn names(page: &super::MemberPage) -> Vec<(&str, Kind, i64)> {
    page.members.iter().map(|member| (member.localpart.as_str(), member.kind, member.power_level)).collect()
}

#[test]
fn a_former_member_reads_state_and_members_as_of_the_leave() {
    for how in [Change::Leave, Change::Kick, Change::Ban] {
        let (world, room, _) = left(how);
        let view = world.view();
        let state = view.state_for("bob", room).unwrap();
        let topic = view.state_event_for("bob", room, "m.room.topic", "").unwrap().unwrap();
        assert_eq!(topic.content, r#"{"topic":"then"}"#);
        assert!(state.contains(&topic));
        assert_eq!(members_of(state), ["@alice:a.org", "@dave:a.org"]);
        assert_eq!(view.state_event_for("bob", room, "m.room.member", "@carol:a.org").unwrap(), None);
        assert_eq!(members_of(view.members_for("bob", room, None).unwrap()), ["@alice:a.org", "@dave:a.org"]);
        assert_eq!(
            members_of(view.members_for("bob", room, Some(view.now())).unwrap()),
            ["@alice:a.org", "@dave:a.org"]
        );
        let page = view.member_page_for("bob", room, None, 10).unwrap();
        let mut expected = vec![("alice", Kind::Join, 100), ("dave", Kind::Join, 0)];
        if how == Change::Ban {
            expected.insert(1, ("bob", Kind::Ban, 0));
        }
        assert_eq!((names(&page), page.next.as_deref()), (expected, None));
        assert!(matches!(view.present_members_for("bob", room), Err(QueryError::Forbidden)));
    }
}

#[test]
fn a_member_reads_the_room_as_it_is_and_a_stranger_nothing() {
    let (world, room, _) = left(Change::Leave);
    let view = world.view();
    assert_eq!(members_of(view.present_members_for("carol", room).unwrap()), ["@alice:a.org", "@carol:a.org"]);
    let page = view.member_page_for("alice", room, None, 10).unwrap();
    assert_eq!(names(&page), [("alice", Kind::Join, 100), ("carol", Kind::Join, 50)]);
    let forbidden = |error: QueryError| assert!(matches!(error, QueryError::Forbidden), "{error}");
    forbidden(view.state_for("eve", room).unwrap_err());
    forbidden(view.state_event_for("eve", room, "m.room.topic", "").unwrap_err());
    forbidden(view.members_for("eve", room, None).unwrap_err());
    forbidden(view.members_for("eve", room, Some(view.now())).unwrap_err());
    forbidden(view.member_page_for("eve", room, None, 10).unwrap_err());
    forbidden(view.present_members_for("eve", room).unwrap_err());
}

#[test]
fn an_invitation_alone_opens_no_state_again() {
    let (mut world, room, id) = left(Change::Kick);
    world.set("alice", &id, "m.room.history_visibility", r#"{"history_visibility":"invited"}"#);
    for user in ["bob", "eve"] {
        world.moved("alice", &id, Change::Invite, user);
    }
    let view = world.view();
    let topic = view.state_event_for("bob", room, "m.room.topic", "").unwrap().unwrap();
    assert_eq!(topic.content, r#"{"topic":"then"}"#);
    assert!(matches!(view.members_for("eve", room, Some(view.now())), Err(QueryError::Forbidden)));
}

#[test]
fn pages_of_members_lead_through_all_of_them() {
    let (world, room, _) = left(Change::Kick);
    for (user, expected) in [("alice", vec!["alice", "carol"]), ("bob", vec!["alice", "dave"])] {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = world.view().member_page_for(user, room, after.as_deref(), 1).unwrap();
            assert!(page.members.len() <= 1);
            seen.extend(page.members.into_iter().map(|member| member.localpart));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "{user}");
    }
}

#[test]
fn members_at_a_time_are_for_those_who_may_know_that_time() {
    let mut world = world(&["alice", "bob", "carol"]);
    let (room, id) = world.public_room("alice");
    world.set("alice", &id, "m.room.history_visibility", r#"{"history_visibility":"joined"}"#);
    world.moved("carol", &id, Change::Join, "");
    let early = world.view().now();
    world.moved("carol", &id, Change::Leave, "");
    let just_before = world.view().now();
    world.say("alice", &id, "x");
    let join = world.moved("bob", &id, Change::Join, "");
    let at = |world: &World, at| world.view().members_for("bob", room, Some(at)).map(members_of);
    assert!(matches!(at(&world, early), Err(QueryError::Forbidden)));
    // The state that Bob's own join found: his timeline begins with it.
    assert_eq!(at(&world, just_before).unwrap(), ["@alice:a.org"]);
    assert_eq!(at(&world, join.before()).unwrap(), ["@alice:a.org"]);
    assert_eq!(at(&world, join).unwrap(), ["@alice:a.org", "@bob:a.org"]);
    world.moved("bob", &id, Change::Leave, "");
    world.moved("carol", &id, Change::Join, "");
    let away = world.view().now();
    world.moved("alice", &id, Change::Invite, "bob");
    world.moved("bob", &id, Change::Join, "");
    // The members as of his leave, although he is in again: what happened in between is not for him to see.
    assert_eq!(at(&world, away).unwrap(), ["@alice:a.org"]);
    assert_eq!(members_of(world.view().members_for("bob", room, None).unwrap()).len(), 3);
    let ahead = Position { index: world.index + 1, ..Position::ZERO };
    assert!(matches!(at(&world, ahead), Err(QueryError::Ahead)));
    // A room that shows newcomers its earlier history also shows them who was there.
    world.set("alice", &id, "m.room.history_visibility", r#"{"history_visibility":"shared"}"#);
    let shared = world.view().now();
    world.moved("bob", &id, Change::Leave, "");
    world.moved("bob", &id, Change::Join, "");
    assert_eq!(at(&world, shared).unwrap().len(), 3);
}

#[test]
fn a_list_shows_left_rooms_as_they_were_left() {
    let (world, room, _) = left(Change::Ban);
    let listed = |user: &str| {
        let row = world.view().membership_in(user, room).unwrap();
        world.view().summary_for(user, &row).unwrap()
    };
    let (bob, carol) = (listed("bob"), listed("carol"));
    assert_eq!((bob.name.as_str(), bob.topic.as_str(), bob.joined_members), ("Ops", "then", 0));
    assert_eq!((carol.name.as_str(), carol.topic.as_str(), carol.joined_members), ("Secret", "later", 2));
}

#[test]
fn a_list_shows_the_invited_what_their_invitation_showed_and_the_merely_banned_nothing() {
    let (mut world, room, id) = left(Change::Leave);
    let listed = |world: &World, user: &str| {
        let row = world.view().membership_in(user, room).unwrap();
        world.view().summary_for(user, &row).unwrap()
    };
    world.moved("alice", &id, Change::Ban, "eve");
    let eve = listed(&world, "eve");
    assert_eq!((eve.name.as_str(), eve.room_id.as_str()), ("", id.as_str()));
    world.moved("alice", &id, Change::Unban, "eve");
    world.moved("alice", &id, Change::Invite, "eve");
    set_text(&mut world, &id, "name", "After");
    assert_eq!(listed(&world, "eve").name, "Secret");
    world.moved("alice", &id, Change::Kick, "eve");
    assert_eq!(listed(&world, "eve").name, "Secret");
}

#[test]
fn a_redaction_made_after_one_left_is_not_shown_with_what_it_emptied() {
    let mut world = world(&["alice", "bob"]);
    let (room, id) = world.public_room("alice");
    world.moved("bob", &id, Change::Join, "");
    let target = world.say("alice", &id, "x");
    let content =
        format!(r#"{{"m.relates_to":{{"rel_type":"m.annotation","event_id":"{}","key":"x"}}}}"#, id::event_id(target));
    let reaction = world.event("alice", &id, "m.reaction", None, &content);
    world.accepted(reaction);
    let topic = world.set("alice", &id, "m.room.topic", r#"{"topic":"x"}"#);
    let since = world.view().now();
    world.moved("bob", &id, Change::Leave, "");
    for at in [target, topic] {
        let redact = log::Redact { room_id: id.clone(), event_id: id::event_id(at), reason: "secret".into() };
        let redact = world.by("alice", Command::Redact(redact));
        world.accepted(redact);
    }
    let view = world.view();
    let because = |event: &RoomEvent| (event.content == "{}", event.redacted_because.is_some());
    for (user, expected) in [("alice", (true, true)), ("bob", (true, false))] {
        for at in [target, topic] {
            assert_eq!(because(&view.event(user, &id::event_id(at)).unwrap()), expected, "{user}");
            let page = view.timeline(user, room, at, ScanDirection::Backward, 1).unwrap();
            assert_eq!(because(&page.events[0]), expected, "{user}");
        }
        let state = view.state_event_for(user, room, "m.room.topic", "").unwrap().unwrap();
        assert_eq!(because(&state), expected, "{user}");
        let which = RelationQuery { target, relation_type: None, event_type: None };
        let related = view.relations(user, room, which, Position::MAX, ScanDirection::Backward, 9).unwrap();
        assert!(related.events.iter().all(|event| event.redacted_because.is_none()));
    }
    let filter = crate::query::SyncFilter { include_leave: true, ..Default::default() };
    for since in [None, Some(since)] {
        let request =
            crate::query::SyncRequest { localpart: "bob", since, full_state: since.is_some(), filter: &filter };
        let left = view.sync(&request).unwrap().leave.remove(0);
        let shown = left.state.iter().chain(&left.timeline.events);
        assert!(shown.clone().count() > 1 && shown.clone().all(|event| event.redacted_because.is_none()));
    }
}

#[test]
fn the_directory_shows_a_room_while_it_is_open_and_somebody_is_in_it() {
    let mut world = world(&["alice", "bob"]);
    let create = log::CreateRoom {
        preset: log::create_room::Preset::Public.into(),
        name: "Ops".into(),
        listed: true,
        ..Default::default()
    };
    let (_, id) = world.create("alice", create);
    let shown = |world: &World| {
        let rooms = world.view().public_rooms(None, 10).unwrap().rooms;
        rooms.into_iter().map(|room| room.name).collect::<Vec<_>>()
    };
    let rule = |world: &mut World, rule: &str| {
        world.set("alice", &id, "m.room.join_rules", &format!(r#"{{"join_rule":"{rule}"}}"#));
    };
    assert_eq!(shown(&world), ["Ops"]);
    for (closed, open) in [("invite", "public"), ("private", "knock"), ("restricted", "knock_restricted")] {
        rule(&mut world, closed);
        set_text(&mut world, &id, "name", "Secret");
        assert_eq!(shown(&world), [""; 0], "{closed}");
        rule(&mut world, open);
        assert_eq!(shown(&world), ["Secret"], "{open}");
    }
    rule(&mut world, "invite");
    world.set("alice", &id, "m.room.history_visibility", r#"{"history_visibility":"world_readable"}"#);
    assert_eq!(shown(&world), ["Secret"]);
    world.set("alice", &id, "m.room.history_visibility", r#"{"history_visibility":"shared"}"#);
    assert_eq!(shown(&world), [""; 0]);
    rule(&mut world, "public");
    world.moved("alice", &id, Change::Leave, "");
    assert_eq!(shown(&world), [""; 0]);
    world.moved("bob", &id, Change::Join, "");
    assert_eq!(shown(&world), ["Secret"]);
}

#[test]
fn a_room_that_nobody_asked_to_list_is_never_listed() {
    let mut world = world(&["alice"]);
    let (_, id) = world.public_room("alice");
    world.set("alice", &id, "m.room.join_rules", r#"{"join_rule":"public"}"#);
    assert_eq!(world.view().public_rooms(None, 10).unwrap().rooms, []);
    let create = log::CreateRoom { listed: true, ..Default::default() };
    world.create("alice", create);
    assert_eq!(world.view().public_rooms(None, 10).unwrap().rooms, []);
}

#[test]
fn who_spoke_is_named_as_it_was_called_then() {
    let mut world = world(&["alice", "bob"]);
    let (room, id) = world.public_room("alice");
    world.moved("bob", &id, Change::Join, "");
    let rename = |world: &mut World, name: &str| {
        let profile = log::SetProfile { display_name: Some(name.into()), ..Default::default() };
        let envelope = world.by("alice", Command::SetProfile(profile));
        world.accepted(envelope);
    };
    rename(&mut world, "then");
    let said = world.say("alice", &id, "x");
    world.moved("bob", &id, Change::Leave, "");
    rename(&mut world, "later");
    let view = world.view();
    let mut page = view.timeline("bob", room, said, ScanDirection::Backward, 2).unwrap();
    let senders = view.senders_of("bob", room, &mut page, ScanDirection::Backward).unwrap();
    let contents: Vec<_> = senders.iter().map(|event| event.content.as_ref()).collect();
    assert_eq!(contents, [&br#"{"displayname":"then","membership":"join"}"#[..]]);
}

#[test]
fn a_page_ends_before_its_senders_are_too_many_bytes_and_the_next_goes_on_there() {
    let users: Vec<_> = (0..24).map(|n| format!("u{n:02}")).collect();
    let mut world = world(&users.iter().map(String::as_str).collect::<Vec<_>>());
    let (room, id) = world.public_room("u00");
    for user in &users {
        let content = format!(r#"{{"membership":"join","x":"{}"}}"#, "x".repeat(60_000));
        let join = world.event(user, &id, "m.room.member", Some(&format!("@{user}:a.org")), &content);
        world.accepted(join);
    }
    for user in users.iter().chain(&users) {
        world.say(user, &id, "hi");
    }
    let view = world.view();
    for (direction, mut from) in [(ScanDirection::Forward, Position::ZERO), (ScanDirection::Backward, Position::MAX)] {
        let (mut said, mut pages) = (Vec::new(), 0);
        loop {
            let mut page = view.timeline("u00", room, from, direction, 1000).unwrap();
            let members = view.senders_of("u00", room, &mut page, direction).unwrap();
            assert!(members.iter().map(RoomEvent::weight).sum::<usize>() < PAGE_BYTES + 70_000);
            for event in &page.events {
                assert!(members.iter().any(|member| member.state_key.as_ref() == Some(&event.sender)));
            }
            said.extend(page.events.into_iter().filter(|event| event.event_type == "m.room.message"));
            pages += 1;
            let Some(next) = page.next else { break };
            from = next;
        }
        let mut places: Vec<_> = said.iter().map(|event| event.position).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!((places.len(), said.len()), (48, 48), "each once, {direction:?}");
        assert!(pages > 2);
    }
}

#[test]
fn a_timeline_tells_what_a_state_was_before_and_what_the_reader_was_then() {
    let mut world = world(&["alice", "bob"]);
    let (room, id) = world.public_room("alice");
    world.set("alice", &id, "m.room.history_visibility", r#"{"history_visibility":"joined"}"#);
    set_text(&mut world, &id, "topic", "unseen");
    world.moved("bob", &id, Change::Join, "");
    let topic = set_text(&mut world, &id, "topic", "seen");
    world.moved("bob", &id, Change::Leave, "");
    set_text(&mut world, &id, "topic", "secret");
    world.moved("alice", &id, Change::Invite, "bob");
    let view = world.view();
    let page = view.timeline("bob", room, Position::MAX, ScanDirection::Backward, 9).unwrap();
    let told: Vec<_> =
        page.events.iter().map(|event| (event.membership.unwrap(), event.prev_content.as_deref())).collect();
    let text = |text: &'static str| Some(text.as_bytes());
    let expected = [
        (Kind::Invite, text(r#"{"membership":"leave"}"#)),
        (Kind::Leave, text(r#"{"membership":"join"}"#)),
        // He was joined when the topic changed, and had been given the state that his join found.
        (Kind::Join, text(r#"{"topic":"unseen"}"#)),
        (Kind::Join, None),
    ];
    // Earlier events are from when the history was open to newcomers.
    assert_eq!(told[..4], expected);
    assert_eq!(page.events[2].position, topic);
}

/// Checks the default of the specification ("Room History Visibility", "Server behaviour") where a room is created with
/// another visibility: its first events come before the one that sets it.
#[test]
fn what_came_before_the_first_history_visibility_is_shared_with_all_who_join() {
    for visibility in ["joined", "invited", "world_readable"] {
        let mut world = world(&["alice", "bob", "eve"]);
        let state = log::StateInput {
            r#type: "m.room.history_visibility".into(),
            state_key: String::new(),
            content: format!(r#"{{"history_visibility":"{visibility}"}}"#).into(),
        };
        let preset = log::create_room::Preset::Public.into();
        let create =
            log::CreateRoom { preset, name: "Ops".into(), initial_state: vec![state], ..log::CreateRoom::default() };
        let (room, id) = world.create("alice", create);
        world.moved("bob", &id, Change::Join, "");
        let view = world.view();
        let types = |reader: &str, from, direction| {
            let page = view.timeline(reader, room, from, direction, 100).unwrap();
            page.events.into_iter().map(|event| event.event_type).collect::<Vec<_>>()
        };
        let all = types("alice", Position::ZERO, ScanDirection::Forward);
        let first = all.iter().position(|name| name == "m.room.history_visibility").unwrap();
        let bobs = types("bob", Position::ZERO, ScanDirection::Forward);
        assert_eq!(bobs[..=first], all[..=first], "{visibility}");
        assert_eq!(bobs.last(), all.last(), "his own join");
        if visibility == "world_readable" {
            assert_eq!(bobs, all);
            assert_eq!(types("eve", Position::ZERO, ScanDirection::Forward), all[first..], "shared is for who joins");
            continue;
        }
        assert!(!bobs.contains(&"m.room.name".to_owned()), "{visibility}: {bobs:?}");
        // A sync does not jump over what is hidden; pages lead on to what came before that.
        let request = SyncRequest { localpart: "bob", since: None, full_state: false, filter: &SyncFilter::default() };
        let timeline = view.sync(&request).unwrap().join.remove(0).timeline;
        assert_eq!((timeline.events.len(), timeline.limited), (1, true), "{visibility}");
        let mut older = types("bob", timeline.prev_batch, ScanDirection::Backward);
        older.reverse();
        assert_eq!(older, all[..=first], "{visibility}");
    }
}
