//! Log lines about bursts of refused requests: one when a burst begins, one each minute while it lasts, one when it is
//! over. Counters are sampled, so that a refusal itself costs nothing here; the metrics have every one.

use crate::metrics::ChatMetrics;
use crate::raft::propose::ProposeResult;
use quorate_meter::{Collector as _, IntCounterVec, MetricFamily};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(5);
/// Number of refusals within one interval that makes a burst. Fewer are normal: mistyped passwords, names that are
/// taken.
const BURST: u64 = 10;
/// Number of refusals within one interval below which a burst is over.
const CALM: u64 = 2;
/// Time after which a burst that lasts is logged again.
const AGAIN: Duration = Duration::from_secs(60);
/// Codes of refusals that are the fault of the servers, not of callers. Bursts of them are logged as warnings.
const OURS: &[&str] = &["unavailable", "overloaded", "internal", "no_leader", "unknown", "storage_full"];

/// Group of refusals: API and code. Both are constants of the program and never come from requests, so groups are few.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RefusalGroup {
    /// API: `grpc` or `matrix` for calls, `writes` for proposals of either, including events posted over streams.
    place: String,
    code: String,
}

/// Number of refusals up to one moment, by group and endpoint.
type RefusalCounts = BTreeMap<(RefusalGroup, String), u64>;

struct RefusalBurst {
    count: u64,
    began: Instant,
    told: Instant,
}

/// Log line about a burst.
#[derive(Clone, Debug, PartialEq, Eq)]
enum BurstLine {
    Began { kind: RefusalGroup, mostly: String, count: u64 },
    Lasts { kind: RefusalGroup, mostly: String, count: u64, seconds: u64 },
    Over { kind: RefusalGroup, count: u64, seconds: u64 },
}

/// Samples and logs for as long as the process lives.
pub(super) async fn log_bursts(metrics: ChatMetrics) {
    let mut bursts = BurstTracker { last: count_refusals(&metrics), under_way: BTreeMap::new() };
    loop {
        tokio::time::sleep(EVERY).await;
        for line in bursts.look(count_refusals(&metrics), Instant::now()) {
            line.log();
        }
    }
}

struct BurstTracker {
    last: RefusalCounts,
    under_way: BTreeMap<RefusalGroup, RefusalBurst>,
}

impl BurstTracker {
    fn look(&mut self, counts: RefusalCounts, now: Instant) -> Vec<BurstLine> {
        let mut news: BTreeMap<RefusalGroup, BTreeMap<String, u64>> = BTreeMap::new();
        for ((kind, endpoint), count) in &counts {
            let before = self.last.get(&(kind.clone(), endpoint.clone())).copied().unwrap_or_default();
            let fresh = count.saturating_sub(before);
            if fresh > 0 {
                news.entry(kind.clone()).or_default().insert(endpoint.clone(), fresh);
            }
        }
        self.last = counts;
        let quiet: Vec<RefusalGroup> = self.under_way.keys().filter(|kind| !news.contains_key(kind)).cloned().collect();
        let all = news.into_iter().chain(quiet.into_iter().map(|kind| (kind, BTreeMap::new())));
        all.filter_map(|(kind, fresh)| self.line(kind, &fresh, now)).collect()
    }

    fn line(&mut self, kind: RefusalGroup, fresh: &BTreeMap<String, u64>, now: Instant) -> Option<BurstLine> {
        let count: u64 = fresh.values().sum();
        let most = fresh.iter().max_by_key(|(_, count)| **count);
        let mostly = most.map(|(endpoint, _)| endpoint.clone()).unwrap_or_default();
        let Some(burst) = self.under_way.get_mut(&kind) else {
            if count < BURST {
                return None;
            }
            self.under_way.insert(kind.clone(), RefusalBurst { count, began: now, told: now });
            return Some(BurstLine::Began { kind, mostly, count });
        };
        burst.count += count;
        let count_so_far = burst.count;
        let seconds = now.duration_since(burst.began).as_secs();
        if count < CALM {
            self.under_way.remove(&kind);
            return Some(BurstLine::Over { kind, count: count_so_far, seconds });
        }
        if now.duration_since(burst.told) < AGAIN {
            return None;
        }
        burst.told = now;
        Some(BurstLine::Lasts { kind, mostly, count: count_so_far, seconds })
    }
}

