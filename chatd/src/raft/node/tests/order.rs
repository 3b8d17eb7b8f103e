//! The order of a stream's proposals, whatever happens to the leader.

use super::{
    chat::{accepted, message, messages, room},
    harness::{Cluster, Setup},
};
use crate::raft::{node::NodeHandle, propose::ProposeError, propose::RateLimit, read_index::ReadFreshness};
use futures::{StreamExt as _, stream};
use quorate_core::proto::log::Outcome;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Number of proposals that a client keeps in flight.
const IN_FLIGHT: usize = 256;

/// Results of a stream's proposals.
type Sent = Vec<Result<Outcome, ProposeError>>;

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number:05}")).collect()
}

async fn send(node: NodeHandle, room_id: String, ids: Vec<String>) -> Sent {
    let ordered = node.proposer.ordered(IN_FLIGHT);
    let sent = stream::iter(ids).map(|id| ordered.propose(message("alice", &room_id, &id)));
    sent.buffered(IN_FLIGHT).collect().await
}

fn start(cluster: &Cluster, place: usize, room_id: &str, ids: &[String]) -> JoinHandle<Sent> {
    let (room_id, ids) = (room_id.to_owned(), ids.to_vec());
    cluster.nodes[place].spawn(|node| send(node, room_id, ids))
}

/// Checks that all proposals were applied, and are in the room in the order in which they were given.
fn check(cluster: &Cluster, place: usize, room_id: &str, streams: Vec<(Vec<String>, Sent)>) {
    assert_eq!(cluster.nodes[place].read(), ReadFreshness::Linearizable);
    let found = messages(&cluster.nodes[place], "alice", room_id);
    for (ids, outcomes) in streams {
        outcomes.iter().for_each(|outcome| accepted(outcome.as_ref().expect("applied")));
        let prefix = &ids[0][..1];
        let of_stream: Vec<_> = found.iter().filter(|id| id.starts_with(prefix)).cloned().collect();
        assert_eq!(of_stream, ids);
    }
}

#[test]
fn a_streams_order_survives_the_leaders_death() {
    let mut cluster = Cluster::started(3, Setup::default());
    let (leader, other) = (cluster.leader(), cluster.follower());
    let room_id = room(&cluster.nodes[other], "alice");
    let ids = ids("a", 3000);
    let sending = start(&cluster, other, &room_id, &ids);
    let before = cluster.nodes[leader].status().last_log_index;
    cluster.wait(leader, "busy", |status| status.last_log_index > before + 10);
    cluster.kill(leader);
    let outcomes = cluster.join(sending);
    check(&cluster, other, &room_id, vec![(ids, outcomes)]);
}

#[test]
fn streams_through_all_nodes_keep_their_order_while_leadership_moves() {
    let cluster = Cluster::started(3, Setup::default());
    let room_id = room(&cluster.nodes[cluster.follower()], "alice");
    let streams: Vec<_> = ["a", "b", "c"].iter().map(|prefix| ids(prefix, 3000)).collect();
    let sending: Vec<_> =
        streams.iter().enumerate().map(|(place, ids)| start(&cluster, place, &room_id, ids)).collect();
    for _ in 0..3 {
        let leader = cluster.leader();
        let before = cluster.nodes[leader].status().last_log_index;
        cluster.wait(leader, "busy or done", |status| {
            status.last_log_index > before + 5 || sending.iter().all(JoinHandle::is_finished)
        });
        let limit = Duration::from_secs(5);
        // The transfer may come too late, to a node that leads no longer: then the next round moves leadership.
        let _ = cluster.nodes[leader]
            .run(move |node| async move { node.administration.transfer_leader(None, limit).await });
    }
    let outcomes: Vec<_> = sending.into_iter().map(|sending| cluster.join(sending)).collect();
    check(&cluster, 0, &room_id, streams.into_iter().zip(outcomes).collect());
}

#[test]
fn a_streams_order_survives_a_lease_that_runs_out_under_load() {
    let cluster = Cluster::started(3, Setup::default());
    let leader = cluster.leader();
    let room_id = room(&cluster.nodes[leader], "alice");
    let streams = [ids("a", 3000), ids("b", 3000)];
    let sending =
        [start(&cluster, leader, &room_id, &streams[0]), start(&cluster, cluster.follower(), &room_id, &streams[1])];
    let followers: Vec<_> = (0..3).filter(|place| *place != leader).collect();
    for _ in 0..3 {
        followers.iter().for_each(|place| cluster.nodes[*place].proxy.cut());
        cluster.wait(leader, "without a quorum", |status| !status.leads());
        followers.iter().for_each(|place| cluster.nodes[*place].proxy.heal());
        cluster.leader();
    }
    let outcomes: Vec<_> = sending.into_iter().map(|sending| cluster.join(sending)).collect();
    check(&cluster, leader, &room_id, streams.into_iter().zip(outcomes).collect());
}

#[test]
fn what_is_refused_on_the_way_holds_nothing_up_and_the_rest_keeps_its_order() {
    let limit = RateLimit { burst: 5, per: Duration::from_millis(500) };
    let cluster = Cluster::started(3, Setup { rate_limit: Some(limit), ..Setup::default() });
    let other = cluster.follower();
    let room_id = room(&cluster.nodes[other], "alice");
    let ids = ids("a", 200);
    let outcomes = cluster.join(start(&cluster, other, &room_id, &ids));
    assert_eq!(cluster.nodes[other].read(), ReadFreshness::Linearizable);
    let applied: Vec<_> =
        ids.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(id, _)| id.clone()).collect();
    let limited = outcomes.iter().filter(|outcome| matches!(outcome, Err(ProposeError::RateLimited { .. }))).count();
    assert!(
        !applied.is_empty() && applied.len() + limited == ids.len(),
        "{} applied, {limited} limited",
        applied.len()
    );
    assert_eq!(messages(&cluster.nodes[other], "alice", &room_id), applied);
}
