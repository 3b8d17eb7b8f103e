//! Receipts, read markers, tags and profiles through any pod and either API.

use crate::support::client::{User, detail};
use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::matrix::call_as;
use crate::support::process::Node;
use quorate_wire::chat::v1::create_room_request::Preset;
use quorate_wire::chat::v1::*;
use serde_json::{Value, json};

const QUIET: &str = "rateLimit: {enabled: false}";

/// Matrix client of a user on one node.
#[derive(Clone)]
struct Client {
    node: Node,
    token: String,
    me: String,
}

impl Client {
    fn of(cluster: &Cluster, n: usize, user: &User) -> Self {
        let SessionResponse { access_token, user_id, .. } = user.session.clone();
        Self { node: cluster.nodes[n].clone(), token: access_token, me: user_id }
    }

    /// Returns status and body of an answer.
    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let path = format!("/_matrix/client/v3/{}", path.replace('$', "%24"));
        call_as(&self.node, &self.token, method, &path, body)
    }

    fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Returns status and error code of an answer.
    fn refused(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let (status, answer) = self.call(method, path, body);
        (status, answer["errcode"].as_str().unwrap_or_default().to_owned())
    }

    /// Returns an answer of `/sync`, at once without a token.
    fn sync(&self, since: Option<&str>) -> Value {
        let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
        self.done("GET", &format!("sync?timeout=25000{since}"), &Value::Null)
    }

    fn token(&self) -> String {
        self.sync(None)["next_batch"].as_str().expect("a token").to_owned()
    }
}

/// Returns the receipts of a room in an answer of `/sync`.
fn receipts(answer: &Value, room: &str) -> Value {
    let events = &answer["rooms"]["join"][room]["ephemeral"]["events"];
    let events = events.as_array().into_iter().flatten();
    let all: Vec<_> = events.filter(|event| event["type"] == "m.receipt").collect();
    assert!(all.len() <= 1, "one event for all: {answer}");
    all.first().map(|event| event["content"].clone()).unwrap_or_default()
}

/// Returns one piece of a room's account data in an answer of `/sync`.
fn account_data(answer: &Value, room: &str, event_type: &str) -> Value {
    let events = &answer["rooms"]["join"][room]["account_data"]["events"];
    let found = events.as_array().into_iter().flatten().find(|event| event["type"] == event_type);
    found.map(|event| event["content"].clone()).unwrap_or_default()
}

struct RoomOfTwo {
    cluster: Cluster,
    alice: User,
    bob: User,
    id: String,
}

impl RoomOfTwo {
    async fn new() -> Self {
        let cluster = Cluster::start(QUIET).await;
        let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
        let id = alice.create_room(0, Preset::Public, "").await;
        bob.join(1, &id).await.expect("joined");
        Self { cluster, alice, bob, id }
    }

