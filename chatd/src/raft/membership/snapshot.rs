//! Checkpoints of the state, and purging of the log entries that they cover.

use super::{AdminError, ClusterAdmin};
use crate::raft::consensus::SnapshotSummary;
use crate::raft::log::LogExtent;
use crate::raft::volume::{VolumeLevel, VolumeSizes};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Time limit of a checkpoint, which consists of hard links and one flush; a minute means that the disk is in trouble.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Number of checks after which the request is repeated: openraft ignores a request while a snapshot is being built.
const REPEAT_AFTER: u32 = 50;
/// Interval at which a checkpoint is made, or tried, on a volume that is short of space: the previous checkpoint keeps
/// files that the state has released.
const WHEN_SHORT: Duration = Duration::from_secs(60);
/// Multiple of the intended log size up to which entries are kept for a follower that still needs them.
const HELD_TIMES: u64 = 4;

/// Conditions under which checkpoints are made automatically, and intervals of other housekeeping.
#[derive(Clone, Debug)]
pub struct CompactionOptions {
    /// Number of entries since the last checkpoint after which the next one is made.
    pub entries: u64,
    /// Size of the log, in bytes, from which a checkpoint is made. Entries that would otherwise be kept are then purged
    /// as well, down to half of this size.
    pub bytes: u64,
    /// Time after which a checkpoint is made if there is anything new, so that a quiet pod, too, has little to replay
    /// at its next start.
    pub age: Duration,
    /// Number of entries kept behind a checkpoint, within `bytes`, so that a restarted pod catches up without the
    /// checkpoint.
    pub keep_entries: u64,
    /// Interval at which these conditions are checked.
    pub every: Duration,
    /// Interval at which rooms are searched for events that their own retention rule no longer keeps.
    pub history_every: Duration,
    /// Interval at which a part of the devices is searched for unused ones.
    pub devices_every: Duration,
    /// Time for which a device is kept after its session expired: its client can come back as the same device, with its
    /// name and its transaction ids, for as long as people are away.
    pub devices_kept: Duration,
}

impl Default for CompactionOptions {
    fn default() -> Self {
        Self {
            entries: 100_000,
            bytes: 1 << 30,
            age: Duration::from_secs(6 * 60 * 60),
            keep_entries: 20_000,
            every: Duration::from_secs(5),
            history_every: Duration::from_secs(30),
            devices_every: Duration::from_secs(60),
            devices_kept: Duration::from_secs(60 * 24 * 60 * 60),
        }
    }
}

impl ClusterAdmin {
    /// Makes a checkpoint of this node's state, at least as new as what is applied at the time of the call. With
    /// `purge`, the log is purged up to the end of the checkpoint, except for [`CompactionOptions::keep_entries`].
    ///
    /// # Errors
    /// [`AdminError::Refused`] if nothing is applied yet or the volume has no space for a checkpoint,
    /// [`AdminError::TimedOut`].
    pub async fn take_snapshot(&self, purge: bool) -> Result<SnapshotSummary, AdminError> {
        self.has_space_for_snapshot()?;
        let wanted = self.inner.cluster.status().applied_index;
        if wanted == 0 {
            return Err(AdminError::Refused("this node has applied nothing yet; add it to a cluster first".into()));
        }
        match timeout(LIMIT, self.snapshot_at_least(wanted)).await {
            Ok(result) => result?,
            Err(_) => return Err(AdminError::TimedOut { after: LIMIT }),
        }
        let found = self.inner.consensus.snapshot().await;
        let summary = found.map_err(|error| AdminError::Stopped(error.to_string()))?;
        let summary = summary.ok_or_else(|| AdminError::Stopped("the snapshot does not exist".into()))?;
        let applied = summary.last_applied.map(|last| last.index);
        tracing::info!(id = summary.id, applied, bytes = summary.size_bytes, purge, "took a snapshot");
        if purge && let Some(last) = summary.last_applied {
            self.inner.consensus.purge(self.releasable(last.index)).await?;
        }
        Ok(summary)
    }

