//! The clock that stamps entries, and why a pod whose clock is off does not lead.
//!
//! Sessions, retention and `origin_server_ts` go by the time in the log, which only rises: minutes that a wrong clock puts
//! in stay. So each peer tells its time with every append stream it accepts (twenty a second), and a leader that a
//! majority contradicts, with one voice, hands over.

use super::{
    membership::{AdminError, Administration},
    network::Peers,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::sleep;

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The machine's.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Metadata of an accepted append stream: the receiver's time, in milliseconds.
pub(crate) const TIME_KEY: &str = "quorate-time-ms";
/// Off by more than this is wrong; machines with a time service differ by milliseconds, and the network adds some.
const TOLERANCE_MS: i64 = 30_000;
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After a hand-over that failed: the others are not there yet.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
const TRANSFER_LIMIT: Duration = Duration::from_secs(2);

/// Voters whose clocks agree with each other and contradict this node's, if they are a majority: then this clock is
/// the wrong one. `offsets` are the others', minus this one's.
fn contradicted_by(offsets: &[(u64, i64)], voters: usize) -> Option<Vec<u64>> {
    let majority = voters / 2 + 1;
    let mut far: Vec<_> = offsets.iter().copied().filter(|(_, offset)| offset.abs() > TOLERANCE_MS).collect();
    far.sort_unstable_by_key(|(_, offset)| *offset);
    let agreeing = far.windows(majority).find(|group| match (group.first(), group.last()) {
        (Some((_, low)), Some((_, high))) => high - low <= TOLERANCE_MS,
        _ => false,
    });
    agreeing.map(|group| group.iter().map(|(id, _)| *id).collect())
}

/// Runs as long as the node.
pub(crate) async fn keep_time(administration: Administration, peers: Peers) {
    loop {
        sleep(LOOK_EVERY).await;
        let status = administration.cluster().status();
        if !status.leads() {
            continue;
        }
        let voters = status.membership.voters();
        let offsets: Vec<_> =
            voters.iter().filter_map(|id| peers.clock_offset(*id).map(|offset| (*id, offset))).collect();
        let Some(right) = contradicted_by(&offsets, voters.len()) else { continue };
        tracing::error!(?offsets, "this pod's clock contradicts the majority's; it hands leadership over");
        if !hand_over(&administration, &right).await {
            sleep(AFTER_FAILURE).await;
        }
    }
}

async fn hand_over(administration: &Administration, to: &[u64]) -> bool {
    for id in to {
        match administration.transfer_leader(Some(*id), TRANSFER_LIMIT).await {
            Ok(_) | Err(AdminError::NotLeader { .. }) => return true,
            Err(error) => tracing::warn!(to = id, %error, "leadership stays with a pod whose clock is off"),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: i64 = 600_000;

    #[test]
    fn only_a_majority_that_agrees_contradicts_a_clock() {
        assert_eq!(contradicted_by(&[(1, OFF), (2, OFF + 900)], 3), Some(vec![1, 2]));
        assert_eq!(contradicted_by(&[(1, OFF), (2, 20)], 3), None, "the other one is off");
        assert_eq!(contradicted_by(&[(1, OFF)], 3), None, "one against one");
        assert_eq!(contradicted_by(&[(1, OFF), (2, -OFF)], 3), None, "three clocks, three times");
        assert_eq!(contradicted_by(&[(1, 5), (2, -5)], 3), None);
        assert_eq!(contradicted_by(&[], 1), None);
    }
}
