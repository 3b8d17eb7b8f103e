//! Readiness of this pod for client traffic: when it begins, and when it is withdrawn.
//!
//! A pod becomes ready once it has joined, caught up and heard a leader. It withdraws when it cannot serve and others
//! can: a wrong clock, too far behind, or cut off. The lack of a leader alone is no reason: the loss of the quorum must
//! not empty the Service, which would take away the promised stale reads as well. A pod that hears no leader therefore
//! asks the other members whether they hear one. It stays ready as long as a majority of the voters, itself included,
//! answers and none of them knows a leader: then no node leads, as a leader needs a majority, too. A pod that reaches
//! fewer cannot know, and withdraws.
//!
//! Both transitions are delayed: rollouts and disruption budgets count ready pods, and elections are over in a second.

use super::status::{MembershipView, NodeReadiness};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Time for which a pod stays ready although something keeps it from serving: several elections, or a restart of the
/// leader on the same machine.
const GRACE: Duration = Duration::from_secs(5);
/// Time for which everything must have been in order before a withdrawn pod becomes ready again. Longer than [`LAG`],
/// the time that it takes to notice again that a pod is still far behind.
const STEADY: Duration = Duration::from_secs(3);
/// Age of a committed entry, not applied yet, at which a pod counts as too far behind: its fresh reads are served stale
/// by then.
const LAG: Duration = Duration::from_secs(2);
/// Time for which an answer of another member counts: pods without a leader ask at least once a second.
const ANSWER_COUNTS: Duration = Duration::from_secs(3);

/// Answers of the other members to a pod that hears no leader. Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct NeighbourAnswers {
    /// Time of each member's last answer, and `true` if that member knows a leader. Bounded by the membership.
    answers: Arc<Mutex<BTreeMap<u64, (Instant, bool)>>>,
}

impl NeighbourAnswers {
    /// Records the answer of one member.
    pub(crate) fn answered(&self, node_id: u64, knows_leader: bool) {
        self.lock().insert(node_id, (Instant::now(), knows_leader));
    }

    /// Forgets the answers of nodes that are not in `members`.
    pub(crate) fn keep(&self, members: &[u64]) {
        self.lock().retain(|id, _| members.contains(id));
    }

