//! Who may lead.

use super::{Checked, Found, Seen, broken};
use crate::history::Record;
use std::collections::BTreeMap;

/// At most one leader is elected in a term (Raft paper, figure 3; dissertation §3.4).
///
/// # Errors
/// The term and its leaders.
pub fn election_safety(record: &Record) -> Checked {
    match record.leaders.iter().find(|(_, leaders)| leaders.len() > 1) {
        Some((term, leaders)) => broken("election_safety", format!("nodes {leaders:?} all led term {term}")),
        None => Ok(()),
    }
}

/// What is committed in a term is in the log of the leader of every later one (Raft paper, figure 3; dissertation §3.6).
/// By log matching the last such entry speaks for all before it.
///
/// # Errors
/// The leader and the entry that it lacks.
pub fn leader_completeness(committed: &BTreeMap<u64, Found>, seen: &Seen) -> Checked {
    let Some(term) = seen.leads else { return Ok(()) };
    let before = committed.values().rev().find(|entry| entry.id.leader_id.term < term);
    let Some(entry) = before else { return Ok(()) };
    let index = entry.id.index;
    let is_gone = seen.purged.is_some_and(|purged| purged >= index);
    let applied = seen.applied.is_some_and(|applied| applied.index >= index);
    let here = seen.entries.iter().find(|found| found.id.index == index);
    match here {
        Some(found) if found.id == entry.id => Ok(()),
        // Looked at before: `committed_entries_stay` has compared it.
        None if is_gone || applied => Ok(()),
        _ => broken(
            "leader_completeness",
            format!(
                "node {} leads term {term} with {here:?} where {} was committed; its log ends at {:?}",
                seen.node_id, entry.id, seen.last
            ),
        ),
    }
}
