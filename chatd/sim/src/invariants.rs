//! What always holds, one function with a name and a source per property.
//!
//! [`Watch`] is shown every running replica many times in a simulation, and each log entry once; the functions of
//! [`clients`] judge the end by what clients were promised.

pub mod clients;
mod elections;
mod logs;
mod order;
mod replicas;

pub use elections::{election_safety, leader_completeness, votes_never_go_back};
pub use logs::{Logs, committed_entries_stay, log_matching};
pub use order::streams_keep_their_order;
pub use replicas::{applied_agreement, snapshot_replay_equals_log_replay};

use crate::history::{Ballot, Record};
use quorate_chatd::raft::types::{EncodedBatch, LogId};
use std::collections::BTreeMap;
use std::fmt;

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Name of the function.
    pub invariant: &'static str,
    /// Where, and how.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What a check comes to.
pub type Checked = Result<(), Violation>;

pub(crate) fn broken<T>(invariant: &'static str, what: String) -> Result<T, Violation> {
    Err(Violation { invariant, what })
}

/// An entry as it was found in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: LogId,
    /// The one before it, where that is in the log.
    pub before: Option<LogId>,
    /// CRC-32 of its encoding.
    pub crc32: u32,
    /// Its commands, if it has any.
    pub batch: Option<EncodedBatch>,
}

/// A running replica at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its node id.
    pub node_id: u64,
    /// It leads, as it thinks.
    pub leads: Option<Ballot>,
    /// Its vote, as it is on disk.
    pub vote: Option<Ballot>,
    /// The last entry that openraft counts as applied.
    pub applied: Option<LogId>,
    /// Last purged index.
    pub purged: Option<u64>,
    /// Entries of its log that were not looked at before, and all that are not applied.
    pub entries: Vec<Found>,
    /// Last index of its log.
    pub last: Option<LogId>,
    /// Applied index and digest of its state.
    pub state: (u64, u32),
}

/// What is known of the whole cluster by now.
#[derive(Default)]
pub struct Watch {
    /// Every entry that ever stood in a log.
    pub logs: Logs,
    /// Applied entries, which nobody may lose or change, each with the greatest leader that there was when it was found
    /// applied: it was committed under that one or an earlier one.
    pub committed: BTreeMap<u64, (Found, Ballot)>,
    /// The greatest vote of each node.
    pub votes: BTreeMap<u64, Ballot>,
    /// Digests of states by applied index.
    pub digests: BTreeMap<u64, (u32, u64)>,
}

impl Watch {
    /// One look at one replica.
    ///
    /// # Errors
    /// The first property that is broken.
    pub fn look(&mut self, seen: &Seen, record: &Record) -> Checked {
        election_safety(record)?;
        votes_never_go_back(&mut self.votes, seen)?;
        log_matching(&mut self.logs, seen)?;
        let greatest = record.leaders.last_key_value().map_or((0, 0), |(ballot, _)| *ballot);
        committed_entries_stay(&mut self.committed, seen, greatest)?;
        leader_completeness(&self.committed, seen)?;
        applied_agreement(&mut self.digests, seen)
    }
}
