//! Removal of unused devices, and of what devices left behind.
//!
//! As with room history, each removal is a command in the log, and a bounded part of the work. This module only
//! searches, a bounded part of the rows at a time, and proposes the commands. Apply decides by the time of the entry.

use super::history::not_proposed;
use super::{AdminError, ClusterAdmin};
use quorate_core::proto::log::{Command, DeviceSwept, Envelope, SweepDevice, command, outcome};
use quorate_core::query::SweepCursor;
use quorate_wire::whole_millis;
use tokio::time::sleep;

/// Limit on the rows searched at a time: a few milliseconds of a thread that may take its time.
const ROWS: usize = 10_000;
/// Parts of one device's remembered transactions that are removed before the next device has its turn.
const PARTS_AT_ONCE: usize = 64;

impl ClusterAdmin {
    /// Removes unused devices for as long as the node runs, while it leads.
    pub(crate) async fn keep_devices_bounded(self) {
        let mut cursor = SweepCursor::default();
        let mut was_certain = false;
        let kept_ms = whole_millis(self.inner.compaction.devices_kept);
        loop {
            sleep(self.inner.compaction.devices_every).await;
            if !self.may_remove(&mut was_certain) {
                continue;
            }
            let facts = self.inner.facts.clone();
            let now_ms = self.inner.time.now_ms();
            let from = cursor.clone();
            let look = move || facts.devices_to_sweep(&from, now_ms, kept_ms, ROWS);
            let part = tokio::task::spawn_blocking(look).await.unwrap_or_default();
            let mut swept = 0_usize;
            for (localpart, device_id) in part.found {
                if let Err(error) = self.sweep_device(&localpart, &device_id, kept_ms).await {
                    tracing::warn!(%error, "failed to remove an expired device; will retry");
                    break;
                }
                swept += 1;
            }
            if swept > 0 {
                tracing::info!(devices = swept, "removed expired devices");
            }
            cursor = part.next;
        }
    }

    async fn sweep_device(&self, localpart: &str, device_id: &str, kept_ms: u64) -> Result<(), AdminError> {
        for _ in 0..PARTS_AT_ONCE {
            let sweep = SweepDevice { localpart: localpart.to_owned(), device_id: device_id.to_owned(), kept_ms };
            let command = Some(Command { kind: Some(command::Kind::SweepDevice(sweep)) });
            let proposed = self.inner.proposer.propose(Envelope { command, ..Envelope::default() }).await;
            match proposed.map_err(not_proposed)?.kind {
                Some(outcome::Kind::DeviceSwept(DeviceSwept { more: true })) => {}
                Some(outcome::Kind::DeviceSwept(DeviceSwept { more: false })) => break,
                Some(outcome::Kind::Rejected(rejected)) => return Err(AdminError::Refused(rejected.message)),
                other => return Err(AdminError::Stopped(format!("a response to another command: {other:?}"))),
            }
        }
        Ok(())
    }
}
