//! Log lines about leadership and membership: one for each change that somebody who investigates later wants to know.

use crate::raft::cluster::{ClusterMonitor, MembershipView, NodeReadiness, NodeRole, NodeStatus};
use quorate_wire::whole_millis;
use std::time::{Duration, Instant};

/// Status of the node at one observation, to compare with the next one.
#[derive(Clone, Debug)]
struct ObservedStatus {
    role: Option<NodeRole>,
    term: u64,
    leader: Option<u64>,
    membership: MembershipView,
    ready: NodeReadiness,
    own: u64,
}

/// Change that is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
enum StatusChange {
    /// The pod started an election.
    Stands { term: u64 },
    /// The pod won the election.
    Won { term: u64 },
    /// Another pod won the election that the pod had started.
    Lost { term: u64 },
    /// The pod was the leader and no longer is.
    SteppedDown { term: u64 },
    /// There is a new leader or a new term; the leader may be this pod.
    Leader { id: u64, name: String, term: u64 },
    /// The pod no longer knows a leader; `former` was the last one.
    NoLeader { former: u64, name: String },
    /// The membership changed: other nodes, or other voters.
    Members { voters: Vec<String>, joint: bool, learners: Vec<String>, log_index: u64 },
    /// The pod became ready for clients.
    Ready,
    /// The pod is no longer ready for clients.
    NotReady { reason: String },
}

/// Logs the changes until Raft stops.
pub(super) async fn log_changes(cluster: ClusterMonitor) {
    let mut headlines = cluster.watch();
    let mut before = ObservedStatus::nothing();
    let mut led = None;
    loop {
        headlines.mark_unchanged();
        let now = ObservedStatus::of(&cluster.status());
        for turn in changes_between(&before, &now) {
            if let StatusChange::Won { .. } = turn {
                led = Some(Instant::now());
            }
            turn.log(led.map(|since: Instant| since.elapsed()));
        }
        before = now;
        if headlines.changed().await.is_err() {
            return;
        }
    }
}

impl ObservedStatus {
    fn nothing() -> Self {
        let role = None;
        let term = 0;
        let leader = None;
        let ready = NodeReadiness::NotJoined;
        let own = 0;
        Self { role, term, leader, membership: MembershipView::default(), ready, own }
    }

    fn of(status: &NodeStatus) -> Self {
        Self {
            role: Some(status.role),
            term: status.term,
            leader: status.leader,
            membership: status.membership.clone(),
            ready: status.readiness,
            own: status.node_id,
        }
    }
}

/// Returns the changes between two observations. A candidacy that began and ended between them is not seen; the metrics
/// count it.
fn changes_between(before: &ObservedStatus, now: &ObservedStatus) -> Vec<StatusChange> {
    let mut turns = Vec::new();
    // Not compared by log index, because the first membership is at index 0.
    if now.membership != before.membership && !now.membership.members.is_empty() {
        turns.push(members_change(&now.membership));
    }
    turns.extend(candidacy_change(before, now));
    let named = |id: u64| now.membership.member(id).map(|member| member.name.clone()).unwrap_or_default();
    match (before.leader, now.leader) {
        (Some(former), None) => turns.push(StatusChange::NoLeader { former, name: named(former) }),
        (was, Some(id)) if was != Some(id) || before.term != now.term => {
            turns.push(StatusChange::Leader { id, name: named(id), term: now.term });
        }
        _ => {}
    }
    match (before.ready, now.ready) {
        (NodeReadiness::Ready, NodeReadiness::Ready) => {}
        (_, NodeReadiness::Ready) => turns.push(StatusChange::Ready),
        (NodeReadiness::Ready, other) => turns.push(StatusChange::NotReady { reason: other.reason() }),
        _ => {}
    }
    turns
}

fn candidacy_change(before: &ObservedStatus, now: &ObservedStatus) -> Option<StatusChange> {
    let leads = |seen: &ObservedStatus| seen.role == Some(NodeRole::Leader);
    let stands = |seen: &ObservedStatus| seen.role == Some(NodeRole::Candidate);
    if leads(now) && (!leads(before) || before.term != now.term) {
        return Some(StatusChange::Won { term: now.term });
    }
    if leads(before) && !leads(now) {
        return Some(StatusChange::SteppedDown { term: before.term });
    }
    if stands(now) && (!stands(before) || before.term != now.term) {
        return Some(StatusChange::Stands { term: now.term });
    }
    // Only the leadership of another pod is a defeat: a pod that merely waits for the next round has not lost yet.
    (stands(before) && !stands(now) && now.leader.is_some_and(|id| id != now.own))
        .then_some(StatusChange::Lost { term: before.term })
}

