//! Removal of history on all nodes: on an administrator's request, through any node, and by the room's own rule.

use super::{
    chat::{accepted, message, messages, register, register_for, retention, room},
    harness::{Cluster, Setup, until},
};
use crate::raft::membership::{AdminError, PurgeResult};
use crate::store::StateStore as _;
use quorate_core::invariant::{check_all, state_digest};
use quorate_core::query::StateView;
use std::time::Duration;

#[test]
fn history_is_removed_on_all_nodes_and_they_stay_equal() {
    let cluster = Cluster::started(3, Setup::default());
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let room_id = room(&cluster.nodes[leader], "alice");
    for n in 0..30 {
        accepted(&cluster.nodes[leader].propose(message("alice", &room_id, &format!("m{n:02}"))).expect("applied"));
    }
    let purge = |room_id: String, before_ms| {
        cluster.nodes[follower]
            .run(move |node| async move { node.administration.purge_history(&room_id, before_ms).await })
    };
    assert!(matches!(purge(room_id.clone(), 0), Err(AdminError::Invalid(_))));
    assert!(matches!(purge("!nowhere:a".into(), 1), Err(AdminError::Refused(_))));
    assert_eq!(purge(room_id.clone(), u64::MAX).expect("removes"), PurgeResult { events: 30, more: false });
    let last = cluster.nodes[leader].propose(message("alice", &room_id, "after")).expect("applied");
    accepted(&last);
    // The index of the answer, not of the status, which is updated a moment later.
    let applied = last.position.expect("a position").index;
    for node in 0..3 {
        cluster.wait(node, "as far", |status| status.applied_index >= applied);
        assert_eq!(messages(&cluster.nodes[node], "alice", &room_id), ["after"]);
        check_all(&cluster.nodes[node].store().view()).expect("the invariants hold");
    }
    let digests = [0, 1, 2].map(|node| state_digest(&cluster.nodes[node].store().view()).expect("reads"));
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn a_room_with_a_rule_forgets_by_itself() {
    let setup = Setup { history_every: Some(Duration::from_millis(20)), ..Setup::default() };
    let cluster = Cluster::started(1, setup);
    let (ruled, free) = (room(&cluster.nodes[0], "alice"), room(&cluster.nodes[0], "bob"));
    for (user, room_id) in [("alice", &ruled), ("bob", &free)] {
        accepted(&cluster.nodes[0].propose(message(user, room_id, "m")).expect("applied"));
    }
    accepted(&cluster.nodes[0].propose(retention("alice", &ruled, 100)).expect("applied"));
    until("what is too old is gone", || messages(&cluster.nodes[0], "alice", &ruled).is_empty());
    assert_eq!(messages(&cluster.nodes[0], "bob", &free), ["m"]);
}

#[test]
fn devices_whose_sessions_expired_are_removed_by_themselves() {
    let setup = Setup { devices_every: Some(Duration::from_millis(20)), ..Setup::default() };
    let cluster = Cluster::started(1, setup);
    accepted(&cluster.nodes[0].propose(register_for("alice", 1)).expect("applied"));
    accepted(&cluster.nodes[0].propose(register("bob")).expect("applied"));
    let devices = |user: &str| {
        let rows = cluster.nodes[0].store().view();
        StateView::open(&rows).expect("bootstrapped").devices(user).expect("reads").len()
    };
    until("the expired device is gone", || devices("alice") == 0);
    assert_eq!(devices("bob"), 1);
}
