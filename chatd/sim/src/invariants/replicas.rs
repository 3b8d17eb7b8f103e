//! What states may be.

use super::{Checked, Found, Seen, broken};
use crate::history::Ballot;
use prost::Message as _;
use quorate_core::apply;
use quorate_core::invariant::digest;
use quorate_core::proto::log::Batch;
use quorate_core::table::MemTable;
use std::collections::BTreeMap;

/// Replicas that have applied equally far are equal, row by row (Raft paper §5.3: the same entries in the same order;
/// determinism of `quorate_core::apply`).
///
/// # Errors
/// The index and both nodes.
pub fn applied_agreement(digests: &mut BTreeMap<u64, (u32, u64)>, seen: &Seen) -> Checked {
    let (index, found) = seen.state;
    let (known, whose) = *digests.entry(index).or_insert((found, seen.node_id));
    if known == found {
        return Ok(());
    }
    let what =
        format!("at entry {index} the state is {known:08x} on node {whose}, {found:08x} on node {}", seen.node_id);
    broken("applied_agreement", what)
}

/// A state that came by snapshots is the one that the whole log makes, from the first entry on (dissertation §5:
/// a snapshot stands for the entries it replaces).
///
/// Returns how many entries were applied again; nothing is checked when some of them were never seen.
///
/// # Errors
/// Both digests.
pub fn snapshot_replay_equals_log_replay(
    committed: &BTreeMap<u64, (Found, Ballot)>,
    (index, of_replica): (u64, u32),
) -> Result<usize, super::Violation> {
    const NAME: &str = "snapshot_replay_equals_log_replay";
    let mut rows = MemTable::default();
    let mut replayed = 0;
    // openraft's first entry, the membership, has index 0.
    for wanted in 0..=index {
        let Some((entry, _)) = committed.get(&wanted) else { return Ok(0) };
        replayed += 1;
        let Some(batch) = &entry.batch else { continue };
        let batch = Batch::decode(batch.0.clone());
        let batch = batch.or_else(|error| broken(NAME, format!("entry {wanted} cannot be read: {error}")))?;
        let applied = apply::batch_in_place(&mut rows, wanted, &batch);
        applied.or_else(|error| broken(NAME, format!("entry {wanted} cannot be applied: {error}")))?;
    }
    let of_log = digest(&rows).unwrap();
    if of_log == of_replica {
        return Ok(replayed);
    }
    broken(NAME, format!("at entry {index} the log makes {of_log:08x}, the replica has {of_replica:08x}"))
}
