//! Traces across pods, as an OTLP receiver gets them.

use crate::stream::Follower;
use crate::support::client::{User, message};
use crate::support::cluster::Cluster;
use crate::support::ports::free_address;
use crate::support::receiver::{Receiver, Span};
use crate::support::{PATIENCE, eventually};
use quorate_wire::chat::v1::PostRequest;
use quorate_wire::chat::v1::create_room_request::Preset;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tokio::time::timeout;
use tonic::Request;

const CALLER: &str = "00f067aa0ba902b7";

/// Returns a trace id for a caller in a test.
fn trace_id(number: u32) -> String {
    format!("4bf92f3577b34da6a3ce929d{number:08x}")
}

fn within<T>(mut request: Request<T>, trace: &str, flags: &str) -> Request<T> {
    let parent = format!("00-{trace}-{CALLER}-{flags}");
    request.metadata_mut().insert("traceparent", parent.parse().expect("a header"));
    request.metadata_mut().insert("tracestate", "vendor=1".parse().expect("a header"));
    request
}

/// Formats a trace as an indented list: siblings by name and pod, pods by their roles in the test.
fn tree(spans: &[Span], parts: &BTreeMap<String, &str>) -> String {
    fn below(spans: &[Span], parts: &BTreeMap<String, &str>, parent: &str, depth: usize, out: &mut String) {
        let mut children: Vec<_> = spans.iter().filter(|span| span.parent == parent).collect();
        let key = |span: &Span| {
            let peer = span.attributes.get("quorate.peer");
            let to = peer.and_then(|peer| parts.get(peer).copied()).unwrap_or_default();
            (span.name.clone(), parts.get(&span.node).copied().unwrap_or("?"), to)
        };
        children.sort_by_key(|span| key(span));
        for span in children {
            let (name, part, to) = key(span);
            let to = if to.is_empty() { String::new() } else { format!(" to {to}") };
            out.push_str(&format!("{:depth$}{name}, {part}{to}\n", ""));
            below(spans, parts, &span.id, depth + 2, out);
        }
    }
    let mut out = String::new();
    below(spans, parts, CALLER, 0, &mut out);
    out
}

/// Returns the role of each pod in the test, by its name and by its node id.
async fn parts(cluster: &Cluster, leader: usize) -> BTreeMap<String, &'static str> {
    let mut parts = BTreeMap::new();
    for (n, part) in [(leader, "leader"), ((leader + 1) % 3, "follower"), ((leader + 2) % 3, "reader")] {
        let id = cluster.identity(n).await.node.expect("a node").node_id;
        parts.extend([(cluster.nodes[n].name.clone(), part), (id.to_string(), part)]);
    }
    parts
}

const THROUGH_A_FOLLOWER: &str = "\
quorate.chat.v1.Chat/Send, follower
  propose, follower
    forward, follower to leader
      command, leader
        entry, leader
          append, leader
            fsync, leader
            write, leader
          apply, leader
          replicate, leader to follower
            append, follower
              fsync, follower
              write, follower
            apply, follower
          replicate, leader to reader
            append, reader
              fsync, reader
              write, reader
            apply, reader
              deliver, reader
        reply, leader
";

struct Room {
    cluster: Cluster,
    leader: usize,
    alice: User,
    bob: User,
    id: String,
}

