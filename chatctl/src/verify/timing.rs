//! Gaps, rates and latencies from the times of acknowledgements: pure functions.

use super::history::{IssuedMessage, MessageOutcome};
use serde::Serialize;

/// Length in microseconds up to which a gap is ordinary; longer ones are listed.
pub const LISTED_ABOVE_US: u64 = 100_000;
/// Maximum number of gaps that are listed, because at rates below ten per second every pause is one. The longest are
/// kept.
const MOST_LISTED: usize = 1000;

/// Period without any acknowledgement, over all writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckGap {
    /// Start of the gap in microseconds since the start of the run.
    pub start_us: u64,
    /// Length of the gap in microseconds.
    pub length_us: u64,
}

/// Latency of acknowledgements, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct AckLatency {
    /// Median: half of them took at most this long.
    pub p50: f64,
    /// 99th percentile: 99 of 100 took at most this long.
    pub p99: f64,
    /// Maximum, with all retries.
    pub max: f64,
}

/// Returns the times of all acknowledgements in ascending order.
#[must_use]
pub fn acknowledgement_times(messages: &[IssuedMessage]) -> Vec<u64> {
    let mut times: Vec<u64> = messages.iter().filter_map(acknowledged_at).collect();
    times.sort_unstable();
    times
}

fn acknowledged_at(message: &IssuedMessage) -> Option<u64> {
    match message.fate {
        MessageOutcome::Acknowledged { at_us, .. } => Some(at_us),
        MessageOutcome::Refused | MessageOutcome::Unknown => None,
    }
}

/// Returns the gaps of a load that ran from `start` to `end`, in their order. The time until the first acknowledgement
/// counts. Past the end there is no load, so silence there says nothing, unless it had begun well before: then it lasts
/// until the next acknowledgement, or until `drained`, when the wait for one was given up.
#[must_use]
pub fn find_gaps(times: &[u64], start: u64, end: u64, drained: u64) -> Vec<AckGap> {
    let mut gaps = Vec::new();
    let mut last = start;
    let mut push = |from: u64, to: u64| {
        let length_us = to.saturating_sub(from);
        if length_us > 0 {
            gaps.push(AckGap { start_us: from, length_us });
        }
    };
    for time in times.iter().copied().filter(|time| *time <= end) {
        push(last, time);
        last = time;
    }
    let next = times.iter().copied().find(|time| *time > end);
    let stalled = end.saturating_sub(last) > LISTED_ABOVE_US;
    push(last, if stalled { next.unwrap_or(drained).max(end) } else { end });
    gaps
}

/// Returns the longest gap; `None` if there is no gap.
#[must_use]
pub fn longest_gap(gaps: &[AckGap]) -> Option<AckGap> {
    gaps.iter().copied().max_by_key(|gap| gap.length_us)
}

/// Returns the gaps worth listing, in the order of time.
#[must_use]
pub fn listed_gaps(gaps: &[AckGap]) -> Vec<AckGap> {
    let mut listed: Vec<AckGap> = gaps.iter().copied().filter(|gap| gap.length_us > LISTED_ABOVE_US).collect();
    listed.sort_unstable_by_key(|gap| std::cmp::Reverse(gap.length_us));
    listed.truncate(MOST_LISTED);
    listed.sort_unstable_by_key(|gap| gap.start_us);
    listed
}

/// Counts the acknowledgements in each second from `start` to `end`.
#[must_use]
pub fn per_second(times: &[u64], start: u64, end: u64) -> Vec<u64> {
    // Rounded: a load of ten seconds ends some microseconds after the tenth.
    let seconds = (end.saturating_sub(start) + 500_000) / 1_000_000;
    let mut counts = vec![0; usize::try_from(seconds).unwrap_or(0)];
    for time in times {
        let second = usize::try_from(time.saturating_sub(start) / 1_000_000).unwrap_or(usize::MAX);
        if let Some(count) = counts.get_mut(second) {
            *count += 1;
        }
    }
    counts
}

/// Computes the latency from issue to acknowledgement.
#[must_use]
pub fn ack_latency(messages: &[IssuedMessage]) -> AckLatency {
    let taken = |message: &IssuedMessage| acknowledged_at(message).map(|at| at.saturating_sub(message.invoked_us));
    let mut all: Vec<u64> = messages.iter().filter_map(taken).collect();
    all.sort_unstable();
    let at = |share: usize| {
        let rank = (all.len() * share).div_ceil(100).saturating_sub(1);
        // Rounded to a microsecond, as they were measured: binary fractions would show more digits than there are.
        all.get(rank).map_or(0.0, |us| (to_milliseconds(*us) * 1000.0).round() / 1000.0)
    };
    AckLatency { p50: at(50), p99: at(99), max: at(100) }
}

/// Converts microseconds to milliseconds.
#[must_use]
pub fn to_milliseconds(us: u64) -> f64 {
    std::time::Duration::from_micros(us).as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{position::EventPosition, verify::history::MessageId};

    fn gap(start_us: u64, length_us: u64) -> AckGap {
        AckGap { start_us, length_us }
    }

    #[test]
    fn gaps_lie_between_acknowledgements_and_at_both_ends() {
        let found = find_gaps(&[200_000, 250_000, 900_000], 100_000, 950_000, 2_000_000);
        assert_eq!(found, [gap(100_000, 100_000), gap(200_000, 50_000), gap(250_000, 650_000), gap(900_000, 50_000)]);
        assert_eq!(longest_gap(&found), Some(gap(250_000, 650_000)));
        assert_eq!(listed_gaps(&found), [gap(250_000, 650_000)]);
    }

    #[test]
    fn a_stall_that_outlasts_the_load_is_counted_to_its_end() {
        assert_eq!(longest_gap(&find_gaps(&[0, 1_500_000], 0, 1_000_000, 9_000_000)), Some(gap(0, 1_500_000)));
        assert_eq!(longest_gap(&find_gaps(&[], 0, 1_000_000, 9_000_000)), Some(gap(0, 9_000_000)));
    }

    #[test]
    fn an_ordinary_straggler_after_the_load_is_not_a_gap() {
        assert_eq!(
            longest_gap(&find_gaps(&[960_000, 1_500_000], 900_000, 1_000_000, 2_000_000)),
            Some(gap(900_000, 60_000))
        );
    }

    #[test]
    fn seconds_are_counted_from_the_start_of_the_load() {
        assert_eq!(per_second(&[500_000, 1_400_000, 1_600_000, 9_000_000], 500_000, 2_600_000), [2, 1]);
    }

    #[test]
    fn percentiles_are_taken_from_acknowledged_messages_only() {
        let mut messages: Vec<IssuedMessage> = (1..=100)
            .map(|n| IssuedMessage {
                id: MessageId { writer: 0, seq: n },
                room: 0,
                invoked_us: 0,
                fate: MessageOutcome::Acknowledged {
                    at_us: u64::from(n) * 1000,
                    position: EventPosition::default(),
                    event_id: "".into(),
                },
            })
            .collect();
        messages.push(IssuedMessage { fate: MessageOutcome::Unknown, ..messages[0].clone() });
        assert_eq!(ack_latency(&messages), AckLatency { p50: 50.0, p99: 99.0, max: 100.0 });
        assert_eq!(ack_latency(&[]), AckLatency::default());
    }
}
