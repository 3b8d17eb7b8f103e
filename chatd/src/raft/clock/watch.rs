//! Acts on the verdict about this node's clock, and logs one line whenever the verdict changes.

use super::{ClockVerdict, TimeStatus, Timekeeper};
use crate::raft::{
    leadership::Leadership,
    membership::{AdminError, ClusterAdmin},
};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Interval of checks; a change of leadership is acted on at once. A leader whose clock is contradicted refuses writes
/// until another node has taken over.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Pause after a failed leadership transfer: the targets are not available yet.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
const TRANSFER_LIMIT: Duration = Duration::from_secs(2);

/// Conditions that were logged last.
#[derive(Debug, Default, PartialEq, Eq)]
struct LoggedConditions {
    wrong: bool,
    disputed: bool,
    log_ahead: bool,
}

/// Checks the clock for as long as the node runs.
pub(in crate::raft) async fn keep_time(administration: ClusterAdmin, time: Timekeeper, mut leadership: Leadership) {
    let mut told = LoggedConditions::default();
    loop {
        let verdict = leadership.is_leader().then(|| time.verdict());
        // Records the leader's time: a single voter sends it to nobody, and its own reads use it, too.
        if verdict == Some(ClockVerdict::Confirmed) {
            time.stamp();
        }
        told.tell(&time.status(), verdict.as_ref(), time.clock_ms());
        if let Some(ClockVerdict::Contradicted { right, .. }) = &verdict
            && administration.cluster().status().leads()
            && !hand_over(&administration, right).await
        {
            sleep(AFTER_FAILURE).await;
        }
        if let Ok(false) = timeout(LOOK_EVERY, leadership.changed()).await {
            return;
        }
    }
}

async fn hand_over(administration: &ClusterAdmin, to: &[u64]) -> bool {
    tracing::error!(?to, "other voters contradict this pod's clock; it hands leadership over and stamps no time");
    for id in to {
        match administration.transfer_leader(Some(*id), TRANSFER_LIMIT).await {
            Ok(_) | Err(AdminError::NotLeader { .. }) => return true,
            Err(error) => {
                tracing::warn!(to = id, %error, "failed to hand leadership over; this leader's clock is wrong")
            }
        }
    }
    false
}

impl LoggedConditions {
    fn tell(&mut self, status: &TimeStatus, verdict: Option<&ClockVerdict>, clock_ms: u64) {
        let wrong_by = status.wrong_by();
        match wrong_by {
            Some(offset_ms) if !self.wrong => tracing::error!(
                clock_ms,
                offset_ms,
                "this pod's clock is wrong: it is {}; correct it",
                off_by(offset_ms)
            ),
            None if self.wrong => tracing::info!("this pod's clock is right again"),
            _ => {}
        }
        let disputed = match verdict {
            Some(ClockVerdict::Disputed) => true,
            // A moment without reports does not end a dispute.
            Some(ClockVerdict::Unheard) => self.disputed,
            _ => false,
        };
        if disputed && !self.disputed {
            tracing::error!(
                "the voters' clocks disagree, and it is unknown which is right: the log's time continues by itself, and no \
                 history is purged; correct the clocks"
            );
        }
        let log_ahead = status.log_ahead_ms > 0;
        if log_ahead && !self.log_ahead {
            tracing::error!(
                ahead_ms = status.log_ahead_ms,
                "the log's time is ahead of the clocks, because a wrong clock stamped it: see `chatctl cluster repair-time`"
            );
        }
        *self = Self { wrong: wrong_by.is_some(), disputed, log_ahead };
    }
}

/// Describes an offset in words, such as "400 days ahead of the cluster's time".
pub(in crate::raft) fn off_by(offset_ms: i64) -> String {
    let ms = offset_ms.unsigned_abs();
    let side = if offset_ms < 0 { "behind" } else { "ahead of" };
    let (unit_ms, unit) = match ms {
        0..120_000 => (1_000, "s"),
        120_000..7_200_000 => (60_000, "min"),
        7_200_000..172_800_000 => (3_600_000, "h"),
        _ => (86_400_000, "days"),
    };
    let amount = ms.saturating_add(unit_ms / 2) / unit_ms;
    format!("{amount} {unit} {side} the cluster's time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_told_in_words() {
        assert_eq!(off_by(400 * 86_400_000 - 7), "400 days ahead of the cluster's time");
        assert_eq!(off_by(-45_000), "45 s behind the cluster's time");
        assert_eq!(off_by(i64::MIN), "106751991167 days behind the cluster's time");
    }
}
