//! Streams and long polls of a session end with it.

use crate::support::client::{User, detail, message, said};
use crate::support::cluster::Cluster;
use crate::support::matrix::MatrixUser;
use crate::support::{PATIENCE, eventually};
use quorate_wire::chat::v1::create_room_request::Preset;
use quorate_wire::chat::v1::*;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::Streaming;

/// Returns the bodies of the messages that a stream still delivers, and the status with which it ends.
async fn rest(mut frames: Streaming<SubscribeResponse>) -> (Vec<String>, tonic::Status) {
    let mut bodies = Vec::new();
    loop {
        match timeout(PATIENCE, frames.message()).await.expect("a frame or an end in time") {
            Ok(Some(frame)) => {
                let messages = frame.events.iter().filter(|event| event.r#type == "m.room.message");
                bodies.extend(messages.map(|event| said(event).1));
            }
            Ok(None) => panic!("it ended without a word"),
            Err(status) => return (bodies, status),
        }
    }
}

async fn subscribe(user: &User, n: usize) -> Streaming<SubscribeResponse> {
    user.client(n).subscribe(user.asks(SubscribeRequest::default())).await.expect("subscribed").into_inner()
}

/// Starts a long poll that waits for longer than anything else in this test may take.
fn park(cluster: &Cluster, n: usize, user: &User) -> tokio::task::JoinHandle<Option<(u16, String)>> {
    let (node, token) = (cluster.nodes[n].clone(), user.session.access_token.clone());
    tokio::task::spawn_blocking(move || {
        let first = node.ask("GET", "/_matrix/client/v3/sync", &token, "", "");
        let since = first["next_batch"].as_str().expect("a token");
        node.matrix("GET", &format!("/_matrix/client/v3/sync?timeout=25000&since={since}"), &token, "")
    })
}

/// Returns the number of parked polls on a node.
fn parked(cluster: &Cluster, n: usize) -> Option<usize> {
    let (_, page) = cluster.nodes[n].page("/metrics")?;
    let line = page.lines().find(|line| line.starts_with("quorate_sync_parked"))?;
    line.split_whitespace().next_back()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_their_session_on_every_pod_however_busy_they_are() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let room = alice.create_room(0, Preset::Public, "").await;
    bob.join(1, &room).await.expect("joined");
    // A second device, whose session stays.
    let login = LoginRequest { username: "bob".into(), password: "a password".into(), ..LoginRequest::default() };
    let session = bob.client(0).login(login).await.expect("logged in").into_inner();
    let tablet = User { session, clients: bob.clients.clone() };

    let (mut streams, mut posts, mut polls) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..3 {
        streams.push(subscribe(&bob, n).await);
        let (sender, frames) = tokio::sync::mpsc::channel(1);
        let request = bob.asks(tokio_stream::wrappers::ReceiverStream::new(frames));
        posts.push((bob.client(n).post(request).await.expect("open").into_inner(), sender));
    }
    let stays = subscribe(&tablet, 1).await;
    alice.say(0, &room, "before", "before").await.expect("sent");
    for n in 0..3 {
        polls.push(park(&cluster, n, &bob));
        eventually("the poll is parked", || async { parked(&cluster, n).filter(|parked| *parked > 0) }).await;
    }

    bob.client(0).logout(bob.asks(LogoutRequest { all_devices: false })).await.expect("logged out");
    for n in 0..30 {
        alice.say(n % 3, &room, "after", &format!("after {n}")).await.expect("sent");
    }

    for frames in streams {
        let (bodies, why) = rest(frames).await;
        assert_eq!(bodies, ["before"]);
        assert_eq!(detail(&why).code(), ErrorCode::Unauthenticated, "{why}");
    }
    for (mut answers, sender) in posts {
        // Nothing was sent on the stream, yet the logout ends it.
        let end = timeout(PATIENCE, answers.message()).await.expect("an end in time");
        assert_eq!(detail(&end.expect_err("a refusal")).code(), ErrorCode::Unauthenticated);
        drop(sender);
    }
    for poll in polls {
        let (status, body) = poll.await.expect("no panic").expect("an answer");
        assert_eq!(status, 401, "{body}");
        assert!(body.contains("M_UNKNOWN_TOKEN"), "{body}");
    }
    let mut follower = stays;
    let mut seen = 0;
    while seen < 31 {
        let frame = timeout(PATIENCE, follower.message()).await.expect("in time").expect("no error").expect("no end");
        seen += frame.events.iter().filter(|event| event.r#type == "m.room.message").count();
    }
    let late = bob.client(2).send(bob.asks(message(&room, "late", "late"))).await.expect_err("a refusal");
    assert_eq!(detail(&late).code(), ErrorCode::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_after_a_logout_is_refused_on_every_pod() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    // Again and again, because a session that is still taken for alive would be so only now and then.
    for n in 0..30 {
        let (phone, _) = alice.log_in(None);
        let elsewhere = MatrixUser { node: cluster.nodes[1 + n % 2].clone(), ..phone.clone() };
        // From now on this pod knows the session in memory.
        elsewhere.get("v3/account/whoami");
        phone.must("POST", "v3/logout", &json!({}));
        let refused = elsewhere.refused("GET", "v3/sync?timeout=0", &Value::Null);
        assert_eq!(refused, (401, "M_UNKNOWN_TOKEN".into()), "logout {n}");
    }
}
