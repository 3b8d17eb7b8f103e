//! Answers to readers of a room's timeline over the Matrix API: by membership, at a token, after leaving.

use crate::support::matrix::{MatrixUser, each, escape, next_batch, single_node};
use serde_json::{Value, json};

fn member_list(members: &Value) -> Vec<String> {
    let chunk = members["chunk"].as_array().expect("members");
    let mut found: Vec<_> = chunk
        .iter()
        .map(|event| format!("{} {}", event["state_key"], event["content"]["membership"]).replace('"', ""))
        .collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_member_reads_the_room_as_it_was_and_nothing_after() {
    let cluster = single_node().await;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| MatrixUser::register(&cluster.nodes[0], name));
    let joined = json!({"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}});
    let room = alice.create_room(&json!({"preset": "public_chat", "initial_state": [joined]}));
    bob.join(&room);
    alice.set(&room, "m.room.name", &json!({"name": "before"}));
    alice.set(&room, "made.up", &json!({"body": "before"}));
    alice.say(&room, "one");
    alice.say(&room, "two");
    bob.leave(&room);
    let token = bob.token();
    alice.set(&room, "m.room.name", &json!({"name": "after"}));
    alice.set(&room, "made.up", &json!({"body": "after"}));
    alice.say(&room, "three");
    carol.join(&room);

    for (user, when) in [(&bob, "before"), (&alice, "after")] {
        assert_eq!(user.room(&room, "state/made.up/"), json!({"body": when}));
        assert_eq!(user.room(&room, "state/m.room.name"), json!({"name": when}));
    }
    let members = member_list(&bob.room(&room, "members"));
    assert_eq!(members, [format!("{} join", alice.id), format!("{} leave", bob.id)]);
    let page = bob.room(&room, &format!("messages?dir=b&limit=3&from={token}"));
    assert_eq!(each(&page["chunk"], "/content/body"), [Value::Null, "two".into(), "one".into()]);
    assert_eq!(page["chunk"][0]["state_key"], bob.id.as_str());
    let page = bob.room(&room, &format!("messages?dir=f&limit=100&from={token}"));
    assert_eq!(page["chunk"], json!([]));
    let path = format!("r0/rooms/{}/joined_members", escape(&room));
    assert_eq!(bob.refused("GET", &path, &Value::Null), (403, "M_FORBIDDEN".into()));
    let joined = alice.room(&room, "joined_members");
    assert_eq!(joined["joined"][&carol.id], json!({"display_name": null, "avatar_url": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_has_the_newest_events_and_the_state_that_the_caller_may_see() {
    let cluster = single_node().await;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| MatrixUser::register(&cluster.nodes[0], name));
    let room = alice.public_room();
    let path = format!("v3/rooms/{}/initialSync", escape(&room));
    assert_eq!(carol.refused("GET", &path, &Value::Null), (403, "M_FORBIDDEN".into()));
    bob.join(&room);
    alice.set(&room, "made.up", &json!({"body": "before"}));
    alice.say(&room, "one");
    let data = format!("v3/user/{}/rooms/{}/account_data/m.test", escape(&bob.id), escape(&room));
    bob.must("PUT", &data, &json!({"a": 1}));
    bob.leave(&room);
    alice.set(&room, "made.up", &json!({"body": "after"}));
    alice.say(&room, "two");

    let made_up = |preview: &Value| {
        let state = preview["state"].as_array().expect("state");
        state.iter().find(|event| event["type"] == "made.up").expect("an event")["content"]["body"].clone()
    };
    let left = bob.room(&room, "initialSync?limit=2");
    assert_eq!(
        (&left["room_id"], &left["membership"], &left["visibility"]),
        (&json!(room), &json!("leave"), &json!("private"))
    );
    assert_eq!(left["account_data"], json!([{"type": "m.test", "content": {"a": 1}}]));
    assert_eq!(made_up(&left), "before");
    assert_eq!(each(&left["messages"]["chunk"], "/content/body"), [json!("one"), Value::Null]);
    let start = left["messages"]["start"].as_str().expect("there is more");
    let earlier = bob.room(&room, &format!("messages?dir=b&limit=1&from={start}"));
    assert_eq!(earlier["chunk"][0]["type"], "made.up");

    alice.set(&room, "m.room.history_visibility", &json!({"history_visibility": "world_readable"}));
    alice.say(&room, "three");
    let seen = carol.room(&room, "initialSync");
    assert_eq!((seen.get("membership"), &seen["account_data"]), (None, &json!([])));
    assert_eq!(made_up(&seen), "after");
    let texts = each(&seen["messages"]["chunk"], "/content/body");
    assert!(texts.last() == Some(&json!("three")) && !texts.contains(&json!("two")), "{texts:?}");
    let nothing = carol.room(&room, "initialSync?limit=0");
    assert_eq!(nothing["messages"]["chunk"], json!([]));
    let end = nothing["messages"]["end"].as_str().expect("a token");
    alice.say(&room, "four");
    let later = carol.room(&room, &format!("messages?dir=f&from={end}"));
    assert_eq!(each(&later["chunk"], "/content/body"), ["four"]);
    assert_eq!(carol.refused("GET", &format!("{path}?limit=x"), &Value::Null), (400, "M_INVALID_PARAM".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_those_at_the_token_and_of_the_membership_asked_for() {
    let cluster = single_node().await;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| MatrixUser::register(&cluster.nodes[0], name));
    let room = alice.public_room();
    alice.say(&room, "hello");
    let first = alice.sync(None, &Value::Null);
    let begin = first["rooms"]["join"][&room]["timeline"]["prev_batch"].as_str().expect("a token").to_owned();
    bob.join(&room);
    let both = alice.token();
    carol.join(&room);
    carol.leave(&room);
    let at = |token: &str| member_list(&alice.room(&room, &format!("members?at={token}")));
    let [in_a, in_b] = [&alice, &bob].map(|user| format!("{} join", user.id));
    // The timeline began with the room: its token stands for the room as it was created.
    assert_eq!(at(&begin), std::slice::from_ref(&in_a));
    assert_eq!(at(&both), [in_a.clone(), in_b.clone()]);
    let listed = |query: &str| member_list(&alice.room(&room, &format!("members?{query}")));
    assert_eq!(listed("membership=leave"), [format!("{} leave", carol.id)]);
    assert_eq!(listed("not_membership=leave"), [in_a.clone(), in_b]);
    assert_eq!(listed(&format!("membership=join&at={begin}")), [in_a]);
    let stranger = MatrixUser::register(&cluster.nodes[0], "stranger");
    for path in ["members", "joined_members", "messages?dir=b"] {
        for room in [&room, "!does-not-exist:chat.test", "!elsewhere:hs1"] {
            let path = format!("v3/rooms/{}/{path}", escape(room));
            assert_eq!(stranger.refused("GET", &path, &Value::Null), (403, "M_FORBIDDEN".into()), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_tells_its_age_and_the_membership_of_its_reader() {
    let cluster = single_node().await;
    let [alice, bob] = ["alice", "bob"].map(|name| MatrixUser::register(&cluster.nodes[0], name));
    let room = alice.public_room();
    alice.say(&room, "early");
    bob.join(&room);
    let topic = alice.set(&room, "m.room.topic", &json!({"topic": "one"}));
    let late = alice.set(&room, "m.room.topic", &json!({"topic": "two"}));
    let sync = bob.sync(None, &json!({"room": {"timeline": {"limit": 50}}}));
    let events = &sync["rooms"]["join"][&room]["timeline"]["events"];
    let mut expected = "leave";
    for event in events.as_array().expect("events") {
        if event["state_key"] == bob.id.as_str() {
            expected = "join";
        }
        assert_eq!(event["unsigned"]["membership"], expected, "{event}");
        assert!(event["unsigned"]["age"].is_u64(), "{event}");
    }
    let event = bob.room(&room, &format!("event/{}", escape(&late)));
    let unsigned = &event["unsigned"];
    assert_eq!((&unsigned["prev_content"], &unsigned["replaces_state"]), (&json!({"topic": "one"}), &json!(topic)));
    assert_eq!((&event["room_id"], &unsigned["membership"]), (&json!(room), &json!("join")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_id_belongs_to_its_device_through_a_new_login() {
    let cluster = single_node().await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    let (first, device) = alice.log_in(None);
    let room = first.create_room(&json!({}));
    let content = json!({"msgtype": "m.text", "body": "foo"});
    let sent = first.send_as(&room, "m.room.message", &content, "t");
    let (second, same) = alice.log_in(Some(&device));
    assert_eq!(same, device);
    let txn_of = |user: &MatrixUser| {
        let told = user.room(&room, &format!("event/{}", escape(&sent)))["unsigned"]["transaction_id"].clone();
        let sync = user.sync(None, &Value::Null);
        let events = sync["rooms"]["join"][&room]["timeline"]["events"].as_array().expect("events").clone();
        assert_eq!(events.last().expect("the message")["unsigned"]["transaction_id"], told);
        told
    };
    assert_eq!(txn_of(&second), "t");
    assert_eq!(txn_of(&alice), Value::Null, "another device");
    assert_eq!(second.send_as(&room, "m.room.message", &content, "t"), sent);
    assert_ne!(alice.send_as(&room, "m.room.message", &content, "t"), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_always_says_whether_a_timeline_is_limited() {
    let cluster = single_node().await;
    let [alice, bob] = ["alice", "bob"].map(|name| MatrixUser::register(&cluster.nodes[0], name));
    let room = alice.public_room();
    let first = alice.sync(None, &Value::Null);
    let timeline = &first["rooms"]["join"][&room]["timeline"];
    assert_eq!((&timeline["limited"], timeline["events"].is_array()), (&json!(false), true));
    let filter = json!({"room": {"timeline": {"limit": 10, "types": ["m.room.message"]}, "state": {"types": []}}});
    for n in 0..4 {
        alice.say(&room, &n.to_string());
    }
    let since = next_batch(&bob.sync(None, &filter));
    for n in 4..8 {
        alice.say(&room, &n.to_string());
    }
    bob.join(&room);
    let sync = bob.sync(Some(&since), &filter);
    let timeline = &sync["rooms"]["join"][&room]["timeline"];
    let types = each(&timeline["events"], "/type");
    assert!(types.iter().all(|event_type| event_type == "m.room.message"), "{types:?}");
    assert_eq!(timeline["limited"], true, "a room that was just joined");
    let next = bob.sync(Some(&next_batch(&sync)), &filter);
    assert_eq!(next["rooms"], Value::Null, "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_was_left_ends_with_the_leave_in_a_sync() {
    let cluster = single_node().await;
    let [alice, bob] = ["alice", "bob"].map(|name| MatrixUser::register(&cluster.nodes[0], name));
    let room = alice.public_room();
    bob.join(&room);
    let timeline = json!({"types": ["m.room.message", "made.up"]});
    let filter = json!({"room": {"timeline": timeline, "state": {"types": ["made.up"]}, "include_leave": true}});
    let since = next_batch(&bob.sync(None, &filter));
    alice.say(&room, "before");
    alice.set(&room, "made.up", &json!({"key": "before"}));
    bob.leave(&room);
    alice.say(&room, "after");
    alice.set(&room, "made.up", &json!({"key": "after"}));
    for since in [None, Some(since.as_str())] {
        let left = bob.sync(since, &filter)["rooms"]["leave"][&room].clone();
        assert_eq!(left["state"]["events"], json!([]), "{left}");
        assert_eq!(each(&left["timeline"]["events"], "/content/body"), [json!("before"), Value::Null], "{left}");
        assert_eq!(left["timeline"]["events"][1]["content"], json!({"key": "before"}));
    }
    let none = json!({"room": {"timeline": {"limit": 0}, "include_leave": true}});
    let left = bob.sync(None, &none)["rooms"]["leave"][&room].clone();
    assert_eq!(left["timeline"]["events"], json!([]), "{left}");
    let state = left["state"]["events"].as_array().expect("state");
    let own = state.iter().find(|event| event["state_key"] == bob.id.as_str()).expect("the leave");
    assert_eq!(own["content"]["membership"], "leave");
    let made_up = state.iter().find(|event| event["type"] == "made.up").expect("the state");
    assert_eq!(made_up["content"], json!({"key": "before"}));

    let closed = json!({"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}});
    let room = alice.create_room(&json!({"preset": "public_chat", "initial_state": [closed]}));
    bob.join(&room);
    let since = next_batch(&bob.sync(None, &Value::Null));
    bob.leave(&room);
    let left = bob.sync(Some(&since), &Value::Null)["rooms"]["leave"][&room].clone();
    assert_eq!(left["state"]["events"], json!([]));
    assert_eq!(each(&left["timeline"]["events"], "/content/membership"), [json!("leave")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_tells_the_state_after_timelines_if_it_is_asked_to() {
    let cluster = single_node().await;
    let [alice, bob] = ["alice", "bob"].map(|name| MatrixUser::register(&cluster.nodes[0], name));
    assert_eq!(alice.get("versions")["unstable_features"]["org.matrix.msc4222"], true);
    let room = alice.public_room();
    bob.join(&room);
    let since = alice.token();
    let topic = alice.set(&room, "m.room.topic", &json!({"topic": "new"}));
    let said = alice.say(&room, "x");
    for (argument, field, state) in [
        ("use_state_after=true", "state_after", vec![json!(topic)]),
        ("org.matrix.msc4222.use_state_after=true", "org.matrix.msc4222.state_after", vec![json!(topic)]),
        ("use_state_after=false", "state", Vec::new()),
    ] {
        let sync = alice.get(&format!("v3/sync?timeout=0&since={since}&{argument}"));
        let news = &sync["rooms"]["join"][&room];
        assert_eq!(each(&news[field]["events"], "/event_id"), state, "{news}");
        assert_eq!(each(&news["timeline"]["events"], "/event_id"), [json!(topic), json!(said)], "{news}");
        let names = ["state", "state_after", "org.matrix.msc4222.state_after"];
        assert_eq!(names.iter().filter(|name| news.get(**name).is_some()).count(), 1, "{news}");
    }

    let filter = json!({"room": {"timeline": {"limit": 20}, "state": {"lazy_load_members": true}}});
    let filter = escape(&filter.to_string());
    let first = alice.get(&format!("v3/sync?timeout=0&use_state_after=true&filter={filter}"));
    let state = each(&first["rooms"]["join"][&room]["state_after"]["events"], "/state_key");
    assert!([&alice, &bob].iter().all(|user| state.contains(&json!(user.id))), "{state:?}");

    // A room with nothing but somebody who types.
    let mut since = next_batch(&first);
    let typing = format!("v3/rooms/{}/typing/{}", escape(&room), escape(&bob.id));
    bob.must("PUT", &typing, &json!({"typing": true, "timeout": 30000}));
    let news = loop {
        let told = alice.get(&format!("v3/sync?timeout=30000&since={since}&use_state_after=true"));
        if let Some(news) = told["rooms"]["join"].get(&room) {
            break news.clone();
        }
        since = next_batch(&told);
    };
    assert_eq!((&news["state_after"], news.get("state")), (&json!({"events": []}), None), "{news}");

    let since = bob.token();
    bob.leave(&room);
    let sync = bob.get(&format!("v3/sync?timeout=0&since={since}&use_state_after=true"));
    let left = &sync["rooms"]["leave"][&room];
    assert_eq!(each(&left["state_after"]["events"], "/content/membership"), [json!("leave")], "{left}");
    assert_eq!(left.get("state"), None);
}
