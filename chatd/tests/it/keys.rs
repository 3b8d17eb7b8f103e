//! Keys for end-to-end encryption through the Matrix API of any pod.

mod cross_signing;

use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::process::{Node, SERVER_NAME};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Mutex;

const V3: &str = "/_matrix/client/v3";
const PASSWORD: &str = "a password";
const ALGORITHM: &str = "signed_curve25519";

/// Device of a user, which can call any pod.
#[derive(Clone)]
struct Device {
    user: String,
    id: String,
    token: String,
}

impl Device {
    fn register(node: &Node, name: &str) -> Self {
        let auth = json!({"type": "m.login.dummy"});
        let body = json!({"username": name, "password": PASSWORD, "device_id": "D", "auth": auth});
        let token = node.ask("POST", &format!("{V3}/register"), "", "", &body.to_string());
        let token = token["access_token"].as_str().unwrap_or_else(|| panic!("{name}: {token}")).to_owned();
        Self { user: format!("@{name}:{SERVER_NAME}"), id: "D".into(), token }
    }

    fn login(node: &Node, name: &str, id: &str) -> Self {
        let identifier = json!({"type": "m.id.user", "user": name});
        let body = json!({"type": "m.login.password", "identifier": identifier, "password": PASSWORD, "device_id": id});
        let token = node.ask("POST", &format!("{V3}/login"), "", "", &body.to_string());
        let token = token["access_token"].as_str().unwrap_or_else(|| panic!("{name}: {token}")).to_owned();
        Self { user: format!("@{name}:{SERVER_NAME}"), id: id.into(), token }
    }

    /// Makes a request and returns status and JSON of the answer; `None` if there is no answer.
    fn try_call(&self, node: &Node, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let (status, body) = node.matrix(method, &format!("{V3}{path}"), &self.token, &body)?;
        Some((status, serde_json::from_str(&body).ok()?))
    }

    fn call(&self, node: &Node, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.try_call(node, method, path, body).expect("an answer")
    }

