//! Pushers, which belong to devices, and the list of what has notified a user.

use crate::support::matrix::{MatrixUser, each, escape, single_node};
use serde_json::{Value, json};

const GATEWAY: &str = "https://push.invalid/_matrix/push/v1/notify";

fn pusher(pushkey: &str) -> Value {
    json!({
        "app_id": "org.example.app", "pushkey": pushkey, "kind": "http", "app_display_name": "App",
        "device_display_name": "Phone", "profile_tag": "tag", "lang": "en",
        "data": {"url": GATEWAY, "format": "event_id_only", "custom": {"a": 1}},
    })
}

fn keys(user: &MatrixUser) -> Vec<Value> {
    each(&user.get("v3/pushers")["pushers"], "/pushkey")
}

#[tokio::test(flavor = "multi_thread")]
async fn pushers_are_kept_as_they_were_set_and_go_with_their_devices() {
    let cluster = single_node().await;
    let node = &cluster.nodes[0];
    let alice = MatrixUser::register(node, "alice");
    let (phone, _) = alice.log_in(None);
    let (tablet, tablet_id) = alice.log_in(None);
    for (device, key) in [(&alice, "desk"), (&phone, "phone"), (&tablet, "tablet")] {
        device.must("POST", "v3/pushers/set", &pusher(key));
    }
    let all = alice.get("v3/pushers");
    assert_eq!(all["pushers"][0], pusher("desk"));
    assert_eq!(keys(&tablet), ["desk", "phone", "tablet"]);
    let gone = json!({"app_id": "org.example.app", "pushkey": "desk", "kind": null});
    phone.must("POST", "v3/pushers/set", &gone);
    phone.must("POST", "v3/pushers/set", &gone);
    assert_eq!(keys(&alice), ["phone", "tablet"]);
    tablet.must("POST", "v3/logout", &json!({}));
    assert_eq!(keys(&alice), ["phone"], "{tablet_id} is logged out");

    alice.must("POST", "v3/pushers/set", &pusher("desk"));
    let identifier = json!({"type": "m.id.user", "user": alice.id});
    let auth = json!({"type": "m.login.password", "identifier": identifier, "password": "a password"});
    let kept = json!({"new_password": "a password", "logout_devices": false, "auth": auth});
    alice.must("POST", "v3/account/password", &kept);
    assert_eq!(keys(&alice), ["desk", "phone"]);
    alice.must("POST", "v3/account/password", &json!({"new_password": "another", "auth": auth}));
    assert_eq!(keys(&alice), ["desk"], "the session that changes the password keeps its pusher");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pusher_that_cannot_be_is_refused_and_another_user_of_the_phone_takes_it_over() {
    let cluster = single_node().await;
    let node = &cluster.nodes[0];
    let [alice, bob] = ["alice", "bob"].map(|name| MatrixUser::register(node, name));
    let with = |field: &str, value: Value| {
        let mut body = pusher("one");
        body[field] = value;
        body
    };
    for (body, code) in [
        (with("kind", json!("email")), "M_INVALID_PARAM"),
        (with("data", json!({"url": "https://a.org/elsewhere"})), "M_INVALID_PARAM"),
        (with("pushkey", json!("x".repeat(513))), "M_INVALID_PARAM"),
        (with("app_id", json!("")), "M_INVALID_PARAM"),
    ] {
        assert_eq!(alice.refused("POST", "v3/pushers/set", &body), (400, code.to_owned()), "{body}");
    }
    let (status, _) = alice.refused("POST", "v3/pushers/set", &json!({"kind": "http"}));
    assert_eq!(status, 400);
    alice.must("POST", "v3/pushers/set", &pusher("one"));
    bob.must("POST", "v3/pushers/set", &with("append", json!(true)));
    assert_eq!((keys(&alice).len(), keys(&bob).len()), (1, 1));
    bob.must("POST", "v3/pushers/set", &pusher("one"));
    assert_eq!((keys(&alice).len(), keys(&bob).len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_notified_a_user_is_listed_newest_first_and_in_pages() {
    let cluster = single_node().await;
    let node = &cluster.nodes[0];
    let [alice, bob] = ["alice", "bob"].map(|name| MatrixUser::register(node, name));
    let rooms = [alice.public_room(), alice.public_room()];
    rooms.iter().for_each(|room| bob.join(room));
    let said: Vec<String> = (0..4).map(|n| alice.say(&rooms[n % 2], &format!("message {n}"))).collect();
    let mention = json!({"msgtype": "m.text", "body": "bob", "m.mentions": {"user_ids": [bob.id]}});
    let mention = alice.send(&rooms[0], "m.room.message", &mention);
    bob.must("POST", &format!("v3/rooms/{}/receipt/m.read/{}", escape(&rooms[0]), escape(&said[0])), &json!({}));
    let first = bob.get("v3/notifications?limit=3");
    let ids = |page: &Value| each(&page["notifications"], "/event/event_id");
    assert_eq!(ids(&first), [&mention, &said[3], &said[2]].map(|id| json!(id)));
    assert_eq!(each(&first["notifications"], "/room_id")[0], json!(rooms[0]));
    let shown = &first["notifications"][0];
    assert!(shown["actions"].as_array().expect("actions").contains(&json!("notify")), "{shown}");
    assert!(shown["ts"].is_u64() && shown["profile_tag"].is_null(), "{shown}");
    let next = first["next_token"].as_str().expect("there is more");
    let second = bob.get(&format!("v3/notifications?from={next}"));
    assert_eq!(ids(&second), [&said[1], &said[0]].map(|id| json!(id)));
    assert_eq!(each(&second["notifications"], "/read"), [json!(false), json!(true)]);
    assert!(second.get("next_token").is_none(), "{second}");
    assert_eq!(ids(&bob.get("v3/notifications?only=highlight")), [json!(mention)]);
    assert!(ids(&alice.get("v3/notifications")).is_empty(), "nobody is notified of own messages");
    assert_eq!(bob.refused("GET", "v3/notifications?from=x", &Value::Null).0, 400);
}
