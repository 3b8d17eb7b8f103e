//! The format level in force: raised by the leader once every member knows a higher one (docs/adr/0015).
//!
//! Each pod names its level in the answer to every append stream, heartbeats included. The leader counts only members,
//! learners among them, that did so within the last moments; a member that is away therefore keeps the level where it
//! is. What was accepted under a level stays in the log, so the level never falls.

use super::{leadership::Leadership, network::PeerSet, propose::Proposer};
use crate::feed::LevelInForce;
use quorate_core::proto::log::{Command, Envelope, RaiseLevel, command, outcome};
use std::time::Duration;
use tokio::time::sleep;

/// Metadata key of an accepted append stream: the highest format level that the receiver knows.
pub(crate) const LEVEL_KEY: &str = "quorate-format-level";

/// Interval at which the leader checks the members' levels. Nothing waits for it but commands that came with an upgrade.
const EVERY: Duration = Duration::from_secs(1);

/// Raises the level for as long as the node runs, while it leads.
pub(crate) async fn keep_level_raised(
    proposer: Proposer,
    peers: PeerSet,
    leadership: Leadership,
    in_force: LevelInForce,
) {
    loop {
        sleep(EVERY).await;
        if !leadership.is_leader() {
            continue;
        }
        let Some(known) = level_known_to_all(&proposer, &peers, &leadership) else { continue };
        if known > in_force.get() {
            raise_level(&proposer, known).await;
        }
    }
}

/// Returns the highest level that all members know; `None` while one of them has not said what it knows.
fn level_known_to_all(proposer: &Proposer, peers: &PeerSet, leadership: &Leadership) -> Option<u32> {
    let own = proposer.format().level;
    leadership.others().into_iter().try_fold(own, |lowest, (id, _)| Some(lowest.min(peers.level(id)?)))
}

async fn raise_level(proposer: &Proposer, to: u32) {
    let command = Some(Command { kind: Some(command::Kind::RaiseLevel(RaiseLevel { to })) });
    match proposer.propose(Envelope { command, ..Envelope::default() }).await {
        Ok(outcome) => match outcome.kind {
            Some(outcome::Kind::Rejected(refused)) => {
                tracing::warn!(level = to, reason = refused.message, "the log refused to raise the format level");
            }
            _ => tracing::info!(level = to, "all pods know this format level; it is in force now"),
        },
        // Tried again at the next interval.
        Err(error) => tracing::debug!(%error, level = to, "did not raise the format level"),
    }
}
