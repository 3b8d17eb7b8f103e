//! Transfer of leadership to another voter.

use super::{AdminError, ClusterAdmin};
use crate::raft::{
    clock::{TOLERANCE_MS, off_by},
    cluster::NodeStatus,
};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Time limit of a transfer if the caller names none.
pub const DEFAULT_TRANSFER_LIMIT: Duration = Duration::from_secs(2);
/// Time within which a target must have answered to be eligible: six heartbeats.
const REACHABLE: Duration = Duration::from_millis(300);
/// Entries that the target may lack: they are sent before it starts an election, while nobody can write.
const LAG: u64 = 256;
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl ClusterAdmin {
    /// Transfers leadership to this voter, or to the most up-to-date one; returns the new leader and its term.
    ///
    /// A transfer cannot be cancelled, and blocks writes until it is over. It is therefore started only if the target
    /// answers and has (nearly) all of the log, and never with a single voter.
    ///
    /// # Errors
    /// [`AdminError::Refused`] if no voter is eligible within half of the limit, [`AdminError::TimedOut`] if none took
    /// over.
    pub async fn transfer_leader(&self, to: Option<u64>, limit: Duration) -> Result<(u64, u64), AdminError> {
        let start = Instant::now();
        let target = self.qualified(to, limit).await?;
        tracing::info!(to = target, "handing leadership over");
        let mut leadership = self.inner.leadership.clone();
        let own = self.identity().node_id();
        self.inner.consensus.transfer_to(target).await?;
        let taken = async {
            loop {
                match leadership.leader() {
                    Some(leader) if leader != own => return Some((leader, leadership.term())),
                    _ if leadership.changed().await => {}
                    _ => return None,
                }
            }
        };
        match timeout(limit.saturating_sub(start.elapsed()), taken).await {
            Ok(Some(taken)) => Ok(taken),
            Ok(None) => Err(AdminError::Stopped("while it handed leadership over".into())),
            Err(_) => Err(AdminError::TimedOut { after: limit }),
        }
    }

    /// Waits for a voter that can take over at once.
    async fn qualified(&self, to: Option<u64>, limit: Duration) -> Result<u64, AdminError> {
        let deadline = Instant::now() + limit / 2;
        loop {
            let status = self.leading()?;
            check_voters(&status, to)?;
            if let Some(id) = to
                && let Some(reason) = self.clock_is_off(id)
            {
                return Err(AdminError::Refused(reason));
            }
            if let Some(target) = furthest_voter(&status, to, |id| self.clock_is_off(id).is_none()) {
                return Ok(target);
            }
            if Instant::now() >= deadline {
                return Err(AdminError::Refused(match to {
                    Some(id) => format!("voter {id} does not respond or lags behind; this node stays the leader"),
                    None => "no other voter responds and has caught up; this node stays the leader".into(),
                }));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

impl ClusterAdmin {
    /// Returns the reason why a voter must not lead because of its clock: it would transfer leadership back, and nobody
    /// could write in the meantime.
    fn clock_is_off(&self, node_id: u64) -> Option<String> {
        let offset_ms = self.inner.time.offset_of(node_id)?;
        let is_off = offset_ms.saturating_abs() > TOLERANCE_MS;
        is_off.then(|| format!("the clock of voter {node_id} is {}: correct it first", off_by(offset_ms)))
    }
}

fn check_voters(status: &NodeStatus, to: Option<u64>) -> Result<(), AdminError> {
    let voters = status.membership.voters();
    if voters.iter().all(|id| *id == status.node_id) {
        return Err(AdminError::Refused("there is no other voter to hand leadership to".into()));
    }
    match to {
        Some(id) if id == status.node_id => Err(AdminError::Refused(format!("node {id} is already the leader"))),
        Some(id) if !voters.contains(&id) => Err(AdminError::Refused(format!("node {id} is not a voter"))),
        _ => Ok(()),
    }
}

fn furthest_voter(status: &NodeStatus, to: Option<u64>, may_lead: impl Fn(u64) -> bool) -> Option<u64> {
    let voters = status.membership.voters();
    let candidates = status.progress.iter().filter(|progress| {
        voters.contains(&progress.node_id)
            && to.is_none_or(|id| id == progress.node_id)
            && progress.lag <= LAG
            && progress.contact_age.is_some_and(|age| age <= REACHABLE)
            && may_lead(progress.node_id)
    });
    candidates.max_by_key(|progress| progress.matched_index).map(|progress| progress.node_id)
}
