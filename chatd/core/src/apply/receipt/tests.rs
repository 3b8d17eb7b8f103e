use super::*;
use crate::proto::log::Envelope;
use crate::proto::log::set_membership::Change;
use crate::query::{SyncFilter, SyncRequest, SyncResponse};
use crate::testing::{World, position, world};
use serde_json::{Value, json};

fn receipts(room: &str) -> log::SetReceipts {
    log::SetReceipts { room_id: room.into(), ..log::SetReceipts::default() }
}

fn set(world: &mut World, user: &str, wanted: log::SetReceipts) -> Envelope {
    world.by(user, log::command::Kind::SetReceipts(wanted))
}

fn read(world: &mut World, user: &str, room: &str, event: Position) -> Envelope {
    set(world, user, log::SetReceipts { read: id::event_id(event), ..receipts(room) })
}

fn in_thread(world: &mut World, user: &str, room: &str, event: Position, thread: &str) -> Envelope {
    let wanted = log::SetReceipts { read: id::event_id(event), thread_id: thread.into(), ..receipts(room) };
    set(world, user, wanted)
}

fn sync_with(world: &World, user: &str, since: Option<Position>, filter: &str) -> SyncResponse {
    let filter = SyncFilter::from_json(filter.as_bytes()).unwrap();
    world.view().sync(&SyncRequest { localpart: user, since, full_state: false, filter: &filter }).unwrap()
}

/// Returns the content of the receipts of a sync's first room, without their times.
fn shown(response: &SyncResponse) -> Value {
    let Some(event) = response.join.first().and_then(|room| room.ephemeral.first()) else { return Value::Null };
    assert_eq!(event.event_type, "m.receipt");
    let mut content: Value = serde_json::from_slice(&event.content).unwrap();
    for kinds in content.as_object_mut().unwrap().values_mut() {
        for readers in kinds.as_object_mut().unwrap().values_mut() {
            for receipt in readers.as_object_mut().unwrap().values_mut() {
                assert!(receipt.as_object_mut().unwrap().remove("ts").unwrap().is_u64());
            }
        }
    }
    content
}

fn told(world: &World, user: &str, since: Option<Position>) -> Value {
    shown(&sync_with(world, user, since, "{}"))
}

