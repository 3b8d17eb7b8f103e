//! Log lines: what they must say, and what they must never contain.

use crate::support::client::{User, message};
use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::process::Node;
use quorate_wire::chat::v1::create_room_request::Preset;
use quorate_wire::chat::v1::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Most verbose configuration: every line of Quorate's own crates, and those of libraries.
const EVERYTHING: &str = "log: {format: json, level: trace}\nrateLimit: {enabled: false}";

/// Secrets that users entrust to the server; none is a substring of another.
const BODY: &str = "Zebrafink-body-4711";
const TOPIC: &str = "Wiedehopf-topic-4712";
const SECRET: &str = "Nachtigall-password-4713";
const DISPLAY_NAME: &str = "Rotkehlchen-name-4714";

/// Returns the complete lines; the last one may be partly written.
fn lines(log: &str) -> impl Iterator<Item = &str> {
    log.rsplit_once('\n').map(|(whole, _)| whole).unwrap_or_default().lines()
}

fn parsed(node: &Node, line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in a line of {}: {line}", node.name))
}

/// Returns the lines of a node with this message.
fn said(node: &Node, message: &str) -> Vec<Value> {
    let log = node.log();
    // Parsing the whole log each time would take most of the test's time.
    let hits = lines(&log).filter(|line| line.contains(message)).map(|line| parsed(node, line));
    hits.filter(|line| line["message"] == message).collect()
}

async fn until_said(node: &Node, message: &str) -> Value {
    eventually(message, || async { said(node, message).pop() }).await
}

/// Makes calls to the Matrix API, and returns the token of a login there.
fn matrix(node: &Node, room: &str) -> String {
    let path = |rest: &str| format!("/_matrix/client/v3/{rest}");
    let call = |method: &str, rest: &str, token: &str, body: Value| {
        let (status, answer) = node.matrix(method, &path(rest), token, &body.to_string()).expect("an answer");
        (status, serde_json::from_str::<Value>(&answer).expect("JSON"))
    };
    let login = |password: &str| {
        let user = json!({"type": "m.id.user", "user": "alice"});
        call("POST", "login", "", json!({"type": "m.login.password", "identifier": user, "password": password}))
    };
    let (status, answer) = login(SECRET);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(login(&format!("{SECRET}-mistyped")).0, 403);
    let token = answer["access_token"].as_str().expect("a token").to_owned();
    let sent = json!({"msgtype": "m.text", "body": BODY});
    assert_eq!(call("PUT", &format!("rooms/{room}/send/m.room.message/m1"), &token, sent.clone()).0, 200);
    // Malformed requests, because a body that cannot be parsed may contain secrets, too.
    assert_eq!(call("PUT", &format!("rooms/{room}/send/m.room.message/m2"), &token, json!([sent])).0, 400);
    let half = node.matrix("POST", &path("login"), "", &format!("{{\"password\": \"{SECRET}")).expect("an answer");
    assert_eq!(half.0, 400);
    assert_eq!(node.matrix("GET", &path(&format!("sync?access_token={token}")), "", "").expect("an answer").0, 200);
    assert_eq!(call("GET", &format!("rooms/{room}/messages?dir=b"), &token, json!({})).0, 200);
    let name = json!({"displayname": DISPLAY_NAME});
    assert_eq!(call("PUT", "profile/@alice:chat.test/displayname", &token, name).0, 200);
    token
}

