//! Propagation of changed profiles to all rooms of their users.
//!
//! A change updates the member events of some rooms at once, and a row records what is left. The leader continues, one
//! command after the other, each a bounded part of the work, taking the users in turn; the next leader continues from
//! there.

use super::{AdminError, ClusterAdmin};
use quorate_core::proto::log::{Command, Envelope, RenewMembers, command, outcome};
use std::time::Duration;
use tokio::time::sleep;

/// Interval of checks when there is nothing to do; a check is one seek in a small table.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Limit on the users that are served in turn. Others follow when these are done.
const USERS: usize = 64;

impl ClusterAdmin {
    /// Propagates profile changes for as long as the node runs, while it leads.
    pub(crate) async fn keep_profiles_shown(self) {
        loop {
            sleep(LOOK_EVERY).await;
            while self.inner.leadership.is_leader() {
                let users = self.unfinished_renewals().await;
                if users.is_empty() {
                    break;
                }
                if let Err(error) = self.renew_some_of_each(&users).await {
                    tracing::warn!(%error, "failed to update a changed profile in all rooms; will retry");
                    break;
                }
            }
        }
    }

    async fn unfinished_renewals(&self) -> Vec<String> {
        let facts = self.inner.facts.clone();
        if !facts.may_block() {
            return facts.unfinished_renewals(USERS);
        }
        tokio::task::spawn_blocking(move || facts.unfinished_renewals(USERS)).await.unwrap_or_default()
    }

    async fn renew_some_of_each(&self, users: &[String]) -> Result<(), AdminError> {
        for localpart in users {
            let renew = RenewMembers { localpart: localpart.clone() };
            let command = Some(Command { kind: Some(command::Kind::RenewMembers(renew)) });
            let proposed = self.inner.proposer.propose(Envelope { command, ..Envelope::default() }).await;
            match proposed.map_err(super::history::not_proposed)?.kind {
                Some(outcome::Kind::MembersRenewed(renewed)) => {
                    tracing::debug!(localpart, rooms = renewed.rooms, more = renewed.more, "renewed member events");
                }
                Some(outcome::Kind::Rejected(rejected)) => return Err(AdminError::Refused(rejected.message)),
                other => return Err(AdminError::Stopped(format!("a response to another command: {other:?}"))),
            }
        }
        Ok(())
    }
}
