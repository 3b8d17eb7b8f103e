//! Invariants of elections and leaders.

use super::{CheckResult, ObservedEntry, ObservedReplica, fail_check};
use crate::history::{HistoryRecord, TermAndNode};
use std::collections::BTreeMap;

/// Checks that each pair of term and node has at most one leader, in one life of its process (Raft paper, figure 3;
/// dissertation §3.4). Two nodes may lead one term here: openraft orders their votes by node id, as if the terms were
/// longer, so the pair is what the papers call a term. A process that leads again with a pair of a former life has
/// forgotten its vote.
///
/// # Errors
/// The violation names the pair and the lives in which it led.
pub fn election_safety(record: &HistoryRecord) -> CheckResult {
    match record.leaders.iter().find(|(_, lives)| lives.len() > 1) {
        Some(((term, node_id), lives)) => fail_check(
            "election_safety",
            format!("node {node_id} led term {term} in several lives of its process: {lives:?}"),
        ),
        None => Ok(()),
    }
}

/// Checks that a vote that was granted is not forgotten (Raft paper §5.1: `votedFor` is on stable storage before the
/// answer).
///
/// # Errors
/// The violation names the node and its votes.
pub fn votes_never_go_back(votes: &mut BTreeMap<u64, TermAndNode>, seen: &ObservedReplica) -> CheckResult {
    let now = seen.vote.unwrap_or_default();
    let known = votes.entry(seen.node_id).or_insert(now);
    if now < *known {
        return fail_check(
            "votes_never_go_back",
            format!("the vote of node {} went back from {known:?} to {now:?}", seen.node_id),
        );
    }
    *known = now;
    Ok(())
}

/// Checks that what is committed under a leader is in the log of every later one (Raft paper, figure 3; dissertation
/// §3.6). By log matching the last such entry speaks for all before it.
///
/// # Errors
/// The violation names the leader and the entry that it lacks.
pub fn leader_completeness(
    committed: &BTreeMap<u64, (ObservedEntry, TermAndNode)>,
    seen: &ObservedReplica,
) -> CheckResult {
    let Some(ballot) = seen.leads else { return Ok(()) };
    let before = committed.values().rev().find(|(_, under)| *under < ballot);
    let Some((entry, under)) = before else { return Ok(()) };
    let index = entry.id.index;
    let is_gone = seen.purged.is_some_and(|purged| purged >= index);
    let applied = seen.applied.is_some_and(|applied| applied.index >= index);
    match seen.entries.iter().find(|found| found.id.index == index) {
        Some(found) if found.id == entry.id => Ok(()),
        // The entry was looked at before, when `committed_entries_stay` compared it.
        None if is_gone || applied => Ok(()),
        here => fail_check(
            "leader_completeness",
            format!(
                "node {} leads {ballot:?} and has {here:?}, but {} was committed under {under:?} or earlier; its log \
                 ends at {:?}",
                seen.node_id, entry.id, seen.last
            ),
        ),
    }
}
