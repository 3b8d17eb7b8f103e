//! Failover: pods die, and nothing that was acknowledged is lost, duplicated or reordered.

use crate::stream::Follower;
use crate::support::client::{User, detail, with_token};
use crate::support::cluster::Cluster;
use crate::support::eventually;
use quorate_wire::chat::v1::create_room_request::Preset;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const QUIET: &str = "rateLimit: {enabled: false}";
const WRITERS: usize = 4;

/// Writes one message after the other, each with its own transaction id until some pod acknowledges it.
async fn write(user: User, writer: usize, room: String, stop: Arc<AtomicBool>, count: Arc<AtomicUsize>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut pod = writer;
    for n in 0.. {
        if stop.load(SeqCst) {
            break;
        }
        let body = format!("{writer}:{n}");
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(status) = user.say(pod % 3, &room, &body, &body).await {
            assert!(Instant::now() < deadline, "{body} is not taken anywhere: {status}");
            pod += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        count.fetch_add(1, SeqCst);
        acknowledged.push(body);
    }
    acknowledged
}

/// Waits until `messages` more messages are acknowledged.
async fn more(count: &AtomicUsize, messages: usize) {
    let target = count.load(SeqCst) + messages;
    crate::support::eventually("writing goes on", || async { (count.load(SeqCst) >= target).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_leaders_are_killed_under_load() {
    let mut cluster = Cluster::start(QUIET).await;
    let users: Vec<User> = {
        let mut users = Vec::new();
        for n in 0..WRITERS {
            users.push(cluster.user(n % 3, &format!("writer-{n}")).await);
        }
        users
    };
    let room = users[0].create_room(0, Preset::Public, "").await;
    for user in &users {
        user.join(0, &room).await.expect("joined");
    }
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writing: Vec<_> = users
        .iter()
        .enumerate()
        .map(|(n, user)| tokio::spawn(write(user.clone(), n, room.clone(), stop.clone(), count.clone())))
        .collect();

    let mut term = 0;
    for _ in 0..3 {
        more(&count, 100).await;
        let (leader, present) = cluster.leader(term).await;
        cluster.kill(leader);
        let (next, later) = cluster.leader(present + 1).await;
        assert!(next != leader && later > present);
        more(&count, 100).await;
        cluster.restart(leader);
        cluster.all_ready().await;
        term = later;
    }
    stop.store(true, SeqCst);
    let mut acknowledged = Vec::new();
    for writer in writing {
        acknowledged.push(writer.await.expect("a writer"));
    }

    let total: usize = acknowledged.iter().map(Vec::len).sum();
    let mut orders = Vec::new();
    for n in 0..3 {
        let all: Vec<String> = users[0].read_all(n, &room).await.into_iter().map(|(_, body)| body).collect();
        for (writer, own) in acknowledged.iter().enumerate() {
            let prefix = format!("{writer}:");
            let found: Vec<_> = all.iter().filter(|body| body.starts_with(&prefix)).cloned().collect();
            assert_eq!(&found, own, "node {n}, writer {writer}: each once, in order");
        }
        assert_eq!(all.len(), total);
        orders.push(all);
    }
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]), "one order everywhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_was_away_catches_up_and_serves_what_it_missed() {
    let mut cluster = Cluster::start(QUIET).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    let (leader, _) = cluster.leader(0).await;
    let away = (leader + 1) % 3;
    cluster.kill(away);
    for n in 0..50 {
        alice.say(leader, &room, &n.to_string(), &n.to_string()).await.expect("two of three suffice");
    }
    cluster.restart(away);
    cluster.all_ready().await;
    let all: Vec<String> = alice.read_all(away, &room).await.into_iter().map(|(_, body)| body).collect();
    assert_eq!(all, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_all_pods_were_killed_at_once() {
    let mut cluster = Cluster::start(QUIET).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    for n in 0..50 {
        alice.say(n % 3, &room, &n.to_string(), &n.to_string()).await.expect("sent");
    }
    for n in 0..3 {
        cluster.kill(n);
    }
    for n in 0..3 {
        cluster.restart(n);
    }
    cluster.all_ready().await;
    for n in 0..3 {
        assert_eq!(alice.read_all(n, &room).await.len(), 50);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_writes_wait_and_fail_and_reads_say_that_they_are_stale() {
    use quorate_wire::chat::v1::{ErrorCode, Freshness, HistoryRequest};
    let mut cluster = Cluster::start(QUIET).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    alice.say(0, &room, "before", "1").await.expect("sent");
    alice.read_all(2, &room).await;
    let matrix = |path: String, cluster: &Cluster| cluster.nodes[2].head_and_body(&path, &alice.session.access_token);
    let messages = format!("/_matrix/client/v3/rooms/{room}/messages?dir=b");
    let fresh = matrix(messages.clone(), &cluster);
    assert!(fresh.0.contains(" 200 ") && !fresh.0.contains("quorate-freshness: stale"), "{fresh:?}");
    cluster.kill(0);
    cluster.kill(1);
    let absent = format!("/_matrix/client/v3/rooms/{room}/state/m.none");
    for (path, status) in [(messages, " 200 "), ("/_matrix/client/v3/sync".into(), " 200 "), (absent, " 404 ")] {
        let (head, body) = matrix(path, &cluster);
        assert!(head.contains(status) && head.contains("quorate-freshness: stale"), "{head} {body}");
    }
    let request = HistoryRequest { room_id: room.clone(), ..HistoryRequest::default() };
    let page = alice.client(2).history(alice.asks(request)).await.expect("served all the same").into_inner();
    assert_eq!(page.freshness(), Freshness::Stale);
    let refused = alice.say(2, &room, "alone", "2").await.expect_err("no quorum");
    assert_eq!(detail(&refused).code(), ErrorCode::Unavailable, "{refused}");
    assert!(detail(&refused).retry_after_ms > 0);
    // The pod cannot know that the others do not serve, so it sends clients elsewhere in case there is another pod.
    let withdrawn = || async { cluster.nodes[2].page("/readyz").filter(|(status, _)| *status == 503) };
    let (_, reason) = eventually("the last pod withdraws", withdrawn).await;
    assert!(reason.contains("cut off"), "{reason}");
    cluster.restart(0);
    cluster.all_ready().await;
    // The same transaction id: whether or not the first attempt was written, the message is there once.
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(status) = alice.say(2, &room, "alone", "2").await {
        assert!(Instant::now() < deadline, "{status}");
    }
    let bodies: Vec<String> = alice.read_all(0, &room).await.into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["before", "alone"]);
}

/// Such a pod cannot know how old its state is, and reaches nobody who does.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_restarted_without_a_majority_is_not_ready_until_there_is_one() {
    let mut cluster = Cluster::start(QUIET).await;
    for n in 0..3 {
        cluster.kill(n);
    }
    cluster.restart(2);
    let says = |n: usize| cluster.nodes[n].page("/readyz");
    let waits = || async { says(2).filter(|(_, reason)| reason.contains("catching up")) };
    eventually("it is open, and waits for a leader", waits).await;
    // For the length of several elections the pod must stay unready.
    for _ in 0..20 {
        assert_eq!(says(2).map(|(status, _)| status), Some(503));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.restart(0);
    let ready = |n: usize| cluster.nodes[n].page("/readyz").filter(|(status, _)| *status == 200);
    eventually("both are ready", || async { ready(0).and(ready(2)) }).await;
}

/// Clients drop a session that a server calls unknown, and their users must log in again.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_a_login_that_is_not_here_is_not_called_unknown() {
    use quorate_wire::chat::v1::{ErrorCode, HistoryRequest};
    let mut cluster = Cluster::start(QUIET).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    let ask = || {
        let request = HistoryRequest { room_id: room.clone(), ..HistoryRequest::default() };
        with_token(request, "qat_made-elsewhere-a-moment-ago-perhaps")
    };
    let refused = alice.client(2).history(ask()).await.expect_err("with a quorum it is known that there is none");
    assert_eq!(detail(&refused).code(), ErrorCode::Unauthenticated, "{refused}");
    cluster.kill(0);
    cluster.kill(1);
    let refused = alice.client(2).history(ask()).await.expect_err("nobody knows");
    assert_eq!(detail(&refused).code(), ErrorCode::Unavailable, "{refused}");
    assert!(detail(&refused).retry_after_ms > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_a_killed_pod_goes_on_elsewhere_without_a_gap() {
    let mut cluster = Cluster::start(QUIET).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    let (leader, term) = cluster.leader(0).await;
    let mut follower = Follower::new(&alice, leader, &room, "").await;
    for n in 0..20 {
        alice.say((leader + 1) % 3, &room, &n.to_string(), &n.to_string()).await.expect("sent");
    }
    let mut all = follower.bodies(10).await;
    cluster.kill(leader);
    // Frames still in the lost connection count; after its end the last cursor continues.
    while let Ok(Some(frame)) = follower.frame().await {
        all.extend(frame.events.iter().map(|event| crate::support::client::said(event).1));
    }
    let (next, _) = cluster.leader(term + 1).await;
    let missing = 20 - all.len();
    if missing > 0 {
        all.extend(Follower::new(&alice, next, &room, &follower.cursor).await.bodies(missing).await);
    }
    assert_eq!(all, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}
