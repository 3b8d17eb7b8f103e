//! Repair of the log's time after a wrong clock has set it ahead.

use super::{AdminError, ClusterAdmin};
use quorate_core::proto::log::{Command, Envelope, RepairTime, TimeRepaired, command, outcome};

impl ClusterAdmin {
    /// Sets the log's time back to the time on which the clocks of a majority agree. Works on any pod; a repeated call
    /// finds nothing to do.
    ///
    /// # Errors
    /// [`AdminError::Refused`] while the clocks do not agree, and the errors of any command while there is no leader.
    pub async fn repair_time(&self) -> Result<TimeRepaired, AdminError> {
        let command = Some(Command { kind: Some(command::Kind::RepairTime(RepairTime {})) });
        let proposed = self.inner.proposer.propose(Envelope { command, ..Envelope::default() }).await;
        match proposed.map_err(super::history::not_proposed)?.kind {
            Some(outcome::Kind::TimeRepaired(repaired)) => {
                let TimeRepaired { before_ms, after_ms } = repaired;
                tracing::warn!(before_ms, after_ms, "the log's time was set back at an administrator's request");
                Ok(repaired)
            }
            Some(outcome::Kind::Rejected(rejected)) => Err(AdminError::Refused(rejected.message)),
            other => Err(AdminError::Stopped(format!("a response to another command: {other:?}"))),
        }
    }
}
