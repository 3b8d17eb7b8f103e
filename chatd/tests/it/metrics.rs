//! Metrics of a cluster at work, pod by pod.

use crate::stream::Follower;
use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::process::Node;
use quorate_wire::chat::v1::create_room_request::Preset;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const QUIET: &str = "rateLimit: {enabled: false}";
const MESSAGES: usize = 30;

/// Returns the sum of all series of the metric `name` whose labels contain `labels`.
fn sum(node: &Node, name: &str, labels: &str) -> Option<f64> {
    let (_, text) = node.page("/metrics")?;
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let ours = rest.starts_with(['{', ' ']) && rest.contains(labels);
        ours.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    };
    Some(text.lines().filter_map(of).sum())
}

/// Waits until a metric of a pod is at least `least`.
async fn reaches(node: &Node, name: &str, labels: &str, least: f64) {
    let what = format!("{name}{{{labels}}} of {} reaches {least}", node.name);
    eventually(&what, || async { sum(node, name, labels).filter(|found| *found >= least) }).await;
}

/// Makes a `/sync` request to the Matrix API and returns the body.
async fn sync(node: &Node, token: &str, query: &str) -> String {
    let (address, request) = (
        node.http,
        format!("GET /_matrix/client/v3/sync{query} HTTP/1.0\r\nHost: t\r\nAuthorization: Bearer {token}\r\n\r\n"),
    );
    let asking = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("the listener is open");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        stream.write_all(request.as_bytes()).expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    });
    let answer = asking.await.expect("no panic");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(" 200 "), "{answer}");
    body.to_owned()
}

fn next_batch(body: &str) -> &str {
    let (_, rest) = body.split_once("\"next_batch\":\"").expect("a token");
    rest.split('"').next().expect("its end")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_at_work_tells_how_it_elects_replicates_and_delivers() {
    let cluster = Cluster::start(QUIET).await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let room = alice.create_room(0, Preset::Public, "").await;
    bob.join(1, &room).await.expect("joined");
    let mut follower = Follower::new(&bob, 1, "", "").await;
    for n in 0..MESSAGES {
        alice.say(0, &room, &n.to_string(), &n.to_string()).await.expect("sent");
    }
    assert_eq!(follower.bodies(MESSAGES).await.len(), MESSAGES);

    let (leader, _) = cluster.leader(0).await;
    let [one, other] = [1, 2].map(|step| format!("peer=\"{}\"", cluster.nodes[(leader + step) % 3].name));
    for peer in [&one, &other] {
        reaches(&cluster.nodes[leader], "quorate_raft_append_seconds_count", peer, 5.0).await;
    }
    reaches(&cluster.nodes[leader], "quorate_raft_elections_started_total", "", 1.0).await;
    let mut granted = 0.0;
    for node in &cluster.nodes {
        granted += sum(node, "quorate_raft_votes_total", "answer=\"granted\"").expect("a page");
        for name in ["quorate_runtime_workers", "quorate_runtime_tasks", "quorate_runtime_busy_seconds_total"] {
            assert!(sum(node, name, "").expect("a page") > 0.0, "{name} of {}", node.name);
        }
        assert!(sum(node, "quorate_rocksdb_block_cache_capacity_bytes", "").expect("a page") > 0.0);
        assert!(sum(node, "quorate_rocksdb_memtable_bytes", "").expect("a page") > 0.0);
    }
    assert!(granted >= 1.0, "somebody voted for the leader");

    // One frame may carry many messages; those delivered alone were each woken for and timed.
    reaches(&cluster.nodes[1], "quorate_delivery_seconds_count", "api=\"grpc\"", 1.0).await;
    reaches(&cluster.nodes[1], "quorate_feed_wakeups_total", "", 1.0).await;
    let late = sum(&cluster.nodes[1], "quorate_delivery_seconds_sum", "api=\"grpc\"").expect("a page");
    let times = sum(&cluster.nodes[1], "quorate_delivery_seconds_count", "api=\"grpc\"").expect("a page");
    assert!(late / times < 5.0, "{late} s over {times}: delivered when it happens, not at the next look");
}

#[tokio::test(flavor = "multi_thread")]
async fn syncs_are_counted_while_they_wait_and_by_why_they_were_answered() {
    let cluster = Cluster::start(QUIET).await;
    let (alice, pod) = (cluster.user(0, "alice").await, &cluster.nodes[1]);
    let room = alice.create_room(0, Preset::Public, "").await;
    let token = alice.session.access_token.clone();
    let first = sync(pod, &token, "").await;
    reaches(pod, "quorate_sync_answers_total", "reason=\"initial\"", 1.0).await;
    let since = next_batch(&first).to_owned();
    let nothing = sync(pod, &token, &format!("?since={since}&timeout=1")).await;
    reaches(pod, "quorate_sync_answers_total", "reason=\"timeout\"", 1.0).await;

    let query = format!("?since={}&timeout=25000", next_batch(&nothing));
    let (waiting, asked) = (pod.clone(), token.clone());
    let parked = tokio::spawn(async move { sync(&waiting, &asked, &query).await });
    reaches(pod, "quorate_sync_parked", "", 1.0).await;
    alice.say(0, &room, "wake up", "1").await.expect("sent");
    assert!(parked.await.expect("no panic").contains("wake up"));
    reaches(pod, "quorate_sync_answers_total", "reason=\"event\"", 1.0).await;
    reaches(pod, "quorate_delivery_seconds_count", "api=\"matrix\"", 1.0).await;
    reaches(pod, "quorate_sync_response_bytes_count", "", 3.0).await;
    assert!(sum(pod, "quorate_sync_response_bytes_sum", "").expect("a page") >= first.len() as f64);
    assert_eq!(sum(pod, "quorate_sync_parked", ""), Some(0.0));
}

/// Measures anonymous memory, without pages of files: the size of the program depends on how it was compiled.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_pod_takes_little_memory_of_its_own() {
    const MOST_KIB: u64 = 24 << 10;
    let cluster = Cluster::start(QUIET).await;
    for process in cluster.processes.iter().flatten() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("it runs");
        let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
        println!("{}: {own}", process.node.name);
        let kib: u64 = own.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("kilobytes");
        assert!(kib <= MOST_KIB, "{kib} KiB: openraft's histogram tables alone were 26 MiB once");
    }
}