    /// Returns `true` if no node can be leading: a majority of the voters has answered lately (`own` counts, if it
    /// votes), and nobody who answered knows a leader.
    fn rule_out_a_leader(&self, own: u64, membership: &MembershipView) -> bool {
        let answers = self.lock();
        let fresh = |id: &u64| answers.get(id).filter(|(at, _)| at.elapsed() <= ANSWER_COUNTS);
        if answers.keys().filter_map(fresh).any(|(_, knows_leader)| *knows_leader) {
            return false;
        }
        membership.voter_sets.iter().any(|set| {
            let heard = set.iter().filter(|id| **id == own || fresh(id).is_some()).count();
            heard > set.len() / 2
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (Instant, bool)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Facts that one check of the node collects.
pub(super) struct ReadinessFacts<'a> {
    pub(super) own: u64,
    pub(super) joined: bool,
    pub(super) membership: &'a MembershipView,
    /// `true` if a node leads and is heard.
    pub(super) has_leader: bool,
    pub(super) leads: bool,
    pub(super) committed: Option<u64>,
    pub(super) applied: Option<u64>,
    /// Last entry of the log at the start, as far as it is still there.
    pub(super) at_start: Option<u64>,
    pub(super) clock_wrong_by: Option<i64>,
    pub(super) neighbours: &'a NeighbourAnswers,
}

/// State kept between checks.
#[derive(Default)]
pub(super) struct ReadinessGate {
    /// `true` once the pod has been ready.
    opened: bool,
    withdrawn: Option<NodeReadiness>,
    trouble_since: Option<Instant>,
    fine_since: Option<Instant>,
    /// Index of a commit that is yet to be applied, and the time since it is known.
    mark: Option<(u64, Instant)>,
}

impl ReadinessGate {
    /// Updates the gate with new facts and returns the readiness. `is_bootstrapped` reads a row, and is called only
    /// until the pod is ready for the first time.
    pub(super) fn look(&mut self, facts: &ReadinessFacts<'_>, is_bootstrapped: impl Fn() -> bool) -> NodeReadiness {
        if !self.opened {
            let first = initial_readiness(facts, is_bootstrapped);
            self.opened = first == NodeReadiness::Ready;
            return first;
        }
        let now = Instant::now();
        match self.trouble(facts, now) {
            Some(trouble) => {
                self.fine_since = None;
                let since = *self.trouble_since.get_or_insert(now);
                if self.withdrawn.is_some() || now.saturating_duration_since(since) >= GRACE {
                    self.withdrawn = Some(trouble);
                }
            }
            None => {
                self.trouble_since = None;
                let since = *self.fine_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= STEADY {
                    self.withdrawn = None;
                }
            }
        }
        self.withdrawn.unwrap_or(NodeReadiness::Ready)
    }

    fn trouble(&mut self, facts: &ReadinessFacts<'_>, now: Instant) -> Option<NodeReadiness> {
        let behind = self.behind(facts, now);
        if !facts.joined {
            return Some(NodeReadiness::NotJoined);
        }
        if let Some(offset_ms) = facts.clock_wrong_by {
            return Some(NodeReadiness::ClockWrong { offset_ms });
        }
        if !facts.has_leader && !facts.neighbours.rule_out_a_leader(facts.own, facts.membership) {
            return Some(NodeReadiness::CutOff);
        }
        behind
    }

    /// Checks whether this pod lags too far behind. The leader never does: when no node applies as fast as entries are
    /// written, one has to stay.
    fn behind(&mut self, facts: &ReadinessFacts<'_>, now: Instant) -> Option<NodeReadiness> {
        let committed = facts.committed.unwrap_or(0);
        let applied = facts.applied.unwrap_or(0);
        let is_reached = self.mark.is_none_or(|(mark, _)| applied >= mark);
        if is_reached {
            self.mark = Some((committed, now));
        }
        let (mark, since) = self.mark?;
        let is_late = applied < mark && now.saturating_duration_since(since) >= LAG;
        let entries = committed.saturating_sub(applied);
        (is_late && facts.has_leader && !facts.leads).then_some(NodeReadiness::Behind { entries })
    }
}

fn initial_readiness(facts: &ReadinessFacts<'_>, is_bootstrapped: impl Fn() -> bool) -> NodeReadiness {
    let ReadinessFacts { committed, applied, at_start, .. } = *facts;
    if !facts.joined {
        return NodeReadiness::NotJoined;
    }
    if let Some(offset_ms) = facts.clock_wrong_by {
        return NodeReadiness::ClockWrong { offset_ms };
    }
    // A leader must be heard once; before that, nothing says how far the cluster is.
    if !facts.has_leader || committed.is_none() || committed < at_start || applied < committed {
        return NodeReadiness::CatchingUp;
    }
    if !is_bootstrapped() {
        return NodeReadiness::NotBootstrapped;
    }
    NodeReadiness::Ready
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(voters: u64) -> MembershipView {
        MembershipView { voter_sets: vec![(1..=voters).collect()], ..MembershipView::default() }
    }

    #[test]
    fn a_leader_is_ruled_out_by_a_majority_that_knows_none() {
        let (three, five, neighbours) = (membership(3), membership(5), NeighbourAnswers::default());
        assert!(!neighbours.rule_out_a_leader(1, &three), "alone it cannot know");
        assert!(neighbours.rule_out_a_leader(1, &membership(1)));
        neighbours.answered(2, false);
        assert!(neighbours.rule_out_a_leader(1, &three));
        assert!(!neighbours.rule_out_a_leader(1, &five), "the other three may have one");
        assert!(!neighbours.rule_out_a_leader(9, &three), "it is no voter, and one voter is no majority");
        neighbours.answered(3, true);
        assert!(!neighbours.rule_out_a_leader(1, &three), "one of them knows a leader");
        neighbours.keep(&[2]);
        assert!(neighbours.rule_out_a_leader(1, &three));
    }

    fn facts<'a>(membership: &'a MembershipView, neighbours: &'a NeighbourAnswers) -> ReadinessFacts<'a> {
        ReadinessFacts {
            own: 1,
            joined: true,
            membership,
            has_leader: true,
            leads: false,
            committed: Some(9),
            applied: Some(9),
            at_start: Some(5),
            clock_wrong_by: None,
            neighbours,
        }
    }

    /// Sets the gate's clocks back, as if its last trouble or its last recovery had begun before all waiting times.
    fn long_ago(gate: &mut ReadinessGate) {
        let before = Instant::now().checked_sub(GRACE).unwrap();
        for since in [&mut gate.trouble_since, &mut gate.fine_since] {
            *since = since.map(|_| before);
        }
        gate.mark = gate.mark.map(|(mark, _)| (mark, before));
    }

    #[test]
    fn a_pod_is_not_ready_before_it_has_caught_up_with_a_leader_and_has_the_right_time() {
        let (members, neighbours) = (membership(3), NeighbourAnswers::default());
        let look = |facts: ReadinessFacts<'_>| ReadinessGate::default().look(&facts, || true);
        assert_eq!(look(facts(&members, &neighbours)), NodeReadiness::Ready);
        assert_eq!(look(ReadinessFacts { joined: false, ..facts(&members, &neighbours) }), NodeReadiness::NotJoined);
        assert_eq!(
            look(ReadinessFacts { has_leader: false, ..facts(&members, &neighbours) }),
            NodeReadiness::CatchingUp
        );
        assert_eq!(
            look(ReadinessFacts { applied: Some(8), ..facts(&members, &neighbours) }),
            NodeReadiness::CatchingUp
        );
        let wrong = ReadinessFacts { clock_wrong_by: Some(60_000), ..facts(&members, &neighbours) };
        assert_eq!(look(wrong), NodeReadiness::ClockWrong { offset_ms: 60_000 });
        assert_eq!(
            ReadinessGate::default().look(&facts(&members, &neighbours), || false),
            NodeReadiness::NotBootstrapped
        );
    }

    #[test]
    fn what_passes_quickly_is_not_seen_and_what_lasts_withdraws_the_pod_until_it_is_steadily_over() {
        let (members, neighbours, mut gate) = (membership(3), NeighbourAnswers::default(), ReadinessGate::default());
        let fine = || facts(&members, &neighbours);
        let cut_off = || ReadinessFacts { has_leader: false, ..fine() };
        assert_eq!(gate.look(&fine(), || true), NodeReadiness::Ready);
        assert_eq!(gate.look(&cut_off(), || true), NodeReadiness::Ready, "an election");
        assert_eq!(gate.look(&fine(), || true), NodeReadiness::Ready);
        assert_eq!(gate.look(&cut_off(), || true), NodeReadiness::Ready, "another one");
        long_ago(&mut gate);
        assert_eq!(gate.look(&cut_off(), || true), NodeReadiness::CutOff);
        assert_eq!(gate.look(&fine(), || true), NodeReadiness::CutOff, "it may be gone again at once");
        long_ago(&mut gate);
        assert_eq!(gate.look(&fine(), || true), NodeReadiness::Ready);
    }

    #[test]
    fn without_a_leader_anywhere_a_pod_stays_ready() {
        let (members, neighbours, mut gate) = (membership(3), NeighbourAnswers::default(), ReadinessGate::default());
        assert_eq!(gate.look(&facts(&members, &neighbours), || true), NodeReadiness::Ready);
        neighbours.answered(2, false);
        let leaderless = || ReadinessFacts { has_leader: false, ..facts(&members, &neighbours) };
        gate.look(&leaderless(), || true);
        long_ago(&mut gate);
        assert_eq!(gate.look(&leaderless(), || true), NodeReadiness::Ready);
    }

    #[test]
    fn a_follower_that_does_not_apply_what_was_committed_withdraws_and_a_leader_does_not() {
        let (members, neighbours) = (membership(3), NeighbourAnswers::default());
        for leads in [false, true] {
            let mut gate = ReadinessGate::default();
            let look = |gate: &mut ReadinessGate, committed, applied| {
                let facts = facts(&members, &neighbours);
                gate.look(
                    &ReadinessFacts { leads, committed: Some(committed), applied: Some(applied), ..facts },
                    || true,
                )
            };
            assert_eq!(look(&mut gate, 9, 9), NodeReadiness::Ready);
            look(&mut gate, 900, 10);
            look(&mut gate, 900, 10);
            long_ago(&mut gate);
            look(&mut gate, 1000, 20);
            long_ago(&mut gate);
            let seen = look(&mut gate, 1000, 20);
            assert_eq!(seen, if leads { NodeReadiness::Ready } else { NodeReadiness::Behind { entries: 980 } });
            look(&mut gate, 1000, 1000);
            long_ago(&mut gate);
            assert_eq!(look(&mut gate, 1000, 1000), NodeReadiness::Ready);
        }
    }
}
