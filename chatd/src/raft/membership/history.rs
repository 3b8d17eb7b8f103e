//! Removal of room history: on an administrator's request, and by the rooms' own retention rules.
//!
//! Each removal is a command in the log, so that all pods remove the same. This module only proposes the commands, one
//! after the other, each of which is a bounded part of the work.

use super::{AdminError, ClusterAdmin};
use crate::raft::propose::ProposeError;
use quorate_core::proto::log::{Command, Envelope, HistoryPurged, PurgeHistory, command, outcome};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Time for which one call removes history before it reports that there is more: callers wait half a minute for an
/// answer.
const CALL: Duration = Duration::from_secs(10);
/// Limit on the rooms found by one search, and thus kept in memory; the next search finds the others.
const ROOMS: usize = 256;
/// Parts removed of one room before the next room has its turn.
const PARTS_AT_ONCE: usize = 64;

/// Result of a call that removes history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeResult {
    /// Number of events removed.
    pub events: u64,
    /// `true` if there is more to remove.
    pub more: bool,
}

impl ClusterAdmin {
    /// Removes the history of a room before a time, in milliseconds since the Unix epoch, for as long as a call may
    /// take. Works on any pod.
    ///
    /// # Errors
    /// [`AdminError::Invalid`] without a time; [`AdminError::Refused`] if there is no such room;
    /// [`AdminError::Conflict`] if the outcome of a part is unknown, in which case the call should be repeated.
    pub async fn purge_history(&self, room_id: &str, before_ms: u64) -> Result<PurgeResult, AdminError> {
        if before_ms == 0 {
            return Err(AdminError::Invalid(
                "give the time before which events are removed, in milliseconds since the Unix epoch".into(),
            ));
        }
        let start = Instant::now();
        let mut purged = PurgeResult { events: 0, more: true };
        while purged.more && start.elapsed() < CALL {
            let part = self.purge_part(room_id, before_ms).await?;
            purged = PurgeResult { events: purged.events.saturating_add(part.events), more: part.more };
        }
        tracing::info!(room_id, before_ms, events = purged.events, more = purged.more, "purged history");
        Ok(purged)
    }

    async fn purge_part(&self, room_id: &str, before_ms: u64) -> Result<HistoryPurged, AdminError> {
        let purge = PurgeHistory { room_id: room_id.to_owned(), before_ms };
        let command = Some(Command { kind: Some(command::Kind::PurgeHistory(purge)) });
        let proposed = self.inner.proposer.propose(Envelope { command, ..Envelope::default() }).await;
        match proposed.map_err(not_proposed)?.kind {
            Some(outcome::Kind::HistoryPurged(purged)) => Ok(purged),
            Some(outcome::Kind::Rejected(rejected)) => Err(AdminError::Refused(rejected.message)),
            other => Err(AdminError::Stopped(format!("a response to another command: {other:?}"))),
        }
    }

    /// Returns `true` if what is too old may be removed at this moment: this node leads, and the time is certain.
    /// Removal is final, so the time must be confirmed by a majority, at this check and at the previous one, and the
    /// log must not be ahead of it.
    pub(super) fn may_remove(&self, was_certain: &mut bool) -> bool {
        let status = self.inner.time.status();
        let is_certain = self.inner.leadership.is_leader() && status.confirmed && status.log_ahead_ms == 0;
        std::mem::replace(was_certain, is_certain) && is_certain
    }

    /// Removes expired history for as long as the node runs, while it leads. The time of the entry decides what is
    /// removed; the time here only decides when to search.
    pub(crate) async fn keep_history_bounded(self) {
        let mut was_certain = false;
        loop {
            sleep(self.inner.compaction.history_every).await;
            if !self.may_remove(&mut was_certain) {
                continue;
            }
            let facts = self.inner.facts.clone();
            let now_ms = self.inner.time.now_ms();
            let found = tokio::task::spawn_blocking(move || facts.expired_rooms(now_ms, ROOMS)).await;
            for room_id in found.unwrap_or_default() {
                if let Err(error) = self.purge_by_rule(&room_id).await {
                    tracing::warn!(room_id, %error, "failed to purge expired history; will retry");
                    break;
                }
            }
        }
    }

    async fn purge_by_rule(&self, room_id: &str) -> Result<(), AdminError> {
        let mut events = 0_u64;
        for _ in 0..PARTS_AT_ONCE {
            let part = self.purge_part(room_id, 0).await?;
            events = events.saturating_add(part.events);
            if !part.more {
                break;
            }
        }
        tracing::info!(room_id, events, "purged expired history");
        Ok(())
    }
}

pub(super) fn not_proposed(error: ProposeError) -> AdminError {
    match error {
        ProposeError::NoLeader => AdminError::NotLeader { leader: None },
        ProposeError::Unknown { reason } => AdminError::Conflict(format!(
            "it is unknown whether all or part of it was done ({reason}): call again to do what is left"
        )),
        ProposeError::Stopping => AdminError::Stopped(error.to_string()),
        ProposeError::Overloaded { .. }
        | ProposeError::RateLimited { .. }
        | ProposeError::StorageFull { .. }
        | ProposeError::TooNew { .. }
        | ProposeError::TooLarge { .. } => AdminError::Refused(error.to_string()),
    }
}
