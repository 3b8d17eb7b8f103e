//! Invariants of the replicas' logs.

use super::{CheckResult, ObservedEntry, ObservedReplica, fail_check};
use crate::history::TermAndNode;
use quorate_chatd::raft::types::LogId;
use std::collections::BTreeMap;

/// Every entry that was seen in a log, by its id: checksum, the entry before it, and the node in whose log it was
/// found.
#[derive(Default)]
pub struct ObservedLogs(BTreeMap<LogId, (u32, Option<LogId>, u64)>);

/// Checks that two logs that have an entry with the same index and term are identical up to it (Raft paper, figure 3;
/// dissertation §3.5). Each entry names the one before it, so comparing neighbours compares whole logs.
///
/// # Errors
/// The violation names the entry, and the two nodes that have it differently.
pub fn log_matching(logs: &mut ObservedLogs, seen: &ObservedReplica) -> CheckResult {
    for ObservedEntry { id, before, crc32, .. } in &seen.entries {
        let (known, known_before, whose) = logs.0.entry(*id).or_insert((*crc32, *before, seen.node_id));
        let same_before = match (&known_before, before) {
            (Some(known), Some(found)) => known == found,
            // The entry before is purged in one of the two logs.
            _ => true,
        };
        if known != crc32 || !same_before {
            let what = format!(
                "entry {id} is {known:08x} after {known_before:?} on node {whose}, but {crc32:08x} after {before:?} on node {}",
                seen.node_id
            );
            return fail_check("log_matching", what);
        }
        *known_before = known_before.or(*before);
    }
    Ok(())
}

/// Checks that an entry that was applied anywhere is never another one anywhere else (Raft paper, figure 3, "State
/// Machine Safety").
///
/// # Errors
/// The violation names the index and both entries.
pub fn committed_entries_stay(
    committed: &mut BTreeMap<u64, (ObservedEntry, TermAndNode)>,
    seen: &ObservedReplica,
    greatest: TermAndNode,
) -> CheckResult {
    let Some(applied) = seen.applied else { return Ok(()) };
    for entry in seen.entries.iter().filter(|entry| entry.id.index <= applied.index) {
        let (known, _) = committed.entry(entry.id.index).or_insert_with(|| (entry.clone(), greatest));
        if known.id != entry.id || known.crc32 != entry.crc32 {
            let what = format!(
                "index {}: {} was applied, but node {} applied {}",
                entry.id.index, known.id, seen.node_id, entry.id
            );
            return fail_check("committed_entries_stay", what);
        }
    }
    Ok(())
}