async fn room(settings: &str) -> Room {
    let cluster = Cluster::start(settings).await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let id = alice.create_room(0, Preset::Public, "").await;
    bob.join(1, &id).await.expect("joined");
    let (leader, _) = cluster.leader(0).await;
    Room { cluster, leader, alice, bob, id }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_through_a_follower_is_one_trace_over_all_pods() {
    let receiver = Receiver::start().await;
    let Room { cluster, leader, alice, bob, id } = room(&receiver.settings("0")).await;
    let (called, reader) = ((leader + 1) % 3, (leader + 2) % 3);
    let parts = parts(&cluster, leader).await;
    let mut follower = Follower::new(&bob, reader, &id, "").await;
    let (asked, refused) = (trace_id(1), trace_id(2));
    for (trace, flags) in [(&refused, "00"), (&asked, "01")] {
        let request = within(alice.asks(message(&id, "a secret", trace)), trace, flags);
        alice.client(called).send(request).await.expect("sent");
    }
    alice.say(called, &id, "nobody asked", "3").await.expect("sent");
    assert_eq!(follower.bodies(3).await.len(), 3);
    eventually("the trace is whole", || async {
        let found = tree(&receiver.trace(&asked), &parts);
        (found.lines().count() >= THROUGH_A_FOLLOWER.lines().count()).then_some(found)
    })
    .await;
    let spans = receiver.trace(&asked);
    assert_eq!(tree(&spans, &parts), THROUGH_A_FOLLOWER);
    check(&spans);
    // Everything before it has been exported, too, and consists of this trace only.
    assert_eq!(receiver.spans().len(), spans.len());
    let text = format!("{spans:?}");
    assert!(!text.contains("secret") && !text.contains("alice") && !text.contains(&id), "{text}");
}

/// Checks times, links and results of a successful trace.
fn check(spans: &[Span]) {
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    for span in spans {
        assert!(span.begin <= span.end && !span.failed && span.state == "vendor=1", "{span:?}");
        if let Some(parent) = by_id.get(span.parent.as_str()) {
            // All pods share one clock; times from different sources may differ by their precision.
            assert!(span.begin + 100_000 >= parent.begin, "{} began before {}", span.name, parent.name);
        }
        let linked = |to: &str| span.links.iter().all(|id| by_id.get(id.as_str()).is_some_and(|s| s.name == to));
        match span.name.as_str() {
            "command" => assert!(linked("entry") && span.links.len() == 1, "{span:?}"),
            "entry" => assert!(linked("command") && !span.links.is_empty(), "{span:?}"),
            "propose" | "forward" => assert_eq!(span.attributes["quorate.result"], "applied"),
            "quorate.chat.v1.Chat/Send" => assert_eq!(span.attributes["quorate.code"], "ok"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_posts_has_one_entry_for_many_commands() {
    let receiver = Receiver::start().await;
    let Room { cluster: _cluster, leader, alice, id, .. } = room(&receiver.settings("0")).await;
    let asked = trace_id(3);
    let event = |n: usize| message(&id, "again", &n.to_string());
    let frames: Vec<_> =
        (0..20).map(|frame| PostRequest { events: (0..100).map(|n| event(frame * 100 + n)).collect() }).collect();
    let request = within(alice.asks(tokio_stream::iter(frames)), &asked, "01");
    let mut answers = alice.client(leader).post(request).await.expect("open").into_inner();
    let mut acknowledged = 0;
    while let Some(frame) = timeout(PATIENCE, answers.message()).await.expect("in time").expect("no error") {
        acknowledged += frame.results.len();
    }
    assert_eq!(acknowledged, 2000);
    // One caller may request a hundred traces in a second; more are sampled if this took longer.
    let named =
        |spans: &[Span], name: &str| -> Vec<Span> { spans.iter().filter(|s| s.name == name).cloned().collect() };
    let spans = eventually("most of them", || async {
        let spans = receiver.trace(&asked);
        (named(&spans, "reply").len() >= 90).then_some(spans)
    })
    .await;
    let (commands, entries) = (named(&spans, "command"), named(&spans, "entry"));
    assert!(commands.len() < 2000 && entries.len() < commands.len(), "{} in {}", commands.len(), entries.len());
    let of_entries: BTreeSet<_> = entries.iter().flat_map(|entry| entry.links.clone()).collect();
    let ids: BTreeSet<_> = entries.iter().map(|entry| entry.id.clone()).collect();
    let linked = commands.iter().filter(|c| of_entries.contains(&c.id) && c.links.iter().all(|id| ids.contains(id)));
    assert!(linked.count() >= 90, "each sampled command and its entry name each other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matrix_client_is_traced_from_its_request_to_anothers_sync() {
    let receiver = Receiver::start().await;
    let Room { cluster, leader, alice, bob, id } = room(&receiver.settings("0")).await;
    let node = &cluster.nodes[leader];
    let sync = |since: &str| format!("/_matrix/client/v3/sync?timeout=20000{since}");
    let first = node.ask("GET", &sync(""), &bob.session.access_token, "", "");
    let since = first["next_batch"].as_str().expect("a token").to_owned();
    let asked = trace_id(4);
    let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/1", id.replace('!', "%21").replace(':', "%3A"));
    let parent = format!("traceparent: 00-{asked}-{CALLER}-01\r\n");
    let body = r#"{"msgtype":"m.text","body":"hello"}"#;
    let sent = node.ask("PUT", &path, &alice.session.access_token, &parent, body);
    assert!(sent["event_id"].is_string(), "{sent}");
    let next = node.ask("GET", &sync(&format!("&since={since}")), &bob.session.access_token, "", "");
    assert!(next["rooms"]["join"].is_object(), "{next}");
    let spans = eventually("it is delivered", || async {
        let spans = receiver.trace(&asked);
        spans.iter().any(|span| span.name == "deliver").then_some(spans)
    })
    .await;
    let one = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:?}"));
    assert_eq!(one("deliver").attributes["quorate.api"], "matrix");
    let call = one("PUT send");
    assert_eq!((call.parent.as_str(), &call.attributes["http.request.method"]), (CALLER, &"PUT".to_owned()));
    assert_eq!((&one("propose").parent, &one("command").parent), (&call.id, &one("propose").id));
    assert!(!spans.iter().any(|span| span.name == "forward"), "the leader's own API");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_last_is_sent_before_the_process_ends() {
    let receiver = Receiver::start().await;
    let Room { mut cluster, leader, alice, id, .. } = room(&receiver.settings("0")).await;
    let asked = trace_id(5);
    let request = within(alice.asks(message(&id, "last", "1")), &asked, "01");
    alice.client(leader).send(request).await.expect("sent");
    let stopping = cluster.processes[leader].take().expect("it runs");
    stopping.terminate();
    assert_eq!(stopping.ended().await, Some(0));
    let name = &cluster.nodes[leader].name;
    eventually("its spans are there", || async {
        let spans = receiver.trace(&asked);
        ["quorate.chat.v1.Chat/Send", "reply", "apply"]
            .iter()
            .all(|wanted| spans.iter().any(|span| span.name == *wanted && span.node == *name))
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_hurts_nobody() {
    let nobody = free_address();
    let settings = format!("rateLimit: {{enabled: false}}\ntraces: {{endpoint: 'http://{nobody}', sampleRatio: 1}}");
    let started = Instant::now();
    let Room { mut cluster, leader, alice, bob, id } = room(&settings).await;
    let mut follower = Follower::new(&bob, (leader + 1) % 3, &id, "").await;
    for n in 0..300 {
        alice.say(n % 3, &id, &n.to_string(), &n.to_string()).await.expect("sent");
    }
    let bodies = follower.bodies(300).await;
    assert_eq!(bodies, (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
    drop(follower);
    let node = cluster.nodes[leader].clone();
    eventually("it is said", || async { node.log().contains("traces cannot be sent").then_some(()) }).await;
    let said = node.log().matches("traces cannot be sent").count();
    assert!(said as u64 <= 1 + started.elapsed().as_secs() / 60, "{said} times: once a minute");
    let stopping = cluster.processes[leader].take().expect("it runs");
    let begun = Instant::now();
    stopping.terminate();
    assert_eq!(stopping.ended().await, Some(0));
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
}