    /// Makes a request that succeeds.
    fn done(&self, node: &Node, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(node, method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// Returns the device's identity keys.
    fn identity(&self, key: &str) -> Value {
        let id = format!("ed25519:{}", self.id);
        json!({
            "user_id": self.user,
            "device_id": self.id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {&id: key},
            "signatures": {},
        })
    }

    fn upload(&self, node: &Node, body: &Value) -> Value {
        self.done(node, "POST", "/keys/upload", body)
    }

    fn claim(&self, node: &Node, of: &Self) -> Option<(u16, Value)> {
        let body = json!({"one_time_keys": {&of.user: {&of.id: ALGORITHM}}});
        self.try_call(node, "POST", "/keys/claim", &body)
    }

    fn sync(&self, node: &Node, since: &str) -> Value {
        let since = if since.is_empty() { String::new() } else { format!("&since={since}") };
        self.done(node, "GET", &format!("/sync?timeout=0{since}"), &Value::Null)
    }

    fn room(&self, node: &Node) -> String {
        let room = self.done(node, "POST", "/createRoom", &json!({"preset": "public_chat"}));
        room["room_id"].as_str().expect("a room").to_owned()
    }
}

fn token_of(sync: &Value) -> String {
    sync["next_batch"].as_str().expect("a token").to_owned()
}

fn one_time_key(n: usize) -> (String, Value) {
    (format!("{ALGORITHM}:{n:04}"), json!({"key": format!("key {n}"), "signatures": {}}))
}

fn one_time_keys(numbers: std::ops::Range<usize>) -> Value {
    Value::Object(numbers.map(one_time_key).collect())
}

/// Returns the ids of the keys in an answer to a claim of one device's key.
fn claimed_ids(answer: &Value, of: &Device) -> Vec<String> {
    let keys = answer["one_time_keys"][&of.user][&of.id].as_object();
    keys.into_iter().flatten().map(|(id, _)| id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_published_by_one_pod_and_found_by_the_others() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let [one, two, three] = [0, 1, 2].map(|n| &cluster.nodes[n]);
    let alice = Device::register(one, "alice");
    let bob = Device::register(two, "bob");
    let counts = |answer: Value| answer["one_time_key_counts"][ALGORITHM].as_u64();
    let keys = json!({"device_keys": alice.identity("one"), "one_time_keys": one_time_keys(0..4)});
    assert_eq!(counts(alice.upload(one, &keys)), Some(4));
    assert_eq!(
        counts(alice.upload(two, &json!({"one_time_keys": one_time_keys(1..6)}))),
        Some(6),
        "some of them again"
    );
    assert_eq!(counts(alice.upload(three, &json!({}))), Some(6), "what is left is asked without keys");

    let wanted = json!({&alice.user: ["D", "D", "X"], &bob.user: [], "@nobody:chat.test": [], "@x:elsewhere": []});
    let query = json!({"device_keys": wanted});
    let found = bob.done(three, "POST", "/keys/query", &query);
    let device = &found["device_keys"][&alice.user]["D"];
    assert_eq!((&device["keys"]["ed25519:D"], &device["unsigned"]), (&json!("one"), &json!({})));
    let users: Vec<_> = found["device_keys"].as_object().expect("users").keys().collect();
    assert_eq!(users, [&alice.user, &bob.user], "users who do not exist are absent");
    assert_eq!(found["device_keys"][&bob.user], json!({}));

    let another = json!({"one_time_keys": {one_time_key(1).0: {"key": "another"}}});
    for (body, status, code) in [
        (another, 400, "M_UNKNOWN"),
        (json!({"device_keys": bob.identity("x")}), 400, "M_INVALID_PARAM"),
        (json!({"device_keys": {"user_id": alice.user, "device_id": "D"}}), 400, "M_BAD_JSON"),
        (json!({"one_time_keys": one_time_keys(0..501)}), 413, "M_TOO_LARGE"),
    ] {
        let (got, answer) = alice.call(one, "POST", "/keys/upload", &body);
        assert_eq!((got, answer["errcode"].as_str()), (status, Some(code)), "{answer}");
    }
    let as_object = json!({"device_keys": {&bob.user: {"device": true}}});
    let (status, answer) = alice.call(one, "POST", "/keys/query", &as_object);
    assert_eq!((status, answer["errcode"].as_str()), (400, Some("M_BAD_JSON")));

    let claimed = bob.claim(two, &alice).expect("an answer").1;
    assert_eq!(claimed["one_time_keys"][&alice.user]["D"], Value::Object([one_time_key(0)].into_iter().collect()));
    let fallback = json!({"fallback_keys": {format!("{ALGORITHM}:f"): {"key": "f", "fallback": true}}});
    alice.upload(one, &fallback);
    eventually("a sync tells what is left", || async {
        let sync = alice.sync(three, "");
        let told = (&sync["device_one_time_keys_count"], &sync["device_unused_fallback_key_types"]);
        (told == (&json!({ALGORITHM: 5}), &json!([ALGORITHM]))).then_some(())
    })
    .await;
    let sync = bob.sync(two, "");
    assert!(sync.get("device_one_time_keys_count").is_none(), "bob has no keys: {sync}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_one_time_key_is_given_once_while_pods_and_leaders_change() {
    const KEYS: usize = 60;
    let mut cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let alice = Device::register(&cluster.nodes[0], "alice");
    let claimers: Vec<_> = (0..3).map(|n| Device::register(&cluster.nodes[n], &format!("claimer{n}"))).collect();
    let keys = json!({"device_keys": alice.identity("one"), "one_time_keys": one_time_keys(0..KEYS)});
    alice.upload(&cluster.nodes[1], &keys);
    let (leader, term) = cluster.leader(0).await;
    let given = std::sync::Arc::new(Mutex::new(Vec::new()));
    let mut running = Vec::new();
    for (node, claimer) in cluster.nodes.iter().cloned().zip(claimers) {
        let (alice, given) = (alice.clone(), given.clone());
        running.push(tokio::task::spawn_blocking(move || {
            // An answer that is lost takes its key with it; none is given to two.
            for _ in 0..KEYS {
                let Some((200, answer)) = claimer.claim(&node, &alice) else { continue };
                given.lock().expect("no panic").extend(claimed_ids(&answer, &alice));
            }
        }));
    }
    eventually("claims are under way", || async { (given.lock().expect("no panic").len() > 5).then_some(()) }).await;
    cluster.kill(leader);
    cluster.leader(term + 1).await;
    cluster.restart(leader);
    for claims in running {
        claims.await.expect("no panic");
    }
    let given = given.lock().expect("no panic").clone();
    let distinct: BTreeSet<_> = given.iter().collect();
    assert_eq!(distinct.len(), given.len(), "{given:?}");
    assert!(given.len() > KEYS / 2, "{} of {KEYS} keys", given.len());
}

/// Returns the changed and left users of an answer.
fn lists(answer: &Value) -> (Vec<&str>, Vec<&str>) {
    let users = |field: &str| answer[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    (users("changed"), users("left"))
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_devices_wake_those_who_share_a_room_and_no_others() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let [one, two, three] = [0, 1, 2].map(|n| &cluster.nodes[n]);
    let alice = Device::register(one, "alice");
    let bob = Device::register(two, "bob");
    let room = alice.room(one);
    bob.done(two, "POST", &format!("/join/{room}"), &json!({}));
    let since = token_of(&alice.sync(three, ""));

    let parked = |since: &str| {
        let (node, alice) = (three.clone(), alice.clone());
        let path = format!("/sync?timeout=30000&since={since}");
        tokio::task::spawn_blocking(move || alice.done(&node, "GET", &path, &Value::Null))
    };
    let poll = parked(&since);
    bob.upload(one, &json!({"device_keys": bob.identity("one")}));
    let woken = poll.await.expect("no panic");
    assert_eq!(lists(&woken["device_lists"]), (vec![bob.user.as_str()], vec![]), "{woken}");
    let next = token_of(&woken);
    let changes = alice.done(two, "GET", &format!("/keys/changes?from={since}&to={next}"), &Value::Null);
    assert_eq!(lists(&changes), (vec![bob.user.as_str()], vec![]));
    assert!(alice.sync(one, &next).get("device_lists").is_none());

    // A message first, so that the next poll is told from memory.
    let message = json!({"msgtype": "m.text", "body": "x"});
    bob.done(two, "PUT", &format!("/rooms/{room}/send/m.room.message/1"), &message);
    let heard = parked(&next).await.expect("no panic");
    let poll = parked(&token_of(&heard));
    bob.done(one, "POST", &format!("/rooms/{room}/leave"), &json!({}));
    let told = poll.await.expect("no panic");
    assert_eq!(lists(&told["device_lists"]), (vec![], vec![bob.user.as_str()]), "{told}");

    let since = token_of(&told);
    bob.upload(one, &json!({"device_keys": bob.identity("two")}));
    assert!(alice.sync(one, &since).get("device_lists").is_none(), "they share no room");
    let poll = parked(&since);
    bob.done(two, "POST", &format!("/join/{room}"), &json!({}));
    let told = poll.await.expect("no panic");
    assert_eq!(lists(&told["device_lists"]), (vec![bob.user.as_str()], vec![]), "{told}");

    let poll = parked(&token_of(&told));
    bob.done(one, "PUT", "/devices/D", &json!({"display_name": "laptop"}));
    let told = poll.await.expect("no panic");
    assert_eq!(lists(&told["device_lists"]), (vec![bob.user.as_str()], vec![]), "{told}");
    let named = alice.done(two, "POST", "/keys/query", &json!({"device_keys": {&bob.user: []}}));
    assert_eq!(named["device_keys"][&bob.user]["D"]["unsigned"]["device_display_name"], "laptop");

    let since = token_of(&told);
    let tablet = Device::login(three, "bob", "TABLET");
    tablet.upload(one, &json!({"device_keys": tablet.identity("three")}));
    let told = parked(&since).await.expect("no panic");
    let poll = parked(&token_of(&told));
    tablet.done(two, "POST", "/logout", &json!({}));
    assert_eq!(lists(&poll.await.expect("no panic")["device_lists"]).0, [bob.user.as_str()]);
    let found = alice.done(one, "POST", "/keys/query", &json!({"device_keys": {&bob.user: []}}));
    let devices: Vec<_> = found["device_keys"][&bob.user].as_object().expect("devices").keys().collect();
    assert_eq!(devices, ["D"]);
}
