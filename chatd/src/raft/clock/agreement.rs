//! Judges clocks by comparing those of the voters with each other and with the time that was agreed on before.

use std::collections::{BTreeMap, BTreeSet};

/// Largest offset, in milliseconds, at which a clock still counts as right. Machines with a time service differ by
/// milliseconds, and the network adds some.
pub const TOLERANCE_MS: i64 = 30_000;

/// Judgement of a leader about its own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClockVerdict {
    /// Agreement: a majority of the voters, this one among them, has the same time, or this clock matches the last
    /// agreed time, carried forward.
    Confirmed,
    /// Fewer than a majority of the voters have reported their time lately.
    Unheard,
    /// Contradiction: a majority, or another voter together with the last agreed time, shows that this clock is wrong.
    Contradicted {
        /// Voters whose clocks are right.
        right: Vec<u64>,
        /// Right time minus the time of this clock, in milliseconds.
        offset_ms: i64,
    },
    /// The clocks disagree, and nothing shows which of them is right.
    Disputed,
}

/// Evidence by which a clock is judged.
pub(super) struct ClockEvidence<'a> {
    pub(super) own: u64,
    /// Voter sets of the membership; more than one during a joint configuration.
    pub(super) voter_sets: &'a [BTreeSet<u64>],
    /// Recently reported clocks of other nodes, minus this clock, in milliseconds.
    pub(super) offsets: &'a BTreeMap<u64, i64>,
    /// Time that a majority last agreed on, carried forward by a monotonic clock, minus this clock, in milliseconds.
    pub(super) remembered: Option<i64>,
}

fn is_close(offset: i64) -> bool {
    offset.saturating_abs() <= TOLERANCE_MS
}

/// Judges this node's clock. A majority decides if there is one. Otherwise the last agreed time serves as the third
/// witness: if one of three voters is away and the other two disagree, the clock that continues the agreed time is the
/// right one.
pub(super) fn judge_clock(evidence: &ClockEvidence<'_>) -> ClockVerdict {
    let sets = evidence.voter_sets;
    if sets.iter().all(|set| evidence.count(set, is_close) >= majority(set)) && !sets.is_empty() {
        return ClockVerdict::Confirmed;
    }
    if let Some(verdict) = sets.iter().find_map(|set| evidence.contradicted_by(set)) {
        return verdict;
    }
    if sets.is_empty() || sets.iter().any(|set| evidence.count(set, |_| true) < majority(set)) {
        return ClockVerdict::Unheard;
    }
    match evidence.remembered {
        Some(remembered) if is_close(remembered) => ClockVerdict::Confirmed,
        Some(remembered) => {
            let as_before = |offset: i64| is_close(offset.saturating_sub(remembered));
            let right = evidence.others(sets, as_before);
            if right.is_empty() {
                return ClockVerdict::Disputed;
            }
            ClockVerdict::Contradicted { right, offset_ms: remembered }
        }
        None => ClockVerdict::Disputed,
    }
}

fn majority(voters: &BTreeSet<u64>) -> usize {
    voters.len() / 2 + 1
}

