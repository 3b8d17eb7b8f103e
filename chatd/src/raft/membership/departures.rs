//! Completion of deactivations: accounts leave all their rooms, however many those are.
//!
//! A deactivation leaves some rooms at once, and a row records what is left. The leader continues, one command after the
//! other, each a bounded part of the work, taking the users in turn; the next leader continues from there.

use super::{AdminError, ClusterAdmin};
use quorate_core::proto::log::{Command, ContinueDeactivation, Envelope, command, outcome};
use std::time::Duration;
use tokio::time::sleep;

/// Interval of checks when there is nothing to do; a check is one seek in a small table.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Limit on the users that are served in turn. Others follow when these are done.
const USERS: usize = 64;

impl ClusterAdmin {
    /// Completes deactivations for as long as the node runs, while it leads.
    pub(crate) async fn keep_departures_going(self) {
        loop {
            sleep(LOOK_EVERY).await;
            while self.inner.leadership.is_leader() {
                let users = self.unfinished_departures().await;
                if users.is_empty() {
                    break;
                }
                if let Err(error) = self.continue_each_departure(&users).await {
                    tracing::warn!(%error, "failed to complete the deactivation of an account; will retry");
                    break;
                }
            }
        }
    }

    async fn unfinished_departures(&self) -> Vec<String> {
        let facts = self.inner.facts.clone();
        if !facts.may_block() {
            return facts.unfinished_departures(USERS);
        }
        tokio::task::spawn_blocking(move || facts.unfinished_departures(USERS)).await.unwrap_or_default()
    }

    async fn continue_each_departure(&self, users: &[String]) -> Result<(), AdminError> {
        for localpart in users {
            let go_on = ContinueDeactivation { localpart: localpart.clone() };
            let command = Some(Command { kind: Some(command::Kind::ContinueDeactivation(go_on)) });
            let proposed = self.inner.proposer.propose(Envelope { command, ..Envelope::default() }).await;
            match proposed.map_err(super::history::not_proposed)?.kind {
                Some(outcome::Kind::DeactivationContinued(part)) => {
                    tracing::debug!(localpart, rooms = part.rooms, more = part.more, "left rooms of a closed account");
                }
                Some(outcome::Kind::Rejected(rejected)) => return Err(AdminError::Refused(rejected.message)),
                other => return Err(AdminError::Stopped(format!("a response to another command: {other:?}"))),
            }
        }
        Ok(())
    }
}
