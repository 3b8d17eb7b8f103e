//! Invariants of the replicas' states.

use super::{CheckResult, ObservedReplica, fail_check};
use crate::history::AppendedEntry;
use crate::upgrade::PodVersion;
use prost::Message as _;
use quorate_chatd::raft::types::LogId;
use quorate_core::apply;
use quorate_core::invariant::state_digest;
use quorate_core::proto::log::Batch;
use quorate_core::table::MemTable;
use std::collections::BTreeMap;

/// Checks that replicas that have applied equally far are equal, row by row (Raft paper §5.3: the same entries in the
/// same order; determinism of `quorate_core::apply`).
///
/// # Errors
/// The violation names the index and both nodes.
pub fn applied_agreement(digests: &mut BTreeMap<u64, (u32, u64)>, seen: &ObservedReplica) -> CheckResult {
    let (index, found) = seen.state;
    let (known, whose) = *digests.entry(index).or_insert((found, seen.node_id));
    if known == found {
        return Ok(());
    }
    let what =
        format!("at entry {index} the state is {known:08x} on node {whose}, but {found:08x} on node {}", seen.node_id);
    fail_check("applied_agreement", what)
}

/// Checks that a state that came by snapshots is the one that the whole log makes, from the first entry on
/// (dissertation §5: a snapshot stands for the entries it replaces).
///
/// The log is the record of all that leaders sent, so that it reaches back to its beginning whoever purged what.
/// Returns the number of entries that were applied again.
///
/// # Errors
/// The violation names both digests, or the entry that nobody was sent: one without a quorum.
pub fn snapshot_replay_equals_log_replay(
    appended: &BTreeMap<LogId, AppendedEntry>,
    (last, of_replica): (LogId, u32),
) -> Result<usize, super::PropertyViolation> {
    let log = log_until(appended, last)?;
    let mut rows = MemTable::default();
    for (id, entry) in log.iter().rev() {
        let Some(batch) = &entry.batch else { continue };
        let batch = Batch::decode(batch.bytes.clone());
        let batch = batch.or_else(|error| fail_check(REPLAY, format!("entry {id} cannot be read: {error}")))?;
        // The newest version knows whatever older ones have written.
        let applied = apply::batch_in_place_as(&PodVersion::Newer.format(), &mut rows, id.index, &batch);
        applied.or_else(|error| fail_check(REPLAY, format!("entry {id} cannot be applied: {error}")))?;
    }
    let of_log = state_digest(&rows).unwrap();
    if of_log == of_replica {
        return Ok(log.len());
    }
    fail_check(
        REPLAY,
        format!("at entry {last} replaying the log yields {of_log:08x}, but the replica has {of_replica:08x}"),
    )
}

const REPLAY: &str = "snapshot_replay_equals_log_replay";

/// Returns the entries of a log up to `last`, the last one first: each names the one before it.
fn log_until(
    appended: &BTreeMap<LogId, AppendedEntry>,
    last: LogId,
) -> Result<Vec<(LogId, &AppendedEntry)>, super::PropertyViolation> {
    let mut log = Vec::new();
    let mut next = Some(last);
    while let Some(id) = next {
        let Some(entry) = appended.get(&id) else {
            return fail_check(REPLAY, format!("entry {id} was applied, but never sent to any node"));
        };
        log.push((id, entry));
        next = entry.before;
    }
    match log.last() {
        // openraft's first entry, the membership, has index 0.
        Some((first, _)) if first.index == 0 => Ok(log),
        first => fail_check(REPLAY, format!("the log up to {last} must begin at index 0, but begins with {first:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_chatd::raft::codec::log_id_from_pb;
    use quorate_core::proto::log;

    fn id(index: u64) -> LogId {
        log_id_from_pb(&log::LogId { term: 1, node_id: 7, index })
    }

    /// Returns entries without commands, each after the one before it.
    fn entries(indices: std::ops::Range<u64>) -> BTreeMap<LogId, AppendedEntry> {
        indices.map(|index| (id(index), AppendedEntry { before: index.checked_sub(1).map(id), batch: None })).collect()
    }

    #[test]
    fn a_whole_log_is_replayed_and_compared() {
        let empty = state_digest(&MemTable::default()).unwrap();
        assert_eq!(snapshot_replay_equals_log_replay(&entries(0..3), (id(2), empty)), Ok(3));
        let differs = snapshot_replay_equals_log_replay(&entries(0..3), (id(2), empty ^ 1)).unwrap_err();
        assert_eq!(differs.invariant, "snapshot_replay_equals_log_replay");
    }

    #[test]
    fn a_log_with_a_hole_is_no_log_to_compare_with() {
        let empty = state_digest(&MemTable::default()).unwrap();
        for lacks in [0, 1, 2] {
            let mut log = entries(0..3);
            log.remove(&id(lacks));
            let error = snapshot_replay_equals_log_replay(&log, (id(2), empty)).unwrap_err();
            assert!(error.what.contains("never sent to any node"), "{error}");
        }
    }
}
