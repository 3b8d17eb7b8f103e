//! Limits on what one user does: counted for the cluster and both APIs, and wide enough for a client that logs in.

use crate::support::client::{PASSWORD, User, detail, message};
use crate::support::cluster::Cluster;
use crate::support::matrix::call_as;
use crate::support::process::{Node, SERVER_NAME};
use crate::support::signing::Identity;
use quorate_wire::chat::v1::ErrorCode;
use quorate_wire::chat::v1::create_room_request::Preset;
use serde_json::{Map, Value, json};
use std::time::Instant;

/// Client that asks the pods in turn, as behind a load balancer.
struct Client<'c> {
    nodes: &'c [Node],
    token: String,
    asked: usize,
}

impl<'c> Client<'c> {
    fn new(nodes: &'c [Node]) -> Self {
        Self { nodes, token: String::new(), asked: 0 }
    }

    fn ask(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.asked += 1;
        call_as(
            &self.nodes[self.asked % self.nodes.len()],
            &self.token,
            method,
            &format!("/_matrix/client/{path}"),
            body,
        )
    }

    /// Makes a request that succeeds.
    fn done(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    fn logs_in(&mut self, name: &str, device: &str) {
        let identifier = json!({"type": "m.id.user", "user": name});
        let body =
            json!({"type": "m.login.password", "identifier": identifier, "password": PASSWORD, "device_id": device});
        let answer = self.done("POST", "v3/login", &body);
        self.token = answer["access_token"].as_str().expect("a token").to_owned();
    }
}

/// Requests of a client like Element, in its order, when somebody registers, logs in on another device
/// and sets encryption up.
fn first_login(client: &mut Client<'_>, name: &str) {
    let user = format!("@{name}:{SERVER_NAME}");
    client.done("GET", "versions", &Value::Null);
    client.done("GET", "v3/login", &Value::Null);
    client.done("GET", &format!("v3/register/available?username={name}"), &Value::Null);
    let (status, asked) = client.ask("POST", "v3/register", &json!({"username": name, "password": PASSWORD}));
    assert_eq!(status, 401, "{asked}");
    let auth = json!({"type": "m.login.dummy", "session": asked["session"]});
    client.done("POST", "v3/register", &json!({"username": name, "password": PASSWORD, "auth": auth}));
    client.logs_in(name, "ELEMENT");

    client.done("GET", "v3/account/whoami", &Value::Null);
    client.done("GET", "v3/capabilities", &Value::Null);
    client.done("GET", "v3/pushrules/", &Value::Null);
    client.done("GET", &format!("v3/profile/{user}"), &Value::Null);
    let filter = json!({"room": {"timeline": {"limit": 20}, "state": {"lazy_load_members": true}}});
    for _ in 0..2 {
        client.done("POST", &format!("v3/user/{user}/filter"), &filter);
    }
    let identity = json!({
        "user_id": user, "device_id": "ELEMENT",
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {"ed25519:ELEMENT": "key"}, "signatures": {},
    });
    let keys: Map<_, _> = (0..50)
        .map(|n| (format!("signed_curve25519:{n:04}"), json!({"key": format!("key {n}"), "signatures": {}})))
        .collect();
    client.done("POST", "v3/keys/upload", &json!({"device_keys": identity}));
    client.done("POST", "v3/keys/upload", &json!({"one_time_keys": keys}));
    client.done("POST", "v3/keys/query", &json!({"device_keys": {&user: []}}));
    client.done("POST", "v3/keys/device_signing/upload", &Identity::new(10).upload(&user));
    client.done(
        "POST",
        "v3/room_keys/version",
        &json!({"algorithm": "m.megolm_backup.v1", "auth_data": {"public_key": "key"}}),
    );
    for kind in [
        "m.secret_storage.default_key",
        "m.secret_storage.key.abc",
        "m.cross_signing.master",
        "m.cross_signing.self_signing",
        "m.cross_signing.user_signing",
        "m.megolm_backup.v1",
        "m.org.matrix.custom.backup_disabled",
        "io.element.recent_emoji",
        "im.vector.setting.breadcrumbs",
        "im.vector.web.settings",
        "im.vector.analytics",
        "im.vector.setting.integration_provisioning",
        "org.matrix.preview_urls",
        "m.accepted_terms",
        "m.direct",
        "org.matrix.msc3890.local_notification_settings.ELEMENT",
    ] {
        client.done("PUT", &format!("v3/user/{user}/account_data/{kind}"), &json!({"of": kind}));
    }
    client.done("PUT", &format!("v3/profile/{user}/displayname"), &json!({"displayname": name}));
    client.done("PUT", "v3/devices/ELEMENT", &json!({"display_name": "Element"}));
    client.done("PUT", &format!("v3/presence/{user}/status"), &json!({"presence": "online"}));
    client.done("GET", "v3/sync?timeout=0", &Value::Null);

    let created = client.done("POST", "v3/createRoom", &json!({"preset": "private_chat", "name": "a first room"}));
    let room = created["room_id"].as_str().expect("a room").to_owned();
    let tag = format!("v3/user/{user}/rooms/{room}/tags/m.favourite");
    client.done("PUT", &tag, &json!({"order": 0.5}));
    let said = json!({"msgtype": "m.text", "body": "hello"});
    let sent = client.done("PUT", &format!("v3/rooms/{room}/send/m.room.message/1"), &said);
    let read = json!({"m.fully_read": sent["event_id"], "m.read": sent["event_id"]});
    client.done("POST", &format!("v3/rooms/{room}/read_markers"), &read);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_logs_in_for_the_first_time_is_never_told_to_wait() {
    let cluster = Cluster::start("").await;
    for name in ["alice", "bob"] {
        first_login(&mut Client::new(&cluster.nodes), name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_may_do_is_counted_by_class_for_all_pods_and_both_apis_together() {
    // Long enough that nothing comes back meanwhile, however slow the machine is.
    let cluster = Cluster::start("rateLimit: {messages: 6, per: 1h, receipts: 2, account: 3}").await;
    let alice = User::register(&cluster, 0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    let mut client = Client::new(&cluster.nodes);
    client.logs_in("alice", "MATRIX");
    for n in 0..3 {
        alice.say(n, &room, "over gRPC", &format!("g{n}")).await.expect("sent");
    }
    let say = |client: &mut Client<'_>, txn: &str| {
        let said = json!({"msgtype": "m.text", "body": "over Matrix"});
        client.ask("PUT", &format!("v3/rooms/{room}/send/m.room.message/{txn}"), &said)
    };
    for n in 0..3 {
        assert_eq!(say(&mut client, &format!("m{n}")).0, 200);
    }
    // Each pod says so, and for how long.
    for n in 0..3 {
        let (status, refused) = say(&mut client, &format!("more{n}"));
        assert_eq!((status, refused["errcode"].as_str()), (429, Some("M_LIMIT_EXCEEDED")), "{refused}");
        assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| ms > 60_000), "{refused}");
        let refused =
            alice.client(n).send(alice.asks(message(&room, "x", &format!("more{n}")))).await.expect_err("full");
        assert_eq!(detail(&refused).code(), ErrorCode::LimitExceeded);
    }
    assert_eq!(say(&mut client, "m0").0, 200, "a repeated request is none");

    let user = format!("@alice:{SERVER_NAME}");
    client.done("PUT", &format!("v3/rooms/{room}/state/m.room.topic"), &json!({"topic": "rooms are counted apart"}));
    let events = client.done("GET", &format!("v3/rooms/{room}/messages?dir=b&limit=3"), &Value::Null);
    let event = events["chunk"][1]["event_id"].as_str().expect("an event").to_owned();
    client.done("POST", &format!("v3/rooms/{room}/receipt/m.read/{event}"), &json!({}));
    let data = |n: usize| format!("v3/user/{user}/account_data/test.{n}");
    let written = (0..6).filter(|n| client.ask("PUT", &data(*n), &json!({"n": n})).0 == 200).count();
    assert_eq!(written, 3);
    let counted = cluster.nodes.iter().filter_map(|node| node.page("/metrics")).filter(|(_, page)| {
        page.contains("quorate_rate_limited_total{class=\"messages\"} 6")
            && page.contains("quorate_rate_limited_total{class=\"account\"} 3")
    });
    assert_eq!(counted.count(), 1, "the leader has counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_passwords_at_all_pods_guesses_no_faster_than_at_one() {
    let cluster = Cluster::start("").await;
    let alice = User::register(&cluster, 0, "alice").await;
    let mut guesser = Client::new(&cluster.nodes);
    let began = Instant::now();
    let mut guesses = 0;
    for n in 0..45 {
        let identifier = json!({"type": "m.id.user", "user": "alice"});
        let body = json!({"type": "m.login.password", "identifier": identifier, "password": format!("wrong {n}")});
        match guesser.ask("POST", "v3/login", &body) {
            (403, _) => guesses += 1,
            (429, refused) => assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}"),
            other => panic!("{other:?}"),
        }
    }
    let allowed = 10 + began.elapsed().as_secs() / 10 + 1;
    assert!((10..=allowed).contains(&guesses), "{guesses} guesses, {allowed} are meant");
    // Her device is counted apart.
    guesser.logs_in("alice", &alice.session.device_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_logins_at_once_with_the_right_password_are_no_guesses() {
    let cluster = Cluster::start("").await;
    User::register(&cluster, 0, "alice").await;
    let identifier = json!({"type": "m.id.user", "user": "alice"});
    let body = json!({"type": "m.login.password", "identifier": identifier, "password": PASSWORD});
    let nodes = &cluster.nodes;
    let log_in = |n: usize| call_as(&nodes[n % nodes.len()], "", "POST", "/_matrix/client/v3/login", &body);
    // More than there may be wrong ones.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..24).map(|n| scope.spawn(move || log_in(n))).collect();
        started.into_iter().map(|login| login.join().expect("an answer")).collect()
    });
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_sessions_are_counted_for_all_pods_together() {
    // A token comes back after minutes, however slow the machine is.
    let cluster = Cluster::start("rateLimit: {registrations: 4, logins: 3}").await;
    let mut client = Client::new(&cluster.nodes);
    let mut register = |n: usize| {
        let auth = json!({"type": "m.login.dummy"});
        client.ask("POST", "v3/register", &json!({"username": format!("user{n}"), "password": PASSWORD, "auth": auth}))
    };
    for n in 0..4 {
        let (status, answer) = register(n);
        assert_eq!(status, 200, "{answer}");
    }
    for n in 4..7 {
        let (status, refused) = register(n);
        assert_eq!((status, refused["errcode"].as_str()), (429, Some("M_LIMIT_EXCEEDED")), "{refused}");
        assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
    }
    for n in 0..3 {
        client.logs_in("user0", &format!("D{n}"));
    }
    for _ in 0..3 {
        let identifier = json!({"type": "m.id.user", "user": "user0"});
        let body = json!({"type": "m.login.password", "identifier": identifier, "password": PASSWORD});
        let (status, refused) = client.ask("POST", "v3/login", &body);
        assert_eq!((status, refused["errcode"].as_str()), (429, Some("M_LIMIT_EXCEEDED")), "{refused}");
    }
    client.logs_in("user1", "D");
}
