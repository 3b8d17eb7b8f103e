//! Completion of deletions of rooms: members leave, and what they said is removed, however many and much that is.
//!
//! The deletion of a room does a part at once, and a row records what is left. The leader continues, one command after the
//! other, each a bounded part of the work, taking the rooms in turn; the next leader continues from there.

use super::{AdminError, ClusterAdmin};
use quorate_core::proto::log::{Administer, Command, DeleteRoom, Envelope, administer, command, outcome};
use std::time::Duration;
use tokio::time::sleep;

/// Interval of checks when there is nothing to do; a check is one seek in a small table.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Limit on the rooms that are cleared in turn. Others follow when these are done.
const ROOMS: usize = 64;

impl ClusterAdmin {
    /// Completes deletions of rooms for as long as the node runs, while it leads.
    pub(crate) async fn keep_clearings_going(self) {
        loop {
            sleep(LOOK_EVERY).await;
            while self.inner.leadership.is_leader() {
                let rooms = self.unfinished_clearings().await;
                if rooms.is_empty() {
                    break;
                }
                if let Err(error) = self.continue_each_clearing(&rooms).await {
                    tracing::warn!(%error, "failed to complete the deletion of a room; will retry");
                    break;
                }
            }
        }
    }

    async fn unfinished_clearings(&self) -> Vec<String> {
        let facts = self.inner.facts.clone();
        if !facts.may_block() {
            return facts.unfinished_clearings(ROOMS);
        }
        tokio::task::spawn_blocking(move || facts.unfinished_clearings(ROOMS)).await.unwrap_or_default()
    }

    async fn continue_each_clearing(&self, rooms: &[String]) -> Result<(), AdminError> {
        for room_id in rooms {
            // The reason that the administrator gave is in the row.
            let delete = DeleteRoom { room_id: room_id.clone(), reason: String::new() };
            let act = Administer { configured: false, action: Some(administer::Action::DeleteRoom(delete)) };
            let command = Some(Command { kind: Some(command::Kind::Administer(act)) });
            let proposed = self.inner.proposer.propose(Envelope { command, ..Envelope::default() }).await;
            match proposed.map_err(super::history::not_proposed)?.kind {
                Some(outcome::Kind::RoomCleared(part)) => {
                    let more = part.more;
                    tracing::debug!(
                        room_id,
                        members = part.members,
                        events = part.events,
                        more,
                        "cleared a deleted room"
                    );
                }
                Some(outcome::Kind::Rejected(rejected)) => return Err(AdminError::Refused(rejected.message)),
                other => return Err(AdminError::Stopped(format!("a response to another command: {other:?}"))),
            }
        }
        Ok(())
    }
}
