//! Cluster status: for holders of a certificate, for administrators who log in, and continuously with `chatctl`.

use crate::support::client::{User, detail};
use crate::support::cluster::Cluster;
use crate::support::eventually;
use axum::body::{Body, to_bytes};
use quorate_wire::chat::v1::create_room_request::Preset;
use quorate_wire::chat::v1::{ErrorCode, RegisterRequest};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use tower::ServiceExt as _;

const PAGE: &str = "/_quorate/status";

/// Requests the status page from the Matrix API.
fn page(cluster: &Cluster, n: usize, token: &str) -> Option<(u16, Value)> {
    let (status, body) = cluster.nodes[n].matrix("GET", PAGE, token, "")?;
    Some((status, serde_json::from_str(&body).expect("JSON")))
}

fn member<'a>(document: &'a Value, name: &str) -> &'a Value {
    let members = document["members"].as_array().expect("members");
    members.iter().find(|member| member["name"] == name).unwrap_or_else(|| panic!("{name} is not in {document:#}"))
}

/// Starts a cluster whose administrator is alice; her account exists before she is named in the configuration.
async fn administered() -> (Cluster, User) {
    let mut cluster = Cluster::start("").await;
    let alice = cluster.user(0, "alice").await;
    for n in 0..3 {
        cluster.kill(n);
        cluster.nodes[n].configure("administrators: 'alice'");
    }
    for n in 0..3 {
        cluster.restart(n);
    }
    cluster.all_ready().await;
    (cluster, alice)
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_see_every_member_and_others_see_nothing() {
    let (mut cluster, alice) = administered().await;
    let alice = User { clients: vec![cluster.chat(0).await, cluster.chat(1).await, cluster.chat(2).await], ..alice };
    let token = alice.session.access_token.as_str();
    let room = alice.create_room(0, Preset::Private, "").await;
    for n in 0..5 {
        alice.say(0, &room, "hello", &n.to_string()).await.expect("sent");
    }
    let (leader, term) = cluster.leader(0).await;
    let name = |n: usize| format!("node-{n}");
    // The load is sampled every second.
    let document = eventually("writes are in the rate", || async {
        let (status, document) = page(&cluster, leader, token)?;
        assert_eq!(status, 200, "{document}");
        (document["writes_per_second"].as_f64()? > 0.0).then_some(document)
    })
    .await;
    assert_eq!((&document["leader"]["name"], &document["term"]), (&name(leader).into(), &term.into()));
    let quorum = &document["quorum"];
    assert_eq!([&quorum["voters"], &quorum["healthy"], &quorum["needed"]], [3, 3, 2], "{document:#}");
    assert!(quorum["held"] == true && quorum["millis_since_ack"].as_u64().is_some_and(|age| age <= 1000), "{quorum}");
    let zero = member(&document, "node-0");
    assert!(zero["writes_per_second"].as_f64() > Some(0.0) && zero["write_ms"].as_f64() > Some(0.0), "{zero:#}");
    for n in 0..3 {
        let member = member(&document, &name(n));
        assert_eq!(
            (&member["reachable"], &member["ready"], &member["voter"]),
            (&true.into(), &true.into(), &true.into())
        );
        assert_eq!(member["leader"], n == leader);
        assert!(member["memory_bytes"].as_u64() > Some(1 << 20) && member["version"].is_string(), "{member:#}");
        assert_eq!(member["round_trip_ms"].is_number(), n != leader, "{member:#}");
    }

    let bob = cluster.user(1, "bob").await;
    assert_eq!(page(&cluster, 0, &bob.session.access_token).expect("an answer").0, 403);
    assert_eq!(page(&cluster, 0, "").expect("an answer").0, 401);
    assert_eq!(page(&cluster, 0, "qat_nobody").expect("an answer").0, 401);

    // One member is down: the status says so, and writes continue.
    let away = (leader + 1) % 3;
    cluster.kill(away);
    let document = page(&cluster, leader, token).expect("an answer").1;
    let gone = member(&document, &name(away));
    assert!(gone["reachable"] == false && gone["error"].is_string() && gone.get("role").is_none(), "{gone:#}");
    assert_eq!((&document["quorum"]["healthy"], &document["quorum"]["held"]), (&2.into(), &true.into()));
    // Two members are down: the last one reports that it has no quorum.
    let last = (leader + 2) % 3;
    cluster.kill(leader);
    eventually("the quorum is said to be lost", || async {
        let (status, document) = page(&cluster, last, token)?;
        let lost = document["quorum"]["held"] == false && document["leader"].is_null();
        (status == 200 && lost && document["quorum"]["healthy"] == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_becomes_an_administrator_by_taking_the_name() {
    let cluster = Cluster::start("administrators: 'root'").await;
    let request = RegisterRequest { username: "root".into(), password: "a password".into(), ..Default::default() };
    let refused = cluster.chat(0).await.register(request).await.expect_err("the name is kept");
    assert_eq!(detail(&refused).code(), ErrorCode::AlreadyExists, "{refused}");
    let body = r#"{"username": "root", "password": "a password", "auth": {"type": "m.login.dummy"}}"#;
    let (status, answer) = cluster.nodes[1].matrix("POST", "/_matrix/client/v3/register", "", body).expect("an answer");
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("M_USER_IN_USE"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_cluster_opens_the_same_page_on_the_peer_listener() {
    let cluster = Cluster::start("").await;
    let channel = cluster.try_peer(1).await.expect("a connection");
    let request = http::Request::get(PAGE).body(tonic::body::Body::empty()).expect("a request");
    let answer = channel.oneshot(request).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let body = to_bytes(Body::new(answer.into_body()), 1 << 20).await.expect("a body");
    let document: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((&document["asked"]["name"], &document["quorum"]["healthy"]), (&"node-1".into(), &3.into()));
}

/// Process of `chatctl cluster status --watch`, read as a program would.
struct Watch {
    child: Child,
    documents: Receiver<Value>,
}

impl Watch {
    fn start(cluster: &Cluster, n: usize) -> Self {
        // Built with the workspace, beside chatd.
        let chatctl = Path::new(env!("CARGO_BIN_EXE_chatd")).with_file_name("chatctl");
        let mut command = Command::new(&chatctl);
        command.args(["--output", "json", "cluster", "status", "--watch", "--interval", "200ms", "--admin"]);
        command.arg(cluster.nodes[n].peer.to_string()).arg("--tls-dir").arg(cluster.tls_dir());
        let started = command.stdout(Stdio::piped()).spawn();
        let mut child =
            started.unwrap_or_else(|e| panic!("{}: {e}; build the workspace's binaries", chatctl.display()));
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, documents) = sync_channel(1024);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let document = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
                // The receiver is dropped at the end of the test.
                if sender.send(document).is_err() {
                    return;
                }
            }
        });
        Self { child, documents }
    }

    /// Returns the next document that satisfies `is`.
    async fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async { self.documents.try_iter().find(|document| is(document)) }).await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Both calls fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keys(document: &Value) -> BTreeSet<&str> {
    document.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_over_the_loss_of_the_leader_and_of_the_server_that_it_asked() {
    let (mut cluster, alice) = administered().await;
    let (leader, term) = cluster.leader(0).await;
    // Only the leader is named; the others are learned from its answers.
    let watch = Watch::start(&cluster, leader);
    let all = |document: &Value| document["quorum"]["healthy"] == 3 && document["leader"]["name"].is_string();
    let document = watch.until("all are healthy", all).await;
    let (_, page) = page(&cluster, leader, &alice.session.access_token).expect("an answer");
    let mut same = keys(&page);
    same.insert("at_ms");
    assert_eq!(keys(&document), same, "one document on both APIs");
    assert_eq!(keys(&document["quorum"]), keys(&page["quorum"]));
    for n in 0..3 {
        let name = format!("node-{n}");
        assert_eq!(keys(member(&document, &name)), keys(member(&page, &name)));
    }

    cluster.kill(leader);
    let name = format!("node-{leader}");
    let moved =
        |document: &Value| document["leader"]["name"].is_string() && document["leader"]["name"] != name.as_str();
    let document = watch.until("another leads", moved).await;
    assert!(document["term"].as_u64() > Some(term) && document["asked"]["name"] != name.as_str(), "{document:#}");
    assert_eq!(member(&document, &name)["reachable"], false);
    cluster.restart(leader);
    watch.until("all are healthy again", all).await;
}
