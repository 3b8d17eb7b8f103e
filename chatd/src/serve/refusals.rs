//! Log lines about bursts of refused requests: one when a burst begins, one each minute while it lasts, one when it is
//! over. Counters are sampled, so that a refusal itself costs nothing here; the metrics have every one.

use crate::metrics::Metrics;
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
struct Kind {
    /// API: `grpc` or `matrix` for calls, `writes` for proposals of either, including events posted over streams.
    place: String,
    code: String,
}

/// Number of refusals up to one moment, by group and endpoint.
type Counts = BTreeMap<(Kind, String), u64>;

struct Burst {
    count: u64,
    began: Instant,
    told: Instant,
}

/// Log line about a burst.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Began { kind: Kind, mostly: String, count: u64 },
    Lasts { kind: Kind, mostly: String, count: u64, seconds: u64 },
    Over { kind: Kind, count: u64, seconds: u64 },
}

/// Samples and logs for as long as the process lives.
pub(super) async fn tell(metrics: Metrics) {
    let mut bursts = Bursts { last: counts(&metrics), under_way: BTreeMap::new() };
    loop {
        tokio::time::sleep(EVERY).await;
        for line in bursts.look(counts(&metrics), Instant::now()) {
            line.log();
        }
    }
}

struct Bursts {
    last: Counts,
    under_way: BTreeMap<Kind, Burst>,
}

impl Bursts {
    fn look(&mut self, counts: Counts, now: Instant) -> Vec<Line> {
        let mut news: BTreeMap<Kind, BTreeMap<String, u64>> = BTreeMap::new();
        for ((kind, endpoint), count) in &counts {
            let before = self.last.get(&(kind.clone(), endpoint.clone())).copied().unwrap_or_default();
            let fresh = count.saturating_sub(before);
            if fresh > 0 {
                news.entry(kind.clone()).or_default().insert(endpoint.clone(), fresh);
            }
        }
        self.last = counts;
        let quiet: Vec<Kind> = self.under_way.keys().filter(|kind| !news.contains_key(kind)).cloned().collect();
        let all = news.into_iter().chain(quiet.into_iter().map(|kind| (kind, BTreeMap::new())));
        all.filter_map(|(kind, fresh)| self.line(kind, &fresh, now)).collect()
    }

    fn line(&mut self, kind: Kind, fresh: &BTreeMap<String, u64>, now: Instant) -> Option<Line> {
        let count: u64 = fresh.values().sum();
        let most = fresh.iter().max_by_key(|(_, count)| **count);
        let mostly = most.map(|(endpoint, _)| endpoint.clone()).unwrap_or_default();
        let Some(burst) = self.under_way.get_mut(&kind) else {
            if count < BURST {
                return None;
            }
            self.under_way.insert(kind.clone(), Burst { count, began: now, told: now });
            return Some(Line::Began { kind, mostly, count });
        };
        burst.count += count;
        let (count_so_far, seconds) = (burst.count, now.duration_since(burst.began).as_secs());
        if count < CALM {
            self.under_way.remove(&kind);
            return Some(Line::Over { kind, count: count_so_far, seconds });
        }
        if now.duration_since(burst.told) < AGAIN {
            return None;
        }
        burst.told = now;
        Some(Line::Lasts { kind, mostly, count: count_so_far, seconds })
    }
}

impl Line {
    fn log(self) {
        match self {
            Self::Began { kind: Kind { place, code }, mostly, count } if OURS.contains(&code.as_str()) => {
                tracing::warn!(place, code, mostly, count, "requests are being refused");
            }
            Self::Began { kind: Kind { place, code }, mostly, count } => {
                tracing::info!(place, code, mostly, count, "requests are being refused");
            }
            Self::Lasts { kind: Kind { place, code }, mostly, count, seconds } => {
                tracing::info!(place, code, mostly, count, seconds, "requests are still being refused");
            }
            Self::Over { kind: Kind { place, code }, count, seconds } => {
                tracing::info!(place, code, count, seconds, "requests are no longer being refused");
            }
        }
    }
}

/// Returns all refusals so far. Calls that were answered, or cancelled by their clients, are not refusals.
fn counts(metrics: &Metrics) -> Counts {
    let mut counts = series(&metrics.all.doors.requests, &["door", "code", "endpoint"]);
    counts.extend(series(&metrics.all.proposals.ended, &["", "outcome", ""]));
    let answered = ["ok", "cancelled", ProposeResult::Applied.label()];
    // Outcomes of proposals are present from the start, with a count of 0.
    counts.retain(|(kind, _), count| *count > 0 && !answered.contains(&kind.code.as_str()));
    counts
}

/// Returns the series of a counter, by the values of the labels given for place, code and endpoint.
fn series(counter: &IntCounterVec, [place, code, endpoint]: &[&str; 3]) -> Counts {
    let mut counts = Counts::new();
    for metric in counter.collect().iter().flat_map(MetricFamily::get_metric) {
        let label = |name: &str| {
            let found = metric.get_label().iter().find(|label| label.name() == name);
            found.map(|label| label.value().to_owned())
        };
        let kind =
            Kind { place: label(place).unwrap_or_else(|| "writes".into()), code: label(code).unwrap_or_default() };
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
    use crate::metrics::Door;
    use crate::raft::propose::ProposeObserver as _;
    use crate::service::{Code, Refusal};

    fn kind(code: &str) -> Kind {
        Kind { place: "grpc".into(), code: code.into() }
    }

    fn count(code: &str, count: u64) -> Counts {
        Counts::from([((kind(code), "Send".to_owned()), count)])
    }

    #[test]
    fn a_burst_is_told_when_it_begins_once_a_minute_and_with_its_sum_when_it_is_over() {
        let (start, mut total) = (Instant::now(), 0);
        let mut bursts = Bursts { last: Counts::new(), under_way: BTreeMap::new() };
        let mut look = |second: u64, fresh: u64| {
            total += fresh;
            bursts.look(count("forbidden", total), start + Duration::from_secs(second))
        };
        assert_eq!(look(0, 9), [], "everyday life");
        let began = Line::Began { kind: kind("forbidden"), mostly: "Send".into(), count: 100 };
        assert_eq!(look(5, 100), [began]);
        let lines: Vec<Line> = (2..20).flat_map(|n| look(n * 5, 100)).collect();
        let lasts = Line::Lasts { kind: kind("forbidden"), mostly: "Send".into(), count: 1300, seconds: 60 };
        assert_eq!(lines, [lasts]);
        assert_eq!(look(100, 0), [Line::Over { kind: kind("forbidden"), count: 1900, seconds: 95 }]);
        assert_eq!(look(105, 0), []);
    }

    #[tokio::test]
    async fn calls_and_writes_that_were_refused_are_counted_and_no_others() {
        let metrics = Metrics::new().unwrap();
        let refuse = || async { Err::<(), _>(Refusal::new(Code::Forbidden, "no")) };
        metrics.door(Door::Grpc, "Send").run(refuse()).await.unwrap_err();
        metrics.door(Door::Grpc, "Send").run::<(), Refusal>(async { Ok(()) }).await.unwrap();
        metrics.settled(ProposeResult::RateLimited, Duration::ZERO);
        metrics.settled(ProposeResult::Applied, Duration::ZERO);
        let writes = Kind { place: "writes".into(), code: "rate_limited".into() };
        let expected = [((kind("forbidden"), "Send".to_owned()), 1), ((writes, String::new()), 1)];
        assert_eq!(counts(&metrics), Counts::from(expected));
    }
}
