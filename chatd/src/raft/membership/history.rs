//! Letting go of rooms' histories: at an administrator's wish, and by the rooms' own rules.
//!
//! Each removal is a command in the log, so that all pods do the same; what is here only proposes them, one after the
//! other, each a bounded part of the work.

use super::{AdminError, Administration};
use crate::raft::propose::ProposeError;
use quorate_core::proto::log::{Command, Envelope, HistoryPurged, PurgeHistory, command, outcome};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// One call removes for so long, and then says that there is more: callers wait half a minute for an answer.
const CALL: Duration = Duration::from_secs(10);
/// Rooms found at one look, and what is kept in memory of them; the next look finds the others.
const ROOMS: usize = 256;
/// Parts removed of one room before the next room has its turn.
const PARTS_AT_ONCE: usize = 64;

/// What a call removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Events.
    pub events: u64,
    /// There is more to remove.
    pub more: bool,
}

impl Administration {
    /// Removes what was said in a room before a time, in milliseconds since the Unix epoch, for as long as a call may
    /// take. From any pod.
    ///
    /// # Errors
    /// [`AdminError::Invalid`] without a time; [`AdminError::Refused`] when there is no such room;
    /// [`AdminError::Conflict`] when the outcome of a part is unknown: to repeat the call is right.
    pub async fn purge_history(&self, room_id: &str, before_ms: u64) -> Result<Purged, AdminError> {
        if before_ms == 0 {
            return Err(AdminError::Invalid("say before when, in milliseconds since the Unix epoch".into()));
        }
        let (start, mut purged) = (Instant::now(), Purged { events: 0, more: true });
        while purged.more && start.elapsed() < CALL {
            let part = self.purge_part(room_id, before_ms).await?;
            purged = Purged { events: purged.events.saturating_add(part.events), more: part.more };
        }
        tracing::info!(room_id, before_ms, events = purged.events, more = purged.more, "removed history");
        Ok(purged)
    }

    async fn purge_part(&self, room_id: &str, before_ms: u64) -> Result<HistoryPurged, AdminError> {
        let purge = PurgeHistory { room_id: room_id.to_owned(), before_ms };
        let command = Some(Command { kind: Some(command::Kind::PurgeHistory(purge)) });
        let proposed = self.inner.proposer.propose(Envelope { command, ..Envelope::default() }).await;
        match proposed.map_err(not_proposed)?.kind {
            Some(outcome::Kind::HistoryPurged(purged)) => Ok(purged),
            Some(outcome::Kind::Rejected(rejected)) => Err(AdminError::Refused(rejected.message)),
            other => Err(AdminError::Stopped(format!("an answer to another command: {other:?}"))),
        }
    }

    /// Returns whether what is too old may go now: this node leads and the time is certain. What is removed is gone, so
    /// the time must be a majority's, and have been so at the look before, and the log must not be ahead of it.
    pub(super) fn may_remove(&self, was_certain: &mut bool) -> bool {
        let status = self.inner.time.status();
        let is_certain = self.inner.leadership.is_leader() && status.confirmed && status.log_ahead_ms == 0;
        std::mem::replace(was_certain, is_certain) && is_certain
    }

    /// Runs as long as the node; works while it leads. The time of the entry decides what goes; the time here only says
    /// when to look.
    pub(crate) async fn keep_history_bounded(self) {
        let mut was_certain = false;
        loop {
            sleep(self.inner.compaction.history_every).await;
            if !self.may_remove(&mut was_certain) {
                continue;
            }
            let (facts, now_ms) = (self.inner.facts.clone(), self.inner.time.now_ms());
            let found = tokio::task::spawn_blocking(move || facts.expired_rooms(now_ms, ROOMS)).await;
            for room_id in found.unwrap_or_default() {
                if let Err(error) = self.purge_by_rule(&room_id).await {
                    tracing::warn!(room_id, %error, "history that is too old was not removed; it is tried again");
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
        tracing::info!(room_id, events, "removed history that the room no longer keeps");
        Ok(())
    }
}

pub(super) fn not_proposed(error: ProposeError) -> AdminError {
    match error {
        ProposeError::NoLeader => AdminError::NotLeader { leader: None },
        ProposeError::Unknown { reason } => AdminError::Conflict(format!(
            "whether it was done, or a part of it, is not known ({reason}): call again, which does what is left"
        )),
        ProposeError::Stopping => AdminError::Stopped(error.to_string()),
        ProposeError::Overloaded { .. }
        | ProposeError::RateLimited { .. }
        | ProposeError::StorageFull { .. }
        | ProposeError::TooLarge { .. } => AdminError::Refused(error.to_string()),
    }
}
