//! Judgement of all voters' volumes by the leader.

use super::{VolumeGauge, VolumeLevel, VolumeReport};
use crate::raft::{
    cluster::{ClusterMonitor, NodeStatus},
    network::PeerSet,
};
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};
use tokio::time::sleep;

/// Interval of judgements; what is appended in between is counted.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Judgements after which a report is certainly newer than what was appended: a volume is measured five times a second,
/// and reported with the next heartbeat.
const REPORT_AGE: usize = 8;

/// Result of judging the voters' reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VolumeVerdict {
    pub(super) level: VolumeLevel,
    /// Least headroom of the volumes that count, in bytes.
    pub(super) headroom: i64,
}

/// Judges the volumes. The worst one decides, because each entry is written on all of them. A volume that is exhausted
/// all the same is being filled by something else. While a majority has enough space, it does not count, as its pod is
/// not worth everybody's writes: the pod ends when its disk is full, and the others go on, as after any other loss of a
/// pod.
pub(super) fn judge_volumes(reports: &[VolumeReport], voters: usize) -> VolumeVerdict {
    let enough = reports.iter().filter(|report| report.level == VolumeLevel::Enough).count();
    let majority = enough > voters / 2;
    let counting = || reports.iter().filter(move |report| !majority || report.level != VolumeLevel::Exhausted);
    VolumeVerdict {
        level: counting().map(|report| report.level).max().unwrap_or_default(),
        headroom: counting().map(|report| report.headroom).min().unwrap_or(i64::MAX),
    }
}

/// Judges the volumes for as long as the node runs.
pub(crate) async fn keep_judging(gauge: VolumeGauge, cluster: ClusterMonitor, peers: PeerSet) {
    let mut told = VolumeLevel::Enough;
    let mut spent: VecDeque<u64> = VecDeque::with_capacity(REPORT_AGE);
    loop {
        let status = cluster.status();
        let leads = status.leads();
        let now = gauge.spent();
        let recent = now.saturating_sub(spent.front().copied().unwrap_or(0));
        if spent.len() == REPORT_AGE {
            spent.pop_front();
        }
        spent.push_back(now);
        gauge.judged(if leads { voters_verdict(&gauge, &status, &peers) } else { own_verdict(&gauge) }, recent);
        let level = if leads { gauge.level() } else { VolumeLevel::Enough };
        if level != told {
            log_change(level, &gauge, &status, &peers);
            told = level;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Returns the verdict on this pod's volume alone, which a pod that begins to lead uses until the others have reported.
fn own_verdict(gauge: &VolumeGauge) -> VolumeVerdict {
    let VolumeReport { level, headroom } = gauge.own();
    VolumeVerdict { level, headroom }
}

fn voters_verdict(gauge: &VolumeGauge, status: &NodeStatus, peers: &PeerSet) -> VolumeVerdict {
    let voters = all_voters(status);
    let reports: Vec<_> = voters.iter().filter_map(|id| voter_report(*id, gauge, status, peers)).collect();
    judge_volumes(&reports, voters.len())
}

/// Returns the voters; during a joint configuration, those of both sets.
fn all_voters(status: &NodeStatus) -> BTreeSet<u64> {
    status.membership.voter_sets.iter().flatten().copied().collect()
}

/// Returns the report of a voter; `None` if the voter is away, or of a version that does not report.
fn voter_report(id: u64, gauge: &VolumeGauge, status: &NodeStatus, peers: &PeerSet) -> Option<VolumeReport> {
    if id == status.node_id { Some(gauge.own()) } else { peers.volume(id) }
}

fn log_change(level: VolumeLevel, gauge: &VolumeGauge, status: &NodeStatus, peers: &PeerSet) {
    let short = all_voters(status)
        .into_iter()
        .filter(|id| voter_report(*id, gauge, status, peers).is_some_and(|report| report.level != VolumeLevel::Enough));
    let name = |id| status.membership.member(id).map_or_else(|| id.to_string(), |member| member.name.clone());
    let pods = short.map(name).collect::<Vec<_>>().join(", ");
    match level {
        VolumeLevel::Enough => tracing::info!("the volumes have space again: all writes are accepted"),
        VolumeLevel::Short => tracing::warn!(
            pods,
            "volumes are nearly full: user writes are refused; reading, deleting and administration continue; enlarge the \
             volumes, or purge history"
        ),
        VolumeLevel::Exhausted => tracing::error!(
            pods,
            "most of the reserve of the volumes is used: only purge-history is still accepted; enlarge the volumes"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use VolumeLevel::{Enough, Exhausted, Short};

    fn level(levels: &[VolumeLevel], voters: usize) -> VolumeLevel {
        let reports: Vec<_> = levels.iter().map(|level| VolumeReport { level: *level, headroom: 0 }).collect();
        judge_volumes(&reports, voters).level
    }

    #[test]
    fn the_worst_voter_decides_but_one_that_an_outsider_fills_costs_nobody_their_writes() {
        assert_eq!(level(&[Enough, Enough, Short], 3), Short);
        assert_eq!(level(&[Enough, Enough, Exhausted], 3), Enough, "a majority has space");
        assert_eq!(level(&[Enough, Short, Exhausted], 3), Exhausted, "no majority has space");
        assert_eq!(level(&[Enough, Exhausted], 3), Exhausted, "the third is away");
        assert_eq!(level(&[Enough, Enough], 3), Enough);
        assert_eq!(level(&[Exhausted], 1), Exhausted);
        assert_eq!(level(&[], 0), Enough);
    }

    #[test]
    fn the_least_headroom_of_those_that_count_is_what_may_be_written() {
        let report = |level, headroom| VolumeReport { level, headroom };
        let reports = [report(Enough, 50), report(Enough, 20), report(Exhausted, -80)];
        assert_eq!(judge_volumes(&reports, 3), VolumeVerdict { level: Enough, headroom: 20 });
    }
}
