//! Invariants that hold whatever commands were applied: one function per property, over nothing but the rows.
//!
//! Tests and the simulation call [`check_all`] between batches; an operator's `verify` may call it on a checkpoint.
//! [`state_digest`] is used to compare replicas.

mod accounts;
mod aggregates;
mod device_messages;
mod events;
mod key_backups;
mod keys;
mod members;
#[cfg(test)]
mod planted;
mod pushers;
mod receipts;
mod retention;
mod rooms;

pub use accounts::{
    dedup_outcomes_point_to_their_events, dehydrated_devices_are_devices, devices_and_tokens_agree,
    sequences_are_of_devices,
};
pub use aggregates::aggregates_agree_with_relations;
pub use device_messages::device_queues_are_counted;
pub use events::{
    redactions_agree, relations_point_backward, state_versions_form_chains, time_never_goes_back,
    timeline_and_index_agree,
};
pub use key_backups::backups_are_counted;
pub use keys::{key_changes_are_found_both_ways, keys_are_of_devices, stocks_count_their_keys};
pub use members::{member_counts_are_right, memberships_agree_with_state};
pub use pushers::{pushers_are_of_devices, waiting_pushes_are_of_pushers};
pub use receipts::{receipts_agree_with_changes, receipts_are_of_members};
pub use retention::{purged_history_is_gone, retention_is_that_of_state};
pub use rooms::{aliases_lead_to_rooms, levels_are_those_of_state, rooms_begin_with_their_creation};

use crate::table::{ReadError, ScanControl, ScanRange, Table, TableRead};

/// Violation of an invariant, or a failure to check one.
#[derive(Debug, thiserror::Error)]
pub enum InvariantViolation {
    /// The rows cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The rows contradict each other.
    #[error("invariant `{invariant}` is broken: {what}")]
    Broken {
        /// Name of the function that checks the invariant.
        invariant: &'static str,
        /// Description of where and how the rows differ.
        what: String,
    },
}

/// Result of a check.
pub type InvariantResult = Result<(), InvariantViolation>;

type InvariantCheck = fn(&dyn TableRead) -> InvariantResult;

/// All invariants, by name.
pub const ALL: [(&str, InvariantCheck); 26] = [
    ("timeline_and_index_agree", timeline_and_index_agree),
    ("time_never_goes_back", time_never_goes_back),
    ("state_versions_form_chains", state_versions_form_chains),
    ("redactions_agree", redactions_agree),
    ("relations_point_backward", relations_point_backward),
    ("aggregates_agree_with_relations", aggregates_agree_with_relations),
    ("memberships_agree_with_state", memberships_agree_with_state),
    ("member_counts_are_right", member_counts_are_right),
    ("rooms_begin_with_their_creation", rooms_begin_with_their_creation),
    ("levels_are_those_of_state", levels_are_those_of_state),
    ("aliases_lead_to_rooms", aliases_lead_to_rooms),
    ("purged_history_is_gone", purged_history_is_gone),
    ("retention_is_that_of_state", retention_is_that_of_state),
    ("devices_and_tokens_agree", devices_and_tokens_agree),
    ("dehydrated_devices_are_devices", dehydrated_devices_are_devices),
    ("dedup_outcomes_point_to_their_events", dedup_outcomes_point_to_their_events),
    ("sequences_are_of_devices", sequences_are_of_devices),
    ("device_queues_are_counted", device_queues_are_counted),
    ("backups_are_counted", backups_are_counted),
    ("receipts_are_of_members", receipts_are_of_members),
    ("receipts_agree_with_changes", receipts_agree_with_changes),
    ("keys_are_of_devices", keys_are_of_devices),
    ("stocks_count_their_keys", stocks_count_their_keys),
    ("key_changes_are_found_both_ways", key_changes_are_found_both_ways),
    ("pushers_are_of_devices", pushers_are_of_devices),
    ("waiting_pushes_are_of_pushers", waiting_pushes_are_of_pushers),
];

/// Checks every invariant and stops at the first that is violated.
///
/// # Errors
/// Returns the first violation.
pub fn check_all(rows: &dyn TableRead) -> InvariantResult {
    ALL.iter().try_for_each(|(_, check)| check(rows))
}

/// Returns the CRC-32 over all core tables in order, keys and values with their lengths. Equal replicas at the same
/// applied entry have equal digests. Nothing is left out.
///
/// # Errors
/// Fails if a row cannot be read.
pub fn state_digest(rows: &dyn TableRead) -> Result<u32, ReadError> {
    let mut crc = crc32fast::Hasher::new();
    for table in Table::ALL {
        crc.update(&[table as u8]);
        rows.scan(&ScanRange::all(table), &mut |(key, value)| {
            for part in [key, value] {
                crc.update(&(part.len() as u64).to_be_bytes());
                crc.update(part);
            }
            Ok(ScanControl::More)
        })?;
    }
    Ok(crc.finalize())
}

/// Returns a violation of an invariant.
fn broken_invariant<T>(invariant: &'static str, what: String) -> Result<T, InvariantViolation> {
    Err(InvariantViolation::Broken { invariant, what })
}

/// Returns a violation unless the condition holds.
fn ensure_holds(condition: bool, invariant: &'static str, what: impl FnOnce() -> String) -> InvariantResult {
    if condition { Ok(()) } else { broken_invariant(invariant, what()) }
}

/// Returns all rows of a table, owned, because checks read other tables while they go through one.
fn all_rows(rows: &dyn TableRead, table: Table) -> Result<Vec<(Vec<u8>, bytes::Bytes)>, ReadError> {
    let mut out = Vec::new();
    rows.scan(&ScanRange::all(table), &mut |(key, value)| {
        out.push((key.to_vec(), bytes::Bytes::copy_from_slice(value)));
        Ok(ScanControl::More)
    })?;
    Ok(out)
}