    async fn say(&self, body: &str) -> String {
        self.alice.say(0, &self.id, body, body).await.expect("sent").event_id
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_wakes_who_waits_on_another_pod_and_a_private_one_does_not() {
    let room = RoomOfTwo::new().await;
    let (alice, bob) = (Client::of(&room.cluster, 2, &room.alice), Client::of(&room.cluster, 1, &room.bob));
    let first = room.say("one").await;
    let second = room.say("two").await;
    let since = alice.token();
    let waiting = alice.clone();
    let waits = tokio::task::spawn_blocking(move || waiting.sync(Some(&since)));
    eventually("alice waits", || async {
        let (_, page) = alice.node.page("/metrics")?;
        page.lines().any(|line| line.starts_with("quorate_sync_parked") && line.ends_with(" 1")).then_some(())
    })
    .await;
    let path = |kind: &str, event: &str| format!("rooms/{}/receipt/{kind}/{event}", room.id);
    bob.done("POST", &path("m.read.private", &second), &json!({}));
    bob.done("POST", &path("m.read", &first), &json!({}));
    let answer = waits.await.expect("an answer");
    let shown = receipts(&answer, &room.id);
    assert_eq!(shown.as_object().expect("receipts").len(), 1, "{shown}");
    assert!(shown[&first]["m.read"][&bob.me]["ts"].is_u64(), "{shown}");
    assert!(answer["rooms"]["join"][&room.id]["ephemeral"]["events"][0].get("room_id").is_none());

    // The reader alone is told of both, at first and on any pod.
    for n in 0..3 {
        let mine = receipts(&Client::of(&room.cluster, n, &room.bob).sync(None), &room.id);
        assert!(mine[&first]["m.read"][&bob.me].is_object(), "{mine}");
        assert!(mine[&second]["m.read.private"][&bob.me].is_object(), "{mine}");
        let others = receipts(&Client::of(&room.cluster, n, &room.alice).sync(None), &room.id);
        assert_eq!(others.as_object().expect("receipts").len(), 1, "{others}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_markers_are_set_together_and_the_marker_is_account_data() {
    let room = RoomOfTwo::new().await;
    let bob = Client::of(&room.cluster, 2, &room.bob);
    let first = room.say("one").await;
    let second = room.say("two").await;
    let since = bob.token();
    let markers = format!("rooms/{}/read_markers", room.id);
    bob.done("POST", &markers, &json!({"m.fully_read": second, "m.read": first, "m.read.private": second, "x": 1}));
    let answer = bob.sync(Some(&since));
    assert_eq!(account_data(&answer, &room.id, "m.fully_read"), json!({"event_id": second}));
    let shown = receipts(&answer, &room.id);
    assert!(shown[&first]["m.read"][&bob.me].is_object() && shown[&second]["m.read.private"].is_object(), "{shown}");
    // It does not go back, by either endpoint, nor as account data.
    bob.done("POST", &markers, &json!({"m.fully_read": first}));
    bob.done("POST", &format!("rooms/{}/receipt/m.fully_read/{first}", room.id), &json!({}));
    bob.done("POST", &markers, &json!({}));
    let data = format!("user/{}/rooms/{}/account_data/m.fully_read", bob.me, room.id);
    let refused = bob.refused("PUT", &data, &json!({"event_id": first}));
    assert_eq!(refused, (405, "M_BAD_JSON".to_owned()));
    assert_eq!(bob.done("GET", &data, &Value::Null), json!({"event_id": second}));
    for event_type in ["m.fully_read", "m.push_rules"] {
        let refused = bob.refused("PUT", &format!("user/{}/account_data/{event_type}", bob.me), &json!({}));
        assert_eq!(refused, (405, "M_BAD_JSON".to_owned()), "{event_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_make_no_sense_are_refused() {
    let room = RoomOfTwo::new().await;
    let bob = Client::of(&room.cluster, 0, &room.bob);
    let said = room.say("one").await;
    let relates = json!({"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.thread", "event_id": said}});
    let reply = bob.done("PUT", &format!("rooms/{}/send/m.room.message/r", room.id), &relates);
    let reply = reply["event_id"].as_str().expect("an id").to_owned();
    let other = room.alice.create_room(0, Preset::Private, "").await;
    let elsewhere = room.alice.say(0, &other, "x", "x").await.expect("sent").event_id;
    let at = |kind: &str, event: &str| format!("rooms/{}/receipt/{kind}/{event}", room.id);
    for (path, body, expected) in [
        (at("m.read", &said), json!({"thread_id": 5}), (400, "M_INVALID_PARAM")),
        (at("m.read", &said), json!({"thread_id": null}), (400, "M_INVALID_PARAM")),
        (at("m.read", &said), json!({"thread_id": ""}), (400, "M_INVALID_PARAM")),
        (at("m.read", &said), json!({"thread_id": "side"}), (400, "M_INVALID_PARAM")),
        (at("m.read", &reply), json!({"thread_id": "main"}), (400, "M_INVALID_PARAM")),
        (at("m.read", &said), json!({"thread_id": reply}), (400, "M_INVALID_PARAM")),
        (at("m.fully_read", &said), json!({"thread_id": "main"}), (400, "M_INVALID_PARAM")),
        (at("m.seen", &said), json!({}), (400, "M_INVALID_PARAM")),
        (at("m.read", "said"), json!({}), (400, "M_INVALID_PARAM")),
        (at("m.read", &said), json!([]), (400, "M_BAD_JSON")),
        (at("m.read", &elsewhere), json!({}), (404, "M_NOT_FOUND")),
        (format!("rooms/{other}/receipt/m.read/{elsewhere}"), json!({}), (403, "M_FORBIDDEN")),
    ] {
        let refused = bob.refused("POST", &path, &body);
        assert_eq!((refused.0, refused.1.as_str()), expected, "{path} {body}");
    }
    assert_eq!(receipts(&bob.sync(None), &room.id), Value::Null);
    for (event, thread) in [(&said, "main"), (&said, said.as_str()), (&reply, said.as_str())] {
        bob.done("POST", &at("m.read", event), &json!({"thread_id": thread}));
    }
    let shown = receipts(&bob.sync(None), &room.id);
    assert_eq!(shown[&said]["m.read"][&bob.me]["thread_id"], "main", "{shown}");
    assert_eq!(shown[&reply]["m.read"][&bob.me]["thread_id"], said.as_str(), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_marked_as_read_over_grpc_is_seen_in_matrix() {
    let room = RoomOfTwo::new().await;
    let alice = Client::of(&room.cluster, 0, &room.alice);
    let bob = Client::of(&room.cluster, 2, &room.bob);
    let said = room.say("one").await;
    let (of_alice, of_bob) = (alice.token(), bob.token());
    let mark = |event_id: &str, private| MarkReadRequest {
        room_id: room.id.clone(),
        event_id: event_id.to_owned(),
        private,
        ..MarkReadRequest::default()
    };
    for private in [true, false] {
        room.bob.client(1).mark_read(room.bob.asks(mark(&said, private))).await.expect("marked");
    }
    let shown = receipts(&alice.sync(Some(&of_alice)), &room.id);
    assert!(shown[&said]["m.read"][&bob.me]["ts"].is_u64(), "{shown}");
    assert!(shown[&said].get("m.read.private").is_none(), "{shown}");
    let shown = receipts(&bob.sync(Some(&of_bob)), &room.id);
    assert!(shown[&said]["m.read.private"][&bob.me].is_object(), "{shown}");
    let refused = room.bob.client(0).mark_read(room.bob.asks(mark("$nothing", false))).await.expect_err("no event");
    assert_eq!(detail(&refused).code(), ErrorCode::NotFound, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_tag_a_room_at_once_and_both_tags_stay() {
    let room = RoomOfTwo::new().await;
    let bob = Client::of(&room.cluster, 0, &room.bob);
    let since = bob.token();
    let tags = format!("user/{}/rooms/{}/tags", bob.me, room.id);
    let devices = ["u.one", "u.two"].into_iter().zip(0..).map(|(tag, n)| {
        let (device, path) = (Client::of(&room.cluster, n, &room.bob), format!("{tags}/{tag}"));
        tokio::task::spawn_blocking(move || device.done("PUT", &path, &json!({"order": 0.25, "x": n})))
    });
    for device in devices.collect::<Vec<_>>() {
        device.await.expect("tagged");
    }
    let expected = json!({"tags": {"u.one": {"order": 0.25, "x": 0}, "u.two": {"order": 0.25, "x": 1}}});
    assert_eq!(bob.done("GET", &tags, &Value::Null), expected);
    let told = eventually("both are told", || async {
        let told = account_data(&bob.sync(Some(&since)), &room.id, "m.tag");
        (told == expected).then_some(told)
    });
    told.await;
    bob.done("DELETE", &format!("{tags}/u.one"), &json!({}));
    bob.done("DELETE", &format!("{tags}/u.one"), &json!({}));
    assert_eq!(bob.done("GET", &tags, &Value::Null), json!({"tags": {"u.two": {"order": 0.25, "x": 1}}}));
    let alice = Client::of(&room.cluster, 0, &room.alice);
    assert_eq!(alice.refused("GET", &tags, &Value::Null), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(alice.refused("PUT", &format!("{tags}/u.x"), &json!({})), (403, "M_FORBIDDEN".to_owned()));
    let own = format!("user/{}/rooms/{}/tags", alice.me, room.id);
    assert_eq!(alice.done("GET", &own, &Value::Null), json!({"tags": {}}));
    assert_eq!(alice.refused("PUT", &format!("{own}/u.x"), &json!({"order": {}})).0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_has_fields_of_the_users_own() {
    let cluster = Cluster::start(QUIET).await;
    let user = cluster.user(0, "alice").await;
    let alice = Client::of(&cluster, 0, &user);
    let other = Client::of(&cluster, 1, &user);
    let profile = format!("profile/{}", alice.me);
    let field = |name: &str| format!("{profile}/{name}");
    alice.done("PUT", &field("displayname"), &json!({"displayname": "Alice"}));
    alice.done("PUT", &field("m.tz"), &json!({"m.tz": "Europe/Rome"}));
    alice.done("PUT", &field("org.example.pets"), &json!({"org.example.pets": [{"name": "Rex"}]}));
    let all = json!({"displayname": "Alice", "m.tz": "Europe/Rome", "org.example.pets": [{"name": "Rex"}]});
    assert_eq!(other.done("GET", &profile, &Value::Null), all);
    assert_eq!(other.done("GET", &field("m.tz"), &Value::Null), json!({"m.tz": "Europe/Rome"}));
    let long = "x".repeat(40 << 10);
    let overlong = "x".repeat(256);
    for (name, body, expected) in [
        ("m.tz", json!({"m.tz": 1}), (400, "M_BAD_JSON")),
        ("m.tz", json!({}), (400, "M_MISSING_PARAM")),
        ("org.example.a", json!({"org.example.a": null}), (400, "M_INVALID_PARAM")),
        ("Org.Example", json!({"Org.Example": 1}), (400, "M_INVALID_PARAM")),
        (overlong.as_str(), json!({}), (400, "M_KEY_TOO_LARGE")),
        ("org.example.a", json!({"org.example.a": long.repeat(2)}), (400, "M_PROFILE_TOO_LARGE")),
    ] {
        let refused = alice.refused("PUT", &field(name), &body);
        assert_eq!((refused.0, refused.1.as_str()), expected, "{name}");
    }
    alice.done("PUT", &field("org.example.a"), &json!({"org.example.a": long}));
    let refused = alice.refused("PUT", &field("org.example.b"), &json!({"org.example.b": long}));
    assert_eq!(refused, (400, "M_PROFILE_TOO_LARGE".to_owned()));
    for name in ["displayname", "m.tz", "org.example.a", "org.example.never"] {
        alice.done("DELETE", &field(name), &json!({}));
        assert_eq!(other.refused("GET", &field(name), &Value::Null), (404, "M_NOT_FOUND".to_owned()), "{name}");
    }
    let capabilities = alice.done("GET", "capabilities", &Value::Null);
    assert_eq!(capabilities["capabilities"]["m.profile_fields"], json!({"enabled": true}));
}
