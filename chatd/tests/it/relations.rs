//! Relations between events over the Matrix API: their lists, threads, edits, and what events tell of them.

use crate::support::matrix::{MatrixUser, each, escape, single_node};
use serde_json::{Value, json};

fn relates(target: &str, kind: &str) -> Value {
    json!({"msgtype": "m.text", "body": kind, "m.relates_to": {"event_id": target, "rel_type": kind}})
}

fn ids(list: &Value) -> Vec<Value> {
    each(list, "/event_id")
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_are_listed_by_kind_in_pages_both_ways() {
    let cluster = single_node().await;
    let [alice, bob] = ["alice", "bob"].map(|name| MatrixUser::register(&cluster.nodes[0], name));
    let room = alice.public_room();
    let root = alice.say(&room, "root");
    let reply = alice.send(&room, "m.room.message", &relates(&root, "m.thread"));
    let dummy = alice.send(&room, "m.dummy", &relates(&root, "m.thread"));
    let mut edit = relates(&root, "m.replace");
    edit["m.new_content"] = json!({"body": "new"});
    let edit = alice.send(&room, "m.room.message", &edit);
    let reaction = alice.send(&room, "m.reaction", &relates(&reply, "m.annotation"));
    let base = format!("v1/rooms/{}/relations/{}", escape(&room), escape(&root));
    let list = |rest: &str| alice.get(&format!("{base}{rest}"));
    assert_eq!(ids(&list("")["chunk"]), [json!(edit), json!(dummy), json!(reply)]);
    assert_eq!(ids(&list("/m.thread")["chunk"]), [json!(dummy), json!(reply)]);
    assert_eq!(ids(&list("/m.thread/m.room.message")["chunk"]), [json!(reply)]);
    assert_eq!(list("/m.thread?limit=9").get("next_batch"), None);
    let first = list("?limit=2&dir=f");
    assert_eq!(ids(&first["chunk"]), [json!(reply), json!(dummy)]);
    let next = first["next_batch"].as_str().expect("there is more");
    assert_eq!(ids(&list(&format!("?limit=2&dir=f&from={next}"))["chunk"]), [json!(edit)]);
    let first = list("?limit=2");
    let next = first["next_batch"].as_str().expect("there is more");
    let rest = list(&format!("?limit=2&from={next}"));
    assert_eq!((ids(&rest["chunk"]), &rest["prev_batch"]), (vec![json!(reply)], &json!(next)));
    assert_eq!(ids(&list(&format!("?to={next}"))["chunk"]), [json!(edit), json!(dummy)]);
    let token = alice.token();
    let later = alice.send(&room, "m.room.message", &relates(&root, "m.thread"));
    assert_eq!(ids(&list(&format!("?dir=f&from={token}"))["chunk"]), [json!(later)]);
    let below = list("?recurse=true&dir=f");
    let all = [&reply, &dummy, &edit, &reaction, &later].map(|id| json!(id));
    assert_eq!((ids(&below["chunk"]), &below["recursion_depth"]), (all.to_vec(), &json!(3)));
    assert_eq!(bob.refused("GET", &base, &Value::Null), (403, "M_FORBIDDEN".into()));
    let missing = format!("v1/rooms/{}/relations/%24missing", escape(&room));
    assert_eq!(alice.refused("GET", &missing, &Value::Null), (404, "M_NOT_FOUND".into()));
    assert_eq!(alice.refused("GET", &format!("{base}?from=x"), &Value::Null), (400, "M_INVALID_PARAM".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_listed_by_their_newest_event_and_told_wherever_their_root_is_shown() {
    let cluster = single_node().await;
    let [alice, bob] = ["alice", "bob"].map(|name| MatrixUser::register(&cluster.nodes[0], name));
    let room = alice.public_room();
    bob.join(&room);
    let since = bob.token();
    // One more than the timeline below has room for.
    alice.say(&room, "zero");
    let roots = [alice.say(&room, "one"), alice.say(&room, "two")];
    alice.send(&room, "m.room.message", &relates(&roots[0], "m.thread"));
    let second = bob.send(&room, "m.room.message", &relates(&roots[1], "m.thread"));
    let path = format!("v1/rooms/{}/threads", escape(&room));
    let threads = |user: &MatrixUser, query: &str| user.get(&format!("{path}{query}"));
    assert_eq!(ids(&threads(&bob, "")["chunk"]), [json!(roots[1]), json!(roots[0])]);
    assert_eq!(ids(&threads(&bob, "?include=participated")["chunk"]), [json!(roots[1])]);
    let third = alice.send(&room, "m.room.message", &relates(&roots[0], "m.thread"));
    let page = threads(&bob, "?limit=1");
    assert_eq!(ids(&page["chunk"]), [json!(roots[0])]);
    let next = page["next_batch"].as_str().expect("there is more");
    assert_eq!(ids(&threads(&bob, &format!("?from={next}"))["chunk"]), [json!(roots[1])]);
    assert_eq!(bob.refused("GET", &format!("{path}?from=x"), &Value::Null), (400, "M_INVALID_PARAM".into()));

    let mut edit = relates(&roots[0], "m.replace");
    edit["m.new_content"] = json!({"body": "new"});
    let edit = alice.send(&room, "m.room.message", &edit);
    let mut shown = vec![bob.room(&room, &format!("event/{}", escape(&roots[0])))];
    shown.push(bob.room(&room, &format!("context/{}", escape(&roots[0])))["event"].clone());
    let pages = bob.room(&room, "messages?dir=b&limit=50");
    let limited = bob.sync(Some(&since), &json!({"room": {"timeline": {"limit": 6}}}));
    let timeline = &limited["rooms"]["join"][&room]["timeline"];
    for list in [&pages["chunk"], &timeline["events"], &threads(&bob, "")["chunk"]] {
        shown.extend(list.as_array().expect("events").iter().filter(|event| event["event_id"] == *roots[0]).cloned());
    }
    assert!(shown.len() >= 4, "{shown:?}");
    for event in shown {
        let added = &event["unsigned"]["m.relations"];
        assert_eq!(added["m.replace"]["event_id"], *edit, "{event}");
        let thread = &added["m.thread"];
        assert_eq!((&thread["latest_event"]["event_id"], &thread["count"]), (&json!(third), &json!(2)), "{event}");
        assert_eq!(thread["current_user_participated"], false);
    }
    let whole = bob.sync(Some(&since), &json!({"room": {"timeline": {"limit": 50}}}));
    let timeline = &whole["rooms"]["join"][&room]["timeline"];
    assert_eq!(timeline["limited"], false);
    assert!(each(&timeline["events"], "/unsigned/m.relations").iter().all(Value::is_null));
    let two = bob.room(&room, &format!("event/{}", escape(&roots[1])));
    let thread = &two["unsigned"]["m.relations"]["m.thread"];
    assert_eq!(
        (&thread["latest_event"]["event_id"], &thread["current_user_participated"]),
        (&json!(second), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_syncs_choose_events_by_the_type_of_their_relation() {
    let cluster = single_node().await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    assert_eq!(alice.get("versions")["unstable_features"]["org.matrix.msc3874"], true);
    let room = alice.public_room();
    let since = alice.token();
    let root = alice.say(&room, "root");
    let [thread, reference] =
        ["m.thread", "m.reference"].map(|kind| alice.send(&room, "m.room.message", &relates(&root, kind)));
    for (field, types, expected) in [
        ("rel_types", vec!["m.thread"], vec![&thread]),
        ("rel_types", vec!["m.thread", "m.reference"], vec![&thread, &reference]),
        ("not_rel_types", vec!["m.thread"], vec![&root, &reference]),
        ("not_rel_types", vec!["m.thread", "m.reference"], vec![&root]),
    ] {
        let filter = json!({format!("org.matrix.msc3874.{field}"): types});
        let expected: Vec<_> = expected.into_iter().map(|id| json!(id)).collect();
        let page = format!("messages?dir=f&from={since}&filter={}", escape(&filter.to_string()));
        assert_eq!(ids(&alice.room(&room, &page)["chunk"]), expected, "{filter}");
        let sync = alice.sync(Some(&since), &json!({"room": {"timeline": filter}}));
        assert_eq!(ids(&sync["rooms"]["join"][&room]["timeline"]["events"]), expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reaction_and_a_thread_within_a_thread_are_refused() {
    let cluster = single_node().await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    let room = alice.public_room();
    let root = alice.say(&room, "root");
    let mut reaction = relates(&root, "m.annotation");
    reaction["m.relates_to"]["key"] = "+".into();
    let sent = alice.send_as(&room, "m.reaction", &reaction, "t1");
    assert_eq!(alice.send_as(&room, "m.reaction", &reaction, "t1"), sent, "a repetition is no second reaction");
    let path = |txn: &str| format!("v3/rooms/{}/send/m.reaction/{txn}", escape(&room));
    assert_eq!(alice.refused("PUT", &path("t2"), &reaction), (400, "M_DUPLICATE_ANNOTATION".into()));
    let redact = format!("v3/rooms/{}/redact/{}/t3", escape(&room), escape(&sent));
    alice.must("PUT", &redact, &json!({}));
    alice.send_as(&room, "m.reaction", &reaction, "t4");
    let reply = alice.send(&room, "m.room.message", &relates(&root, "m.thread"));
    let nested = relates(&reply, "m.thread");
    assert_eq!(alice.refused("PUT", &path("t5"), &nested), (400, "M_UNKNOWN".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_messages_keep_every_field_of_a_filter() {
    let cluster = single_node().await;
    let [alice, bob] = ["alice", "bob"].map(|name| MatrixUser::register(&cluster.nodes[0], name));
    let room = alice.public_room();
    bob.join(&room);
    let text = alice.say(&room, "text");
    let picture = json!({"msgtype": "m.image", "body": "p", "url": "mxc://chat.test/p"});
    let image = bob.send(&room, "m.room.message", &picture);
    alice.send(&room, "m.reaction", &relates(&image, "m.annotation"));
    let page = |filter: Value| {
        let filter = escape(&filter.to_string());
        ids(&alice.room(&room, &format!("messages?dir=b&limit=50&filter={filter}"))["chunk"])
    };
    let messages = "m.room.mess*";
    for (filter, expected) in [
        (json!({"types": [messages]}), vec![&image, &text]),
        (json!({"types": [messages], "senders": [bob.id]}), vec![&image]),
        (json!({"types": [messages], "not_senders": [bob.id]}), vec![&text]),
        (json!({"types": [messages], "not_types": ["m.room.*"]}), vec![]),
        (json!({"contains_url": true}), vec![&image]),
        (json!({"types": [messages], "contains_url": false}), vec![&text]),
        (json!({"related_by_rel_types": ["m.annotation"]}), vec![&image]),
        (json!({"related_by_senders": [alice.id], "related_by_rel_types": ["m.annotation"]}), vec![&image]),
        (json!({"related_by_senders": [bob.id]}), vec![]),
        (json!({"types": [messages], "limit": 1}), vec![&image]),
        (json!({"types": [messages], "not_rooms": [room]}), vec![]),
        (json!({"types": [messages], "rooms": [room]}), vec![&image, &text]),
        (json!({"types": []}), vec![]),
    ] {
        assert_eq!(page(filter.clone()), expected.into_iter().map(|id| json!(id)).collect::<Vec<_>>(), "{filter}");
    }
    let filter = json!({"room": {"timeline": {"related_by_rel_types": ["m.annotation"]}}});
    let stored = alice.must("POST", &format!("v3/user/{}/filter", escape(&alice.id)), &filter);
    let inline = alice.sync(None, &filter);
    let by_id = alice.get(&format!("v3/sync?filter={}", stored["filter_id"].as_str().expect("an id")));
    for sync in [inline, by_id] {
        assert_eq!(ids(&sync["rooms"]["join"][&room]["timeline"]["events"]), [json!(image)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_found_with_its_surroundings_and_by_its_time() {
    let cluster = single_node().await;
    let [alice, bob] = ["alice", "bob"].map(|name| MatrixUser::register(&cluster.nodes[0], name));
    let room = alice.public_room();
    bob.join(&room);
    let said: Vec<_> = (0..5).map(|n| alice.say(&room, &n.to_string())).collect();
    let path = format!("v3/rooms/{}/context/{}", escape(&room), escape(&said[2]));
    let found = alice.get(&format!("{path}?limit=2"));
    assert_eq!(found["event"]["event_id"], *said[2]);
    assert_eq!(
        (ids(&found["events_before"]), ids(&found["events_after"])),
        (vec![json!(said[1])], vec![json!(said[3])])
    );
    let types = each(&found["state"], "/type");
    assert_eq!(types.iter().filter(|event_type| *event_type == "m.room.member").count(), 2, "{types:?}");
    let lazy = escape(r#"{"lazy_load_members":true}"#);
    let few = alice.get(&format!("{path}?limit=0&filter={lazy}"));
    let keys = each(&few["state"], "/state_key");
    assert!(keys.contains(&json!(alice.id)) && !keys.contains(&json!(bob.id)), "{keys:?}");
    let left_out = |event_type: &Value| !each(&few["state"], "/type").contains(event_type);
    assert!(!types.iter().any(left_out), "all state but the other members: {few}");
    assert_eq!((&few["events_before"], &few["events_after"]), (&json!([]), &json!([])));
    for (token, dir, next) in [(&found["start"], "b", &said[0]), (&found["end"], "f", &said[4])] {
        let token = token.as_str().expect("a token");
        let page = alice.room(&room, &format!("messages?dir={dir}&limit=1&from={token}"));
        assert_eq!(ids(&page["chunk"]), [json!(next)]);
    }
    let stranger = MatrixUser::register(&cluster.nodes[0], "stranger");
    assert_eq!(stranger.refused("GET", &path, &Value::Null), (403, "M_FORBIDDEN".into()));
    let by_time = format!("v1/rooms/{}/timestamp_to_event", escape(&room));
    let first = alice.get(&format!("{by_time}?dir=f&ts=0"));
    let event = alice.room(&room, &format!("event/{}", escape(first["event_id"].as_str().expect("an event"))));
    assert_eq!((&event["type"], &event["origin_server_ts"]), (&json!("m.room.create"), &first["origin_server_ts"]));
    let last = alice.get(&format!("{by_time}?dir=b&ts=9000000000000"));
    assert_eq!(last["event_id"], *said[4]);
    let none = alice.refused("GET", &format!("{by_time}?dir=b&ts=0"), &Value::Null);
    assert_eq!(none, (404, "M_NOT_FOUND".into()));
    let refused = stranger.refused("GET", &format!("{by_time}?dir=f&ts=0"), &Value::Null);
    assert_eq!(refused, (403, "M_FORBIDDEN".into()));
}
