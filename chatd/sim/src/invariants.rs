//! Invariants: properties that always hold, one function with a name and a source each.
//!
//! [`InvariantChecker`] is shown every running replica many times in a simulation, and each log entry once; the functions of
//! [`clients`] judge the end by what clients were promised.

pub mod clients;
mod elections;
mod logs;
mod order;
mod replicas;

pub use elections::{election_safety, leader_completeness, votes_never_go_back};
pub use logs::{ObservedLogs, committed_entries_stay, log_matching};
pub use order::streams_keep_their_order;
pub use replicas::{applied_agreement, snapshot_replay_equals_log_replay};

use crate::history::{HistoryRecord, TermAndNode};
use quorate_chatd::raft::types::{EncodedBatch, LogId};
use std::collections::BTreeMap;
use std::fmt;

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyViolation {
    /// Name of the function that checks it.
    pub invariant: &'static str,
    /// Description of where and how it is violated.
    pub what: String,
}

impl fmt::Display for PropertyViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// Result of checking an invariant.
pub type CheckResult = Result<(), PropertyViolation>;

pub(crate) fn fail_check<T>(invariant: &'static str, what: String) -> Result<T, PropertyViolation> {
    Err(PropertyViolation { invariant, what })
}

/// An entry as it was found in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedEntry {
    pub id: LogId,
    /// Id of the entry before it, or `None` for the first entry that was read.
    pub before: Option<LogId>,
    /// CRC-32 of the encoded entry.
    pub crc32: u32,
    /// Commands of the entry, or `None` if it has none.
    pub batch: Option<EncodedBatch>,
}

/// State of a running replica at one moment.
#[derive(Clone, Debug)]
pub struct ObservedReplica {
    pub node_id: u64,
    /// Term and node id under which the replica believes that it leads, or `None` if it does not.
    pub leads: Option<TermAndNode>,
    /// Vote of the replica as it is on disk.
    pub vote: Option<TermAndNode>,
    /// Id of the last entry that openraft counts as applied.
    pub applied: Option<LogId>,
    /// Index of the last purged entry.
    pub purged: Option<u64>,
    /// Entries of the log that were not looked at before, and all that are not applied.
    pub entries: Vec<ObservedEntry>,
    /// Id of the last entry of the log.
    pub last: Option<LogId>,
    /// Applied index, and digest of the state at that index.
    pub state: (u64, u32),
}

/// Knowledge about the whole cluster, gathered from look to look.
#[derive(Default)]
pub struct InvariantChecker {
    /// Every entry that ever stood in a log.
    pub logs: ObservedLogs,
    /// Applied entries by index, which nobody may lose or change. Each comes with the greatest leader that there was
    /// when the entry was found applied: it was committed under that leader or an earlier one.
    pub committed: BTreeMap<u64, (ObservedEntry, TermAndNode)>,
    /// Greatest vote of each node, by node id.
    pub votes: BTreeMap<u64, TermAndNode>,
    /// Digests of states by applied index, each with the node on which it was seen first.
    pub digests: BTreeMap<u64, (u32, u64)>,
}

impl InvariantChecker {
    /// Checks one replica as it was just seen.
    ///
    /// # Errors
    /// Returns the first property that is broken.
    pub fn look(&mut self, seen: &ObservedReplica, record: &HistoryRecord) -> CheckResult {
        election_safety(record)?;
        votes_never_go_back(&mut self.votes, seen)?;
        log_matching(&mut self.logs, seen)?;
        let greatest = record.leaders.last_key_value().map_or((0, 0), |(ballot, _)| *ballot);
        committed_entries_stay(&mut self.committed, seen, greatest)?;
        leader_completeness(&self.committed, seen)?;
        applied_agreement(&mut self.digests, seen)
    }
}
