//! Both event streams: posting and subscribing.

use crate::support::client::{User, detail, message, said};
use crate::support::cluster::Cluster;
use crate::support::{PATIENCE, eventually};
use quorate_wire::chat::v1::create_room_request::Preset;
use quorate_wire::chat::v1::*;
use std::time::Duration;
use tokio::time::timeout;
use tonic::Streaming;

const QUIET: &str = "rateLimit: {enabled: false}";

/// Subscription that keeps its cursor.
pub struct Follower {
    frames: Streaming<SubscribeResponse>,
    pub cursor: String,
}

impl Follower {
    pub async fn new(user: &User, n: usize, room_id: &str, cursor: &str) -> Self {
        let request = SubscribeRequest { room_id: room_id.into(), cursor: cursor.into() };
        let frames = user.client(n).subscribe(user.asks(request)).await.expect("subscribed").into_inner();
        Self { frames, cursor: cursor.into() }
    }

    pub async fn frame(&mut self) -> Result<Option<SubscribeResponse>, tonic::Status> {
        let frame = timeout(PATIENCE, self.frames.message()).await.expect("a frame in time")?;
        if let Some(frame) = &frame {
            self.cursor.clone_from(&frame.cursor);
        }
        Ok(frame)
    }

    /// Returns the bodies of the next `count` messages.
    pub async fn bodies(&mut self, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        while bodies.len() < count {
            let frame = self.frame().await.expect("no error").expect("no end");
            bodies.extend(frame.events.iter().filter(|e| e.r#type == "m.room.message").map(|e| said(e).1));
        }
        bodies
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_each_event_once_in_order_and_resumes_on_another_pod() {
    let cluster = Cluster::start(QUIET).await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let room = alice.create_room(0, Preset::Public, "").await;
    bob.join(1, &room).await.expect("joined");
    let mut follower = Follower::new(&bob, 1, "", "").await;
    for n in 0..20 {
        alice.say(n % 3, &room, &n.to_string(), &n.to_string()).await.expect("sent");
    }
    let mut all = follower.bodies(20).await;
    let cursor = follower.cursor.clone();
    drop(follower);
    for n in 20..40 {
        alice.say(n % 3, &room, &n.to_string(), &n.to_string()).await.expect("sent");
    }
    all.extend(Follower::new(&bob, 2, "", &cursor).await.bodies(20).await);
    assert_eq!(all, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_all_rooms_gets_those_joined_later_and_loses_those_left() {
    let cluster = Cluster::start(QUIET).await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let mut follower = Follower::new(&bob, 2, "", "").await;
    let room = alice.create_room(0, Preset::Public, "").await;
    bob.join(1, &room).await.expect("joined");
    alice.say(0, &room, "welcome", "1").await.expect("sent");
    assert_eq!(follower.bodies(1).await, ["welcome"]);
    let mut one_room = Follower::new(&bob, 0, &room, "").await;
    let leave = LeaveRoomRequest { room_id: room.clone(), ..LeaveRoomRequest::default() };
    bob.client(0).leave_room(bob.asks(leave)).await.expect("left");
    alice.say(0, &room, "behind his back", "2").await.expect("sent");
    let other = alice.create_room(0, Preset::Public, "").await;
    bob.join(1, &other).await.expect("joined");
    alice.say(0, &other, "elsewhere", "3").await.expect("sent");
    assert_eq!(follower.bodies(1).await, ["elsewhere"]);
    // The stream of the single room ends with a reason.
    let refused = loop {
        match one_room.frame().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(detail(&refused).code(), ErrorCode::NotMember, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_are_acknowledged_in_order_and_a_refused_one_ends_nothing() {
    let cluster = Cluster::start(QUIET).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    for pod in 0..3 {
        let frames: Vec<PostRequest> = (0..10)
            .map(|frame| PostRequest {
                events: (0..20)
                    .map(|n| {
                        let txn = format!("{pod}-{frame}-{n}");
                        let mut event = message(&room, &txn, &txn);
                        if n == 7 {
                            event.content = "not JSON".into();
                        }
                        event
                    })
                    .collect(),
            })
            .collect();
        let expected: Vec<String> = frames.iter().flat_map(|f| &f.events).map(|e| e.transaction_id.clone()).collect();
        let request = alice.asks(tokio_stream::iter(frames));
        let mut answers = alice.client(pod).post(request).await.expect("open").into_inner();
        let mut results = Vec::new();
        while let Some(frame) = timeout(PATIENCE, answers.message()).await.expect("in time").expect("no error") {
            results.extend(frame.results);
        }
        let acknowledged: Vec<String> = results.iter().map(|r| r.transaction_id.clone()).collect();
        assert_eq!(acknowledged, expected);
        let mut positions = Vec::new();
        for result in results {
            match result.result.expect("a result") {
                post_result::Result::Accepted(sent) => {
                    positions.push(sent.position.map(|p| (p.incarnation, p.index, p.ordinal)));
                }
                post_result::Result::Refused(detail) => {
                    assert!(result.transaction_id.ends_with("-7"));
                    assert_eq!(detail.code(), ErrorCode::Invalid);
                }
            }
        }
        assert_eq!(positions.len(), 190);
        assert!(positions.is_sorted(), "the log has the stream's order");
    }
    assert_eq!(alice.read_all(0, &room).await.len(), 3 * 190);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_pod_tells_its_readers_to_move_and_ends_in_order() {
    let mut cluster = Cluster::start(QUIET).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    let (leader, term) = cluster.leader(0).await;
    let mut follower = Follower::new(&alice, leader, &room, "").await;
    let stopping = cluster.processes[leader].take().expect("it runs");
    stopping.terminate();
    let hint = loop {
        let frame = follower.frame().await.expect("no error").expect("a hint before the end");
        if frame.reconnect {
            break frame;
        }
    };
    assert!(!hint.cursor.is_empty());
    let other = (leader + 1) % 3;
    alice.say(other, &room, "meanwhile", "1").await.expect("another leads");
    assert_eq!(Follower::new(&alice, other, &room, &hint.cursor).await.bodies(1).await, ["meanwhile"]);
    assert_eq!(stopping.ended().await, Some(0));
    let (new, later) = cluster.leader(term).await;
    assert!(new != leader && later >= term);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_shows_that_it_lives() {
    let cluster = Cluster::start("").await;
    let alice = cluster.user(0, "alice").await;
    let mut follower = Follower::new(&alice, 1, "", "").await;
    let frame = timeout(Duration::from_secs(15), follower.frame()).await.expect("a frame").expect("no error");
    assert!(frame.is_some_and(|frame| frame.events.is_empty() && !frame.cursor.is_empty()));
    drop(follower);
    eventually("its end is noticed", || async {
        cluster.nodes[1]
            .page("/metrics")
            .filter(|(_, body)| body.contains("quorate_api_streams{api=\"grpc\",endpoint=\"Subscribe\"} 0"))
    })
    .await;
}