impl BurstLine {
    fn log(self) {
        match self {
            Self::Began { kind: RefusalGroup { place, code }, mostly, count } if OURS.contains(&code.as_str()) => {
                tracing::warn!(place, code, mostly, count, "requests are being refused");
            }
            Self::Began { kind: RefusalGroup { place, code }, mostly, count } => {
                tracing::info!(place, code, mostly, count, "requests are being refused");
            }
            Self::Lasts { kind: RefusalGroup { place, code }, mostly, count, seconds } => {
                tracing::info!(place, code, mostly, count, seconds, "requests are still being refused");
            }
            Self::Over { kind: RefusalGroup { place, code }, count, seconds } => {
                tracing::info!(place, code, count, seconds, "requests are no longer being refused");
            }
        }
    }
}

/// Returns all refusals so far. Calls that were answered, or cancelled by their clients, are not refusals.
fn count_refusals(metrics: &ChatMetrics) -> RefusalCounts {
    let mut counts = counter_series(&metrics.all.listeners.requests, &["api", "code", "endpoint"]);
    counts.extend(counter_series(&metrics.all.proposals.ended, &["", "outcome", ""]));
    let answered = ["ok", "cancelled", ProposeResult::Applied.label()];
    // Outcomes of proposals are present from the start, with a count of 0.
    counts.retain(|(kind, _), count| *count > 0 && !answered.contains(&kind.code.as_str()));
    counts
}

/// Returns the series of a counter, by the values of the labels given for place, code and endpoint.
fn counter_series(counter: &IntCounterVec, [place, code, endpoint]: &[&str; 3]) -> RefusalCounts {
    let mut counts = RefusalCounts::new();
    for metric in counter.collect().iter().flat_map(MetricFamily::get_metric) {
        let label = |name: &str| {
            let found = metric.get_label().iter().find(|label| label.name() == name);
            found.map(|label| label.value().to_owned())
        };
        let kind = RefusalGroup {
            place: label(place).unwrap_or_else(|| "writes".into()),
            code: label(code).unwrap_or_default(),
        };
        // The counter holds whole numbers below 2^53.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = metric.get_counter().get_value() as u64;
        *counts.entry((kind, label(endpoint).unwrap_or_default())).or_default() += count;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ClientApi;
    use crate::raft::propose::ProposeObserver as _;
    use crate::service::{RefusalCode, RequestRefusal};

    fn kind(code: &str) -> RefusalGroup {
        RefusalGroup { place: "grpc".into(), code: code.into() }
    }

    fn count(code: &str, count: u64) -> RefusalCounts {
        RefusalCounts::from([((kind(code), "Send".to_owned()), count)])
    }

    #[test]
    fn a_burst_is_told_when_it_begins_once_a_minute_and_with_its_sum_when_it_is_over() {
        let (start, mut total) = (Instant::now(), 0);
        let mut bursts = BurstTracker { last: RefusalCounts::new(), under_way: BTreeMap::new() };
        let mut look = |second: u64, fresh: u64| {
            total += fresh;
            bursts.look(count("forbidden", total), start + Duration::from_secs(second))
        };
        assert_eq!(look(0, 9), [], "everyday life");
        let began = BurstLine::Began { kind: kind("forbidden"), mostly: "Send".into(), count: 100 };
        assert_eq!(look(5, 100), [began]);
        let lines: Vec<BurstLine> = (2..20).flat_map(|n| look(n * 5, 100)).collect();
        let lasts = BurstLine::Lasts { kind: kind("forbidden"), mostly: "Send".into(), count: 1300, seconds: 60 };
        assert_eq!(lines, [lasts]);
        assert_eq!(look(100, 0), [BurstLine::Over { kind: kind("forbidden"), count: 1900, seconds: 95 }]);
        assert_eq!(look(105, 0), []);
    }

    #[tokio::test]
    async fn calls_and_writes_that_were_refused_are_counted_and_no_others() {
        let metrics = ChatMetrics::new().unwrap();
        let refuse = || async { Err::<(), _>(RequestRefusal::new(RefusalCode::Forbidden, "no")) };
        metrics.call(ClientApi::Grpc, "Send").run(refuse()).await.unwrap_err();
        metrics.call(ClientApi::Grpc, "Send").run::<(), RequestRefusal>(async { Ok(()) }).await.unwrap();
        metrics.settled(ProposeResult::RateLimited, Duration::ZERO);
        metrics.settled(ProposeResult::Applied, Duration::ZERO);
        let writes = RefusalGroup { place: "writes".into(), code: "rate_limited".into() };
        let expected = [((kind("forbidden"), "Send".to_owned()), 1), ((writes, String::new()), 1)];
        assert_eq!(count_refusals(&metrics), RefusalCounts::from(expected));
    }
}