fn members_change(membership: &MembershipView) -> StatusChange {
    let names = |ids: &mut dyn Iterator<Item = u64>| {
        let named = ids.map(|id| membership.member(id).map_or_else(|| id.to_string(), |member| member.name.clone()));
        let mut names: Vec<String> = named.collect();
        // Node ids are random, so the list is sorted by name.
        names.sort();
        names
    };
    StatusChange::Members {
        voters: names(&mut membership.voters().into_iter()),
        joint: membership.voter_sets.len() > 1,
        learners: names(&mut membership.learners.iter().copied()),
        log_index: membership.log_index,
    }
}

impl StatusChange {
    /// Writes the log line. `led` is the time since this pod last won an election.
    fn log(self, led: Option<Duration>) {
        match self {
            Self::Stands { term } => tracing::info!(term, "started an election"),
            Self::Won { term } => tracing::info!(term, "won the election; this pod is the leader"),
            Self::Lost { term } => tracing::info!(term, "lost the election"),
            Self::SteppedDown { term } => {
                let led_ms = led.map(whole_millis);
                tracing::info!(term, led_ms, "stepped down; this pod is no longer the leader");
            }
            Self::Leader { id, name, term } => tracing::info!(leader = name, node_id = id, term, "leader elected"),
            Self::NoLeader { former, name } => {
                // Not a warning, because every orderly handover begins this way, too.
                tracing::info!(
                    former = name,
                    node_id = former,
                    "lost contact with the leader; writes wait for an election"
                );
            }
            Self::Members { voters, joint, learners, log_index } => {
                let voters = voters.join(",");
                let learners = learners.join(",");
                tracing::info!(voters, joint, learners, log_index, "membership changed");
            }
            Self::Ready => tracing::info!("caught up; ready for clients"),
            Self::NotReady { reason } => tracing::warn!(reason, "no longer ready for clients"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::cluster::ClusterMember;

    fn seen(role: NodeRole, term: u64, leader: Option<u64>) -> ObservedStatus {
        let member = |node_id: u64| ClusterMember {
            node_id,
            peer_address: String::new(),
            client_address: String::new(),
            name: format!("node-{node_id}"),
        };
        let membership = MembershipView {
            voter_sets: vec![[1, 2, 3].into()],
            members: vec![member(1), member(2), member(3)],
            log_index: 1,
            ..MembershipView::default()
        };
        ObservedStatus { role: Some(role), term, leader, membership, ready: NodeReadiness::Ready, own: 1 }
    }

    #[test]
    fn an_election_that_this_pod_wins_is_told_with_its_candidacy() {
        let follows = seen(NodeRole::Follower, 1, Some(2));
        let stands = seen(NodeRole::Candidate, 2, None);
        let leads = seen(NodeRole::Leader, 2, Some(1));
        let gone = StatusChange::NoLeader { former: 2, name: "node-2".into() };
        assert_eq!(changes_between(&follows, &stands), [StatusChange::Stands { term: 2 }, gone]);
        let leader = StatusChange::Leader { id: 1, name: "node-1".into(), term: 2 };
        assert_eq!(changes_between(&stands, &leads), [StatusChange::Won { term: 2 }, leader]);
        assert_eq!(changes_between(&leads, &leads), []);
        assert_eq!(
            changes_between(&leads, &seen(NodeRole::Follower, 3, None))[0],
            StatusChange::SteppedDown { term: 2 }
        );
    }

    #[test]
    fn an_election_is_lost_to_somebody_and_not_to_nobody() {
        let stands = seen(NodeRole::Candidate, 2, None);
        assert_eq!(changes_between(&stands, &seen(NodeRole::Follower, 2, None)), []);
        assert_eq!(changes_between(&stands, &seen(NodeRole::Follower, 3, Some(3)))[0], StatusChange::Lost { term: 2 });
    }

    #[test]
    fn the_same_leader_of_a_new_term_is_told_again() {
        let again = changes_between(&seen(NodeRole::Follower, 2, Some(3)), &seen(NodeRole::Follower, 4, Some(3)));
        assert_eq!(again, [StatusChange::Leader { id: 3, name: "node-3".into(), term: 4 }]);
    }

    #[test]
    fn a_change_of_the_membership_is_told_by_names() {
        let (before, mut now) = (seen(NodeRole::Follower, 1, Some(2)), seen(NodeRole::Follower, 1, Some(2)));
        now.membership.voter_sets = vec![[1, 2, 3].into(), [1, 2].into()];
        now.membership.learners = [3].into();
        now.membership.log_index = 9;
        let (voters, learners) = (vec!["node-1".into(), "node-2".into()], vec!["node-3".into()]);
        assert_eq!(
            changes_between(&before, &now),
            [StatusChange::Members { voters, joint: true, learners, log_index: 9 }]
        );
    }
}
