//! Tests of the catalogue against the conventions, and against what a scrape gets.

use super::delivery::{SyncAnswer, SyncSource};
use super::*;
use crate::raft::observe::{MachineObserver as _, RaftObserver as _, VoteKind};
use crate::raft::propose::{LimitClass, ProposeObserver as _, ProposeResult};
use crate::service::RequestRefusal;
use crate::tls::{HandshakeEnd, HandshakeObserver as _};
use std::time::{Duration, Instant};

/// All labels: names from the code, members of the cluster, and nothing of users.
const LABELS: [&str; 12] =
    ["action", "answer", "api", "class", "code", "endpoint", "kind", "outcome", "peer", "reason", "source", "version"];

#[test]
fn names_labels_and_units_follow_the_conventions() {
    let broken = quorate_meter::convention_violations(SECTIONS, "quorate_", &LABELS);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Uses every metric with labels, as the code does.
async fn used() -> ChatMetrics {
    let metrics = ChatMetrics::new().unwrap();
    metrics.call(ClientApi::Grpc, "Send").run::<(), RequestRefusal>(async { Ok(()) }).await.unwrap();
    metrics.stream(ClientApi::Grpc, "Subscribe").events(1);
    drop(metrics.connection(ClientApi::Matrix));
    metrics.login_refused("queue");
    metrics.read_refused("overloaded");
    metrics.sync_looked(SyncSource::Memory);
    metrics.connections_without_session(ClientApi::Matrix, 1);
    metrics.handshake_ended(HandshakeEnd::Silent);
    metrics.connection_closed(ClientApi::Matrix, "idle");
    metrics.client_refused(ClientApi::Matrix, "request_bytes");
    metrics.settled(ProposeResult::Applied, Duration::from_millis(1));
    metrics.limited(LimitClass::Messages);
    metrics.snapshot_built(Duration::from_millis(1), 1);
    metrics.voted(VoteKind::PreVote, false);
    let peer = metrics.peer("team-1");
    peer.appended(Duration::from_millis(1));
    peer.snapshot_sending(1, 1, 2);
    metrics.all.raft.peer_lag.with_label_values(&["team-1"]).set(1);
    metrics.all.raft.peer_age.with_label_values(&["team-1"]).set(1.0);
    metrics.delivery(ClientApi::Grpc).handed(Some(Instant::now()));
    metrics.ephemeral_kept(1, 1, 1);
    metrics.ephemeral_refused(1, 1);
    metrics.push_ended("sent", 1);
    SyncAnswer::ALL.into_iter().for_each(|answer| metrics.synced(answer));
    metrics
}

#[tokio::test]
async fn all_that_is_declared_is_rendered_once_it_was_used() {
    let text = used().await.render().unwrap();
    for spec in SECTIONS.iter().flat_map(|section| section.specs) {
        let head = format!("# TYPE {} {}\n", spec.name, spec.kind.label());
        assert!(text.contains(&head), "{head} is not in\n{text}");
    }
}

#[tokio::test]
async fn only_what_is_declared_is_rendered_and_only_with_declared_labels() {
    let text = used().await.render().unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_once(['{', ' ']).unwrap();
        let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let specs = || SECTIONS.iter().flat_map(|section| section.specs);
        let spec = specs().find(|spec| spec.name == name || spec.name == bare).expect(name);
        let given = labels.matches("=\"").count();
        let le = usize::from(name.ends_with("_bucket"));
        assert_eq!(given, spec.labels.len() + le, "{line}");
    }
}

#[test]
fn the_page_lists_all_of_them() {
    let page = metrics_reference();
    let all = SECTIONS.iter().flat_map(|section| section.specs);
    assert!(all.clone().count() > 80 && all.clone().all(|spec| page.contains(&format!("| `{}` |", spec.name))));
}

#[test]
fn two_scrapes_at_a_time_add_nothing_twice() {
    let metrics = ChatMetrics::new().unwrap();
    let scrape = || {
        metrics.scrape(|| {
            use quorate_meter::CatchUp as _;
            metrics.all.delivery.wakeups.catch_up(1000);
        })
    };
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(scrape);
        }
    });
    assert_eq!(metrics.all.delivery.wakeups.get(), 1000);
}