/// Makes calls to the gRPC API: unary, streaming and refused ones.
async fn grpc(cluster: &Cluster, alice: &User, room: &str) {
    for n in 0..3 {
        alice.say(n, room, BODY, &format!("g{n}")).await.expect("sent");
        alice.read_all(n, room).await;
    }
    let frame = PostRequest { events: vec![message(room, BODY, "p1"), message("!no:chat.test", BODY, "p2")] };
    let mut answers = alice.client(1).post(alice.asks(tokio_stream::iter([frame]))).await.expect("opens").into_inner();
    let mut results = 0;
    while let Some(answer) = answers.message().await.expect("answers") {
        results += answer.results.len();
    }
    assert_eq!(results, 2);
    let unreadable =
        SendRequest { content: format!("{{\"body\": \"{BODY}").into_bytes().into(), ..message(room, "", "g9") };
    alice.client(2).send(alice.asks(unreadable)).await.expect_err("not JSON");
    let login =
        |password: &str| LoginRequest { username: "alice".into(), password: password.into(), ..Default::default() };
    cluster.chat(2).await.login(login(&format!("{SECRET}-mistyped"))).await.expect_err("refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_at_any_level_holds_a_message_a_password_or_a_token_and_decisions_are_told() {
    let mut cluster = Cluster::start(EVERYTHING).await;
    let register = RegisterRequest { username: "alice".into(), password: SECRET.into(), ..RegisterRequest::default() };
    let mut clients = Vec::new();
    for n in 0..3 {
        clients.push(cluster.chat(n).await);
    }
    let session = clients[0].register(register).await.expect("registered").into_inner();
    let alice = User { session, clients };
    let room =
        CreateRoomRequest { preset: Preset::Private.into(), topic: TOPIC.into(), ..CreateRoomRequest::default() };
    let room = alice.client(1).create_room(alice.asks(room)).await.expect("a room").into_inner().room_id;
    grpc(&cluster, &alice, &room).await;
    let token = matrix(&cluster.nodes[1], &room);

    let (leader, term) = cluster.leader(0).await;
    cluster.kill(leader);
    let (next, _) = cluster.leader(term + 1).await;
    alice.say(next, &room, BODY, "after").await.expect("sent");
    cluster.restart(leader);
    cluster.all_ready().await;

    // Decisions appear in the logs of the nodes that they concern.
    let won = until_said(&cluster.nodes[next], "won the election; this pod is the leader").await;
    assert!(won["term"].as_u64() > Some(term), "{won}");
    let follower = (0..3).find(|n| *n != leader && *n != next).expect("the third");
    eventually("the follower tells who leads", || async {
        let told = said(&cluster.nodes[follower], "leader elected");
        told.iter().any(|line| line["leader"] == cluster.nodes[next].name && line["node_id"].is_u64()).then_some(())
    })
    .await;
    let members = until_said(&cluster.nodes[follower], "membership changed").await;
    assert_eq!((&members["voters"], &members["joint"]), (&"node-0,node-1,node-2".into(), &false.into()));
    let starting = said(&cluster.nodes[leader], "starting");
    assert_eq!(starting.len(), 2, "killed and started again");
    assert_eq!(
        (&starting[1]["node"], &starting[1]["server_name"]),
        (&cluster.nodes[leader].name.as_str().into(), &"chat.test".into())
    );
    let open = said(&cluster.nodes[leader], "open");
    assert!(open[1]["cluster_id"].is_string() && open[1]["applied_index"].as_u64() > Some(0), "{open:?}");
    // A token that is not known here may still belong to somebody.
    let stranger = "qat_Kernbeisser-token-4715-which-nobody-has-ever-got";
    let whoami = || cluster.nodes[next].matrix("GET", "/_matrix/client/v3/account/whoami", stranger, "");
    for _ in 0..30 {
        assert_eq!(whoami().expect("an answer").0, 401);
    }
    let burst = until_said(&cluster.nodes[next], "requests are being refused").await;
    let about = [&burst["place"], &burst["code"], &burst["mostly"]];
    assert_eq!(about, ["matrix", "unauthenticated", "whoami"]);
    assert!(burst["count"].as_u64() >= Some(10), "{burst}");
    let over = until_said(&cluster.nodes[next], "requests are no longer being refused").await;
    assert!(over["count"].as_u64() >= burst["count"].as_u64() && over["seconds"].is_u64(), "{over}");
    let (leads, _) = cluster.leader(0).await;
    cluster.processes[leads].as_ref().expect("it runs").terminate();
    for message in ["stopping", "handing leadership over", "handed leadership over", "stopped"] {
        until_said(&cluster.nodes[leads], message).await;
    }

    let tokens = [alice.session.access_token.as_str(), &token, stranger];
    let never = [BODY, TOPIC, SECRET, DISPLAY_NAME, "$argon2"];
    for node in &cluster.nodes {
        let (log, mut levels) = (node.log(), BTreeSet::new());
        for text in lines(&log) {
            let line = parsed(node, text);
            let own = line["target"].as_str().is_some_and(|target| target.starts_with("quorate"));
            // A library may log fields without a message.
            let fields = ["timestamp", "level", "target", "message"];
            for field in &fields[..if own { 4 } else { 3 }] {
                // The field must be unique, because another one of the same name would hide the line's own.
                assert!(line[field].is_string(), "no {field} in {text}");
                assert_eq!(text.matches(&format!("\"{field}\":")).count(), 1, "{field} in {text}");
            }
            levels.insert(line["level"].as_str().expect("a level").to_owned());
            let found = never.iter().chain(&tokens).find(|word| text.contains(**word));
            assert_eq!(found, None, "in a line of {}: {text}", node.name);
        }
        assert!(levels.contains("TRACE") && levels.contains("DEBUG"), "nothing was left out: {levels:?}");
    }
}