impl ClockEvidence<'_> {
    /// Counts the voters of a set whose clocks satisfy `so`; this node, if it is one of them, always counts.
    fn count(&self, voters: &BTreeSet<u64>, so: impl Fn(i64) -> bool) -> usize {
        let others = self.offsets.iter().filter(|&(id, offset)| voters.contains(id) && so(*offset)).count();
        others + usize::from(voters.contains(&self.own))
    }

    /// Returns the other voters of the last set whose clocks satisfy `so`.
    fn others(&self, sets: &[BTreeSet<u64>], so: impl Fn(i64) -> bool) -> Vec<u64> {
        let is_voter = |id: &u64| sets.last().is_some_and(|set| set.contains(id));
        let found = self.offsets.iter().filter(|&(id, offset)| is_voter(id) && so(*offset));
        found.map(|(id, _)| *id).collect()
    }

    /// Returns a [`ClockVerdict::Contradicted`] if a majority agrees with each other and not with this clock.
    fn contradicted_by(&self, voters: &BTreeSet<u64>) -> Option<ClockVerdict> {
        let others = self.offsets.iter().filter(|&(id, _)| voters.contains(id));
        let mut far: Vec<(u64, i64)> =
            others.map(|(id, offset)| (*id, *offset)).filter(|(_, offset)| !is_close(*offset)).collect();
        far.sort_unstable_by_key(|(_, offset)| *offset);
        far.windows(majority(voters)).find_map(|group| match (group.first(), group.last()) {
            (Some((_, low)), Some((_, high))) if is_close(high.saturating_sub(*low)) => {
                let right = group.iter().map(|(id, _)| *id).collect();
                Some(ClockVerdict::Contradicted { right, offset_ms: *low })
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: i64 = 600_000;

    /// Returns the verdict of node 1 among voters 1 to `voters`.
    fn verdict(voters: u64, offsets: &[(u64, i64)], remembered: Option<i64>) -> ClockVerdict {
        let (sets, offsets) = ([(1..=voters).collect()], offsets.iter().copied().collect());
        judge_clock(&ClockEvidence { own: 1, voter_sets: &sets, offsets: &offsets, remembered })
    }

    fn wrong(right: &[u64], offset_ms: i64) -> ClockVerdict {
        ClockVerdict::Contradicted { right: right.to_vec(), offset_ms }
    }

    #[test]
    fn a_majority_confirms_a_clock_or_contradicts_it_whatever_was_before() {
        for before in [None, Some(0), Some(OFF)] {
            assert_eq!(verdict(3, &[(2, 20), (3, OFF)], before), ClockVerdict::Confirmed, "the other one is off");
            assert_eq!(verdict(3, &[(2, OFF), (3, OFF + 900)], before), wrong(&[2, 3], OFF));
            assert_eq!(verdict(1, &[], before), ClockVerdict::Confirmed, "a single voter is its own majority");
        }
        assert_eq!(verdict(5, &[(2, OFF), (3, OFF), (4, OFF + 1), (5, 0)], None), wrong(&[2, 3, 4], OFF));
    }

    #[test]
    fn without_a_majority_nothing_is_said() {
        assert_eq!(verdict(3, &[], Some(0)), ClockVerdict::Unheard);
        assert_eq!(verdict(5, &[(2, 0)], Some(0)), ClockVerdict::Unheard);
    }

    #[test]
    fn of_two_that_disagree_the_one_that_has_the_time_of_before_is_right() {
        assert_eq!(verdict(3, &[(2, OFF)], Some(-900)), ClockVerdict::Confirmed);
        assert_eq!(verdict(3, &[(2, OFF)], Some(OFF + 900)), wrong(&[2], OFF + 900));
        assert_eq!(verdict(3, &[(2, OFF), (3, -OFF)], Some(-OFF)), wrong(&[3], -OFF), "three clocks, three times");
    }

    #[test]
    fn where_nothing_tells_them_apart_they_stay_disputed() {
        assert_eq!(verdict(3, &[(2, OFF)], None), ClockVerdict::Disputed, "nothing is known of before");
        assert_eq!(verdict(3, &[(2, OFF)], Some(-OFF)), ClockVerdict::Disputed, "both have left the time of before");
    }

    #[test]
    fn while_the_membership_changes_both_majorities_must_agree() {
        let sets = [[1, 2, 3].into(), [1, 4, 5].into()];
        let judged = |offsets: &[(u64, i64)]| {
            let offsets = offsets.iter().copied().collect();
            judge_clock(&ClockEvidence { own: 1, voter_sets: &sets, offsets: &offsets, remembered: None })
        };
        assert_eq!(judged(&[(2, 0), (3, OFF), (4, 9), (5, OFF)]), ClockVerdict::Confirmed);
        assert_eq!(judged(&[(2, 0), (3, 0), (4, OFF), (5, OFF)]), wrong(&[4, 5], OFF));
        assert_eq!(judged(&[(2, 0), (3, 0)]), ClockVerdict::Unheard);
    }

    #[test]
    fn no_clock_is_too_far_off_to_be_judged() {
        assert_eq!(verdict(3, &[(2, i64::MIN), (3, i64::MAX)], Some(i64::MIN)), wrong(&[2], i64::MIN));
        assert_eq!(verdict(3, &[(2, i64::MAX)], Some(i64::MIN)), ClockVerdict::Disputed);
    }
}
