//! Model of the log: the expected content after the operations so far, one atom at a time.

use super::support::log_id;
use crate::raft::log::LogStore;
use crate::raft::types::{LogEntry, LogId, Vote};
use openraft::storage::RaftLogStorage as _;
use std::collections::BTreeMap;

/// The smallest parts in which the log may change.
#[derive(Clone, Debug)]
pub(super) enum Atom {
    Entry(LogEntry),
    Vote(Vote),
    Truncate(Option<LogId>),
    Purge(LogId),
}

/// Observable content of a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    pub(super) entries: BTreeMap<u64, LogEntry>,
}

impl Model {
    pub(super) fn apply(&mut self, atom: &Atom) {
        match atom {
            Atom::Entry(entry) => {
                self.entries.insert(entry.log_id.index, entry.clone());
            }
            Atom::Vote(vote) => self.vote = Some(*vote),
            Atom::Truncate(after) => {
                self.entries.split_off(&after.map_or(0, |id| id.index + 1));
            }
            Atom::Purge(upto) => {
                self.purged = Some(*upto);
                self.entries = self.entries.split_off(&(upto.index + 1));
            }
        }
    }

    pub(super) async fn of(log: &LogStore) -> Self {
        let state = log.clone().get_log_state().await.expect("reads");
        let entries: BTreeMap<_, _> =
            super::support::all(log).await.into_iter().map(|entry| (entry.log_id.index, entry)).collect();
        let last = entries.last_key_value().map(|(_, entry)| entry.log_id);
        assert_eq!(state.last_log_id, last.or(state.last_purged_log_id));
        Self { vote: super::support::saved_vote(log).await, purged: state.last_purged_log_id, entries }
    }

    pub(super) fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, entry)| entry.log_id).or(self.purged)
    }

    /// Returns the id of an existing entry, or of the last purged one.
    pub(super) fn id_at(&self, index: u64) -> LogId {
        self.entries.get(&index).map(|entry| entry.log_id).or(self.purged).unwrap_or(log_id(0, 0))
    }
}