fn reply(world: &mut World, room: &str, target: Position, relation: &str) -> Position {
    let content =
        format!(r#"{{"body":"x","m.relates_to":{{"rel_type":"{relation}","event_id":"{}"}}}}"#, id::event_id(target));
    let envelope = world.event("alice", room, "m.room.message", None, &content);
    position(&world.accepted(envelope))
}

fn room_of_two(world: &mut World) -> String {
    let (_, room) = world.public_room("alice");
    world.moved("bob", &room, Change::Join, "");
    room
}

#[test]
fn a_receipt_is_told_once_and_only_moves_forward() {
    let mut world = world(&["alice", "bob"]);
    let room = room_of_two(&mut world);
    let first = world.say("alice", &room, "one");
    let second = world.say("alice", &room, "two");
    let since = world.view().now();
    let envelope = read(&mut world, "bob", &room, second);
    world.accepted(envelope);
    let expected = json!({id::event_id(second): {"m.read": {"@bob:a.org": {}}}});
    assert_eq!(told(&world, "alice", Some(since)), expected);
    assert_eq!(told(&world, "bob", Some(since)), expected);
    assert_eq!(told(&world, "alice", None), expected);
    let since = world.view().now();
    for event in [first, second] {
        let envelope = read(&mut world, "bob", &room, event);
        let applied = world.apply(vec![envelope]).remove(0);
        assert_eq!(applied.touched, crate::apply::ChangeHints::default(), "nobody is woken for nothing");
    }
    assert!(sync_with(&world, "alice", Some(since), "{}").is_empty());
    assert_eq!(told(&world, "alice", None), expected);
}

#[test]
fn a_private_receipt_is_told_to_its_reader_alone() {
    let mut world = world(&["alice", "bob"]);
    let room = room_of_two(&mut world);
    let said = world.say("alice", &room, "x");
    let since = world.view().now();
    let wanted = log::SetReceipts { read_private: id::event_id(said), ..receipts(&room) };
    let envelope = set(&mut world, "bob", wanted);
    let touched = world.apply(vec![envelope]).remove(0).touched;
    assert_eq!((touched.rooms.len(), touched.users), (0, vec!["bob".to_owned()]));
    for since in [Some(since), None] {
        assert_eq!(told(&world, "alice", since), Value::Null);
        let expected = json!({id::event_id(said): {"m.read.private": {"@bob:a.org": {}}}});
        assert_eq!(told(&world, "bob", since), expected);
    }
    assert!(sync_with(&world, "alice", Some(since), "{}").is_empty());
}

#[test]
fn receipts_and_marker_are_set_together_and_each_by_itself_moves_on() {
    let mut world = world(&["alice", "bob"]);
    let room = room_of_two(&mut world);
    let first = world.say("alice", &room, "one");
    let second = world.say("alice", &room, "two");
    let all = |read, private, marker| log::SetReceipts {
        read: id::event_id(read),
        read_private: id::event_id(private),
        fully_read: id::event_id(marker),
        ..receipts(&room)
    };
    for wanted in [all(second, first, first), all(first, second, first), all(first, first, second)] {
        let envelope = set(&mut world, "bob", wanted);
        world.accepted(envelope);
    }
    let at = json!({"m.read": {"@bob:a.org": {}}, "m.read.private": {"@bob:a.org": {}}});
    assert_eq!(told(&world, "bob", None), json!({id::event_id(second): at}));
    let joined = sync_with(&world, "bob", None, "{}").join.remove(0);
    assert_eq!(joined.account_data[0].event_type, "m.fully_read");
    assert_eq!(joined.account_data[0].content, format!(r#"{{"event_id":"{}"}}"#, id::event_id(second)));
    assert!(world.view().has_read("bob", &all(second, second, second)).unwrap());
    assert!(world.view().has_read("bob", &all(first, first, first)).unwrap());
    assert!(!world.view().has_read("alice", &all(first, first, first)).unwrap());
    let threaded = log::SetReceipts { fully_read: id::event_id(second), thread_id: "main".into(), ..receipts(&room) };
    assert!(!world.view().has_read("bob", &threaded).unwrap(), "a marker has no thread");
}

#[test]
fn a_receipt_for_what_one_cannot_see_is_refused_and_changes_nothing() {
    let mut world = world(&["alice", "bob", "carol"]);
    let room = room_of_two(&mut world);
    let (_, other) = world.public_room("alice");
    let elsewhere = world.say("alice", &other, "x");
    world.set("alice", &room, "m.room.history_visibility", r#"{"history_visibility":"joined"}"#);
    let early = world.say("alice", &room, "before carol");
    let outsider = read(&mut world, "carol", &room, early);
    assert_eq!(world.rejected(outsider), Reason::NotMember);
    world.moved("carol", &room, Change::Join, "");
    for event in [elsewhere, early, Position::MAX] {
        let envelope = read(&mut world, "carol", &room, event);
        assert_eq!(world.rejected(envelope), Reason::EventNotFound, "{event:?}");
        let both = log::SetReceipts { read: id::event_id(early), fully_read: id::event_id(event), ..receipts(&room) };
        assert!(!world.view().has_read("carol", &both).unwrap());
    }
    let nowhere = read(&mut world, "alice", "!nowhere:a.org", early);
    assert_eq!(world.rejected(nowhere), Reason::RoomNotFound);
    let bad = set(&mut world, "alice", log::SetReceipts { read: "$x".into(), ..receipts(&room) });
    assert_eq!(world.rejected(bad), Reason::EventNotFound);
}

#[test]
fn a_threaded_receipt_is_for_what_is_in_the_thread() {
    let mut world = world(&["alice", "bob"]);
    let room = room_of_two(&mut world);
    let root = world.say("alice", &room, "root");
    let plain = world.say("alice", &room, "no thread here");
    let member = reply(&mut world, &room, root, "m.thread");
    let reaction = reply(&mut world, &room, member, "m.annotation");
    let reference = reply(&mut world, &room, root, "m.reference");
    let about = reply(&mut world, &room, reference, "m.annotation");
    let thread = id::event_id(root);
    let mut answer = |event, thread: &str| {
        let envelope = in_thread(&mut world, "bob", &room, event, thread);
        match world.one(envelope).kind {
            Some(log::outcome::Kind::Rejected(rejected)) => Err(rejected.reason()),
            _ => Ok(()),
        }
    };
    for event in [root, plain, reference, about] {
        assert_eq!(answer(event, "main"), Ok(()), "{event:?}");
    }
    for event in [member, reaction] {
        assert_eq!(answer(event, "main"), Err(Reason::Invalid), "{event:?}");
    }
    for event in [root, member, reaction, reference, about] {
        assert_eq!(answer(event, &thread), Ok(()), "{event:?}");
    }
    assert_eq!(answer(plain, &thread), Err(Reason::Invalid));
    assert_eq!(answer(plain, &id::event_id(plain)), Err(Reason::Invalid), "it has no thread");
    assert_eq!(answer(root, "elsewhere"), Err(Reason::Invalid));
}

#[test]
fn receipts_of_threads_stand_beside_each_other_and_the_unthreaded_one_is_shown_first() {
    let mut world = world(&["alice", "bob"]);
    let room = room_of_two(&mut world);
    let root = world.say("alice", &room, "root");
    let member = reply(&mut world, &room, root, "m.thread");
    let thread = id::event_id(root);
    for (event, thread) in [(root, "main"), (member, thread.as_str())] {
        let envelope = in_thread(&mut world, "bob", &room, event, thread);
        world.accepted(envelope);
    }
    let expected = json!({
        id::event_id(root): {"m.read": {"@bob:a.org": {"thread_id": "main"}}},
        id::event_id(member): {"m.read": {"@bob:a.org": {"thread_id": thread}}},
    });
    assert_eq!(told(&world, "alice", None), expected);
    for event in [member, root] {
        let envelope = read(&mut world, "bob", &room, event);
        world.accepted(envelope);
    }
    let shown = told(&world, "alice", None);
    assert_eq!(shown[id::event_id(member)], json!({"m.read": {"@bob:a.org": {}}}));
    let marker = log::SetReceipts { fully_read: id::event_id(root), thread_id: "main".into(), ..receipts(&room) };
    let marker = set(&mut world, "bob", marker);
    assert_eq!(world.rejected(marker), Reason::Invalid);
}

#[test]
fn who_leaves_takes_the_receipts_along() {
    let mut world = world(&["alice", "bob"]);
    let room = room_of_two(&mut world);
    let said = world.say("alice", &room, "x");
    let all = log::SetReceipts {
        read: id::event_id(said),
        read_private: id::event_id(said),
        fully_read: id::event_id(said),
        ..receipts(&room)
    };
    let envelope = set(&mut world, "bob", all.clone());
    world.accepted(envelope.clone());
    world.moved("bob", &room, Change::Leave, "");
    assert_eq!(told(&world, "alice", None), Value::Null);
    assert!(!world.view().has_read("bob", &all).unwrap());
    assert_eq!(world.rejected(envelope.clone()), Reason::NotMember);
    world.moved("bob", &room, Change::Join, "");
    assert!(!world.accepted(envelope).duplicate, "read anew");
    world.moved("alice", &room, Change::Kick, "bob");
    assert_eq!(told(&world, "alice", None), Value::Null);
}

#[test]
fn the_receipts_of_a_user_in_a_room_are_bounded() {
    let mut world = world(&["alice", "bob"]);
    let room = room_of_two(&mut world);
    let mut threads = Vec::new();
    for n in 0..=MAX_THREADS {
        let root = world.say("alice", &room, &format!("root {n}"));
        reply(&mut world, &room, root, "m.thread");
        threads.push(root);
    }
    // The oldest root is read last, and what is furthest behind gives way to it.
    for root in threads.iter().rev() {
        let envelope = in_thread(&mut world, "bob", &room, *root, &id::event_id(*root));
        world.accepted(envelope);
    }
    let kept: Vec<_> = world.rows.rows().filter(|(table, ..)| *table == Table::Receipt).collect();
    assert_eq!(kept.len(), MAX_THREADS);
    world.moved("bob", &room, Change::Leave, "");
    let tables = [Table::Receipt, Table::ReceiptChange, Table::ReceiptPlace];
    assert!(!world.rows.rows().any(|(table, ..)| tables.contains(&table)));
}

#[test]
fn a_reader_is_not_told_of_ignored_users_nor_of_what_the_filter_leaves_out() {
    let mut world = world(&["alice", "bob", "carol"]);
    let room = room_of_two(&mut world);
    world.moved("carol", &room, Change::Join, "");
    let said = world.say("alice", &room, "x");
    for user in ["bob", "carol"] {
        let envelope = read(&mut world, user, &room, said);
        world.accepted(envelope);
    }
    let ignore = log::PutAccountData {
        r#type: "m.ignored_user_list".into(),
        content: r#"{"ignored_users":{"@carol:a.org":{}}}"#.into(),
        ..log::PutAccountData::default()
    };
    let ignore = world.by("alice", log::command::Kind::PutAccountData(ignore));
    world.accepted(ignore);
    let by = |users: &[&str]| {
        let users: serde_json::Map<_, _> = users.iter().map(|user| ((*user).to_owned(), json!({}))).collect();
        json!({id::event_id(said): {"m.read": users}})
    };
    assert_eq!(told(&world, "alice", None), by(&["@bob:a.org"]));
    assert_eq!(told(&world, "bob", None), by(&["@bob:a.org", "@carol:a.org"]));
    for (filter, expected) in [
        (json!({"senders": ["@carol:a.org"]}), by(&["@carol:a.org"])),
        (json!({"not_senders": ["@carol:a.org"]}), by(&["@bob:a.org"])),
        (json!({"types": ["m.typing"]}), Value::Null),
        (json!({"types": ["m.*"], "limit": 1}), by(&["@bob:a.org", "@carol:a.org"])),
        (json!({"not_types": ["m.receipt"]}), Value::Null),
        (json!({"limit": 0}), Value::Null),
        (json!({"rooms": [room]}), by(&["@bob:a.org", "@carol:a.org"])),
        (json!({"not_rooms": [room]}), Value::Null),
    ] {
        let filter = json!({"room": {"ephemeral": filter}}).to_string();
        assert_eq!(shown(&sync_with(&world, "bob", None, &filter)), expected, "{filter}");
    }
}

#[test]
fn a_large_room_is_not_woken_by_receipts_and_its_readers_own_devices_are() {
    let mut world = world(&["alice"]);
    let (_, room) = world.public_room("alice");
    let said = world.say("alice", &room, "x");
    for n in 0..WAKES_UP_TO {
        let name = format!("user{n}");
        world.accepted(crate::testing::register(&name, "D"));
        world.moved(&name, &room, Change::Join, "");
    }
    let since = world.view().now();
    let envelope = read(&mut world, "user1", &room, said);
    let touched = world.apply(vec![envelope]).remove(0).touched;
    assert_eq!((touched.rooms.len(), touched.users), (0, vec!["user1".to_owned()]));
    let expected = json!({id::event_id(said): {"m.read": {"@user1:a.org": {}}}});
    assert_eq!(told(&world, "alice", Some(since)), expected, "it comes with the next answer");
}

#[test]
fn the_marker_is_not_set_as_account_data_and_does_not_count_as_such() {
    let mut world = world(&["alice"]);
    let (_, room) = world.public_room("alice");
    let said = world.say("alice", &room, "x");
    let marker = log::SetReceipts { fully_read: id::event_id(said), ..receipts(&room) };
    let marker = set(&mut world, "alice", marker);
    world.accepted(marker);
    let only = log::PutAccountData {
        r#type: "x.only".into(),
        content: "{}".into(),
        max_entries: 1,
        ..log::PutAccountData::default()
    };
    let only = world.by("alice", log::command::Kind::PutAccountData(only));
    world.accepted(only);
    let put = log::PutAccountData {
        room_id: room,
        r#type: "m.fully_read".into(),
        content: r#"{"event_id":"$x"}"#.into(),
        ..log::PutAccountData::default()
    };
    let put = world.by("alice", log::command::Kind::PutAccountData(put));
    assert_eq!(world.rejected(put), Reason::Invalid);
}
