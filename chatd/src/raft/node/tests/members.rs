//! Learners, voters, snapshots.

use super::{
    chat::{accepted, message, messages, room},
    harness::{CLUSTER, Cluster, Setup},
};
use crate::raft::membership::{AdminError, VoterChange};
use std::{collections::BTreeSet, time::Duration};

fn add_learner(cluster: &Cluster, leader: usize, place: usize) -> Result<(), AdminError> {
    let member = cluster.nodes[place].member();
    cluster.nodes[leader].run(move |node| async move { node.administration.add_learner(CLUSTER, member).await })
}

fn change(cluster: &Cluster, leader: usize, wish: VoterChange) -> Result<BTreeSet<u64>, AdminError> {
    cluster.nodes[leader].run(move |node| async move {
        node.administration.change_voters(&wish).await.map(|membership| membership.voters())
    })
}

#[test]
fn a_lost_voter_is_replaced_by_a_fresh_one_in_one_change() {
    let mut cluster = Cluster::started(3, Setup::default());
    let (leader, lost) = (cluster.leader(), cluster.follower());
    let room_id = room(&cluster.nodes[leader], "alice");
    let ids: BTreeSet<u64> = cluster.nodes.iter().map(|node| node.id()).collect();
    let lost_id = cluster.nodes[lost].id();
    cluster.kill(lost);
    let fresh = cluster.add();
    let fresh_id = cluster.nodes[fresh].id();
    let wanted: BTreeSet<u64> = ids.iter().copied().filter(|id| *id != lost_id).chain([fresh_id]).collect();
    let wish = VoterChange { voters: wanted.clone(), expected: ids.clone(), ..VoterChange::default() };
    assert!(matches!(change(&cluster, leader, wish.clone()), Err(AdminError::Refused(_))), "no learner yet");

    add_learner(&cluster, leader, fresh).expect("adds");
    add_learner(&cluster, leader, fresh).expect("the same again");
    let last = cluster.nodes[leader].status().last_log_index;
    cluster.wait(fresh, "caught up", |status| status.applied_index >= last);
    let stale = VoterChange { expected: wanted.clone(), ..wish.clone() };
    assert!(matches!(change(&cluster, leader, stale), Err(AdminError::Conflict(_))), "compare and swap");
    cluster.wait(leader, "aware of it", |status| {
        status.progress_of(fresh_id).is_some_and(|progress| progress.matched_index.is_some())
    });
    assert_eq!(change(&cluster, leader, wish).expect("changes"), wanted);
    let membership = cluster.nodes[leader].status().membership;
    assert!(!membership.contains(lost_id) && membership.voter_sets.len() == 1, "{membership:?}");

    accepted(&cluster.nodes[fresh].propose(message("alice", &room_id, "hello")).expect("applied"));
    // The fresh node counts, so a node of the old majority may go.
    let other = (0..3).find(|place| *place != leader && *place != lost).expect("the third");
    cluster.kill(other);
    accepted(&cluster.nodes[fresh].propose(message("alice", &room_id, "again")).expect("applied"));
    cluster.wait(fresh, "aware of it", |status| status.leader.is_some());
}

#[test]
fn a_change_that_leaves_no_reachable_majority_is_refused() {
    let mut cluster = Cluster::started(3, Setup::default());
    let (leader, silent) = (cluster.leader(), cluster.follower());
    let [leader_id, silent_id] = [leader, silent].map(|place| cluster.nodes[place].id());
    let ids: BTreeSet<u64> = cluster.nodes.iter().map(|node| node.id()).collect();
    cluster.kill(silent);
    cluster.wait(leader, "without the silent one", |status| {
        status.progress_of(silent_id).and_then(|p| p.contact_age).is_none_or(|age| age > Duration::from_secs(2))
    });
    let voters = BTreeSet::from([leader_id, silent_id]);
    let wish = VoterChange { voters, expected: ids.clone(), ..VoterChange::default() };
    assert!(matches!(change(&cluster, leader, wish), Err(AdminError::Refused(_))));
    assert_eq!(cluster.nodes[leader].status().membership.voters(), ids);
}

#[test]
fn learners_leave_with_the_change_or_without_one() {
    let mut cluster = Cluster::started(1, Setup::default());
    let [one, two] = [cluster.add(), cluster.add()];
    for place in [one, two] {
        add_learner(&cluster, 0, place).expect("adds");
    }
    let voters = BTreeSet::from([cluster.nodes[0].id()]);
    let gone = BTreeSet::from([cluster.nodes[one].id(), 4711]);
    let wish = VoterChange {
        voters: voters.clone(),
        expected: voters.clone(),
        remove_learners: gone,
        ..VoterChange::default()
    };
    assert_eq!(change(&cluster, 0, wish).expect("changes"), voters);
    let membership = cluster.nodes[0].status().membership;
    assert_eq!(membership.learners, BTreeSet::from([cluster.nodes[two].id()]));
}

#[test]
fn a_node_that_joins_after_the_log_was_purged_gets_a_snapshot() {
    let mut cluster = Cluster::started(1, Setup { keep_entries: 2, ..Setup::default() });
    let room_id = room(&cluster.nodes[0], "alice");
    let ids: Vec<String> = (0..50).map(|n| format!("m{n:02}")).collect();
    for id in &ids {
        accepted(&cluster.nodes[0].propose(message("alice", &room_id, id)).expect("applied"));
    }
    let applied = cluster.nodes[0].status().applied_index;
    let summary =
        cluster.nodes[0].run(|node| async move { node.administration.take_snapshot(true).await }).expect("takes one");
    assert!(summary.last_applied.is_some_and(|last| last.index >= applied) && !summary.id.is_empty());
    cluster.wait(0, "purged", |status| status.purged_index >= applied - 2);
    assert!(cluster.nodes[0].status().purged_index < applied, "some entries stay for those who restart");
    let fresh = cluster.add();
    add_learner(&cluster, 0, fresh).expect("adds");
    let took = cluster.wait(fresh, "caught up", |status| status.applied_index >= applied);
    println!("a snapshot was installed after {took:?}");
    assert!(cluster.nodes[fresh].status().snapshot_index >= applied);
    assert_eq!(messages(&cluster.nodes[fresh], "alice", &room_id), ids);
}