    async fn snapshot_at_least(&self, wanted: u64) -> Result<(), AdminError> {
        let mut looks = 0_u32;
        while self.inner.cluster.status().snapshot_index < wanted {
            if looks.is_multiple_of(REPEAT_AFTER) {
                self.inner.consensus.build_snapshot().await?;
            }
            looks = looks.wrapping_add(1);
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Makes checkpoints and purges the log for as long as the node runs. openraft's own policy is off, because it
    /// would purge all older entries at its first snapshot.
    pub(crate) async fn keep_compact(self) {
        let compaction = self.inner.compaction.clone();
        let mut made = Instant::now();
        loop {
            sleep(compaction.every).await;
            if !self.is_due(&compaction, made) {
                continue;
            }
            match self.take_snapshot(true).await {
                Ok(_) => made = Instant::now(),
                Err(AdminError::Stopped(_)) => return,
                Err(error) => {
                    tracing::warn!(%error, "failed to take a snapshot");
                    if matches!(error, AdminError::Refused(_)) {
                        sleep(WHEN_SHORT).await;
                    }
                }
            }
        }
    }

    fn is_due(&self, compaction: &CompactionOptions, made: Instant) -> bool {
        let status = self.inner.cluster.status();
        let since = status.applied_index.saturating_sub(status.snapshot_index);
        if since >= compaction.entries || (since > 0 && made.elapsed() >= compaction.age) {
            return true;
        }
        if self.inner.volume.own().level != VolumeLevel::Enough && since > 0 && made.elapsed() >= WHEN_SHORT {
            return true;
        }
        // Entries that must be kept, or are all in one segment, must not make the log count as too large forever.
        let extents = self.inner.log.extents();
        bytes_of(&extents) >= compaction.bytes && self.releasable(status.applied_index) > status.purged_index
    }

    /// Returns the index up to which the log can be purged once a checkpoint covers everything up to `last`.
    fn releasable(&self, last: u64) -> u64 {
        let CompactionOptions { bytes, keep_entries, .. } = self.inner.compaction;
        let extents = self.inner.log.extents();
        let size = bytes_of(&extents);
        let by_bytes = if size >= bytes { before_last_bytes(&extents, bytes / 2) } else { 0 };
        let wanted = last.saturating_sub(keep_entries).max(by_bytes).min(last);
        // A follower that is away permanently, or never completes an installation, must not fill this volume.
        let holds = size < bytes.saturating_mul(HELD_TIMES) && self.inner.volume.own().level == VolumeLevel::Enough;
        match self.inner.holds.least().filter(|_| holds) {
            Some(held) => wanted.min(held),
            None => wanted,
        }
    }

    /// Checks that there is space for a checkpoint, which is a flush and some small files. On a volume that is almost
    /// full, the flush would fail, and stop the process.
    fn has_space_for_snapshot(&self) -> Result<(), AdminError> {
        let space = self.inner.volume.space();
        let needed = VolumeSizes::to_start(space.total);
        if space.total == 0 || space.free >= needed {
            return Ok(());
        }
        Err(AdminError::Refused(format!(
            "the volume has {} bytes left, but a snapshot needs {needed}: enlarge the volume, or free space on it",
            space.free
        )))
    }
}

fn bytes_of(extents: &[LogExtent]) -> u64 {
    extents.iter().map(|extent| extent.bytes).sum()
}

/// Returns the last index before the newest segments that together have at most this many bytes; the newest segment is
/// always kept.
fn before_last_bytes(extents: &[LogExtent], bytes: u64) -> u64 {
    let mut kept = 0_u64;
    let mut first = None;
    for extent in extents.iter().rev() {
        kept = kept.saturating_add(extent.bytes);
        if first.is_some() && kept > bytes {
            break;
        }
        first = Some(extent.first);
    }
    first.unwrap_or(0).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_segments_stay_as_far_as_the_bytes_reach() {
        let extents: Vec<_> = [1, 100, 250, 400].map(|first| LogExtent { first, bytes: 10 }).to_vec();
        assert_eq!(before_last_bytes(&extents, 0), 399, "the newest stays");
        assert_eq!(before_last_bytes(&extents, 20), 249);
        assert_eq!(before_last_bytes(&extents, 29), 249);
        assert_eq!(before_last_bytes(&extents, 1000), 0);
        assert_eq!(before_last_bytes(&[], 5), 0);
    }
}
