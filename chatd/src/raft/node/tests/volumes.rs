//! Volumes that fill up: users' writes are refused on all pods, everything else goes on, and writes are accepted again
//! once there is space.

use super::{
    chat::{accepted, by, message, register, retention, room},
    harness::{Cluster, RESERVE, Setup, TestNode, until},
};
use crate::raft::{propose::ProposeError, read_index::ReadFreshness};
use quorate_core::proto::log::{CloseSession, Redact, SetMembership, command::Kind, outcome, set_membership::Change};

const PLENTY: u64 = 5 * RESERVE;

fn is_full<T>(result: &Result<T, ProposeError>) -> bool {
    matches!(result, Err(ProposeError::StorageFull { .. }))
}

/// Waits until the leader accepts users' writes, or refuses them.
fn until_admits(cluster: &Cluster, wanted: bool) {
    let leader = cluster.leader();
    until("the leader has looked", || {
        let refused = is_full(&cluster.nodes[leader].propose(register("somebody-else")));
        refused != wanted
    });
}

fn event_id(node: &TestNode, room_id: &str, transaction_id: &str) -> String {
    match node.propose(message("alice", room_id, transaction_id)).expect("applied").kind {
        Some(outcome::Kind::EventSent(event)) => event.event_id,
        other => panic!("no event: {other:?}"),
    }
}

#[test]
fn people_are_refused_everywhere_while_one_volume_is_short_and_taken_again_by_itself() {
    let cluster = Cluster::started(3, Setup::default());
    let (leader, short) = (cluster.leader(), cluster.follower());
    cluster.nodes.iter().for_each(|node| node.has_free(PLENTY));
    let room_id = room(&cluster.nodes[leader], "alice");
    event_id(&cluster.nodes[short], &room_id, "before");
    cluster.nodes[short].has_free(RESERVE - 1);
    until_admits(&cluster, false);
    for node in &cluster.nodes {
        assert!(is_full(&node.propose(message("alice", &room_id, "during"))), "through {}", node.name);
        // A command that was accepted before is answered, and not written again.
        assert!(node.propose(message("alice", &room_id, "before")).expect("known").duplicate);
        assert_eq!(node.read(), ReadFreshness::Linearizable);
    }
    cluster.nodes[short].has_free(RESERVE + RESERVE / 4 - 1);
    assert!(is_full(&cluster.nodes[leader].propose(message("alice", &room_id, "a little more"))));
    cluster.nodes[short].has_free(RESERVE + RESERVE / 4);
    until_admits(&cluster, true);
    // The same transaction: a client that tried again would have succeeded.
    accepted(&cluster.nodes[short].propose(message("alice", &room_id, "during")).expect("applied"));
}

#[test]
fn deleting_leaving_and_administration_go_on_while_volumes_are_short() {
    let cluster = Cluster::started(3, Setup::default());
    let leader = &cluster.nodes[cluster.leader()];
    cluster.nodes.iter().for_each(|node| node.has_free(PLENTY));
    let room_id = room(leader, "alice");
    let said = event_id(leader, &room_id, "said");
    cluster.nodes.iter().for_each(|node| node.has_free(RESERVE / 2));
    until_admits(&cluster, false);
    let redact = Redact { room_id: room_id.clone(), event_id: said, reason: String::new() };
    accepted(&leader.propose(by("alice", "redact", Kind::Redact(redact))).expect("applied"));
    accepted(&leader.propose(retention("alice", &room_id, 1000)).expect("applied"));
    let room = room_id.clone();
    let purged = leader.run(|node| async move { node.administration.purge_history(&room, u64::MAX).await });
    assert!(purged.expect("purged").events > 0);
    leader.run(|node| async move { node.administration.take_snapshot(true).await }).expect("takes one");
    let leave = SetMembership { change: Change::Leave.into(), room: Some(by_id(&room_id)), ..SetMembership::default() };
    accepted(&leader.propose(by("alice", "leave", Kind::SetMembership(leave))).expect("applied"));
    accepted(&leader.propose(by("alice", "", Kind::CloseSession(CloseSession::default()))).expect("applied"));
}

#[test]
fn a_volume_that_an_outsider_fills_costs_nobody_their_writes_while_two_have_space() {
    let cluster = Cluster::started(3, Setup::default());
    let (leader, filled) = (cluster.leader(), cluster.follower());
    cluster.nodes.iter().for_each(|node| node.has_free(PLENTY));
    cluster.nodes[filled].has_free(0);
    let room_id = room(&cluster.nodes[leader], "alice");
    cluster.nodes[leader].run(|node| async move {
        let status = node.cluster.status();
        let peers = &node.peer_listener.peers;
        let told = || status.progress.iter().all(|progress| peers.volume(progress.node_id).is_some());
        while !told() {
            tokio::task::yield_now().await;
        }
    });
    for n in 0..20 {
        event_id(&cluster.nodes[leader], &room_id, &format!("m{n}"));
    }
    // A second short volume leaves no majority with space.
    cluster.nodes[leader].has_free(RESERVE / 8);
    until_admits(&cluster, false);
    let room = room_id.clone();
    let purged =
        cluster.nodes[leader].run(|node| async move { node.administration.purge_history(&room, u64::MAX).await });
    purged.expect("administration uses the rest of the reserve");
}

fn by_id(room_id: &str) -> quorate_core::proto::log::RoomRef {
    quorate_core::proto::log::RoomRef { by: Some(quorate_core::proto::log::room_ref::By::RoomId(room_id.to_owned())) }
}
