//! Decides which calls are traced.

use super::wire;
use crate::config::Ratio;
use http::HeaderMap;
use opentelemetry::trace::SpanContext;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Limit on calls that are traced because their callers say so. The client APIs face anyone: a caller who asks for
/// every call to be traced must not be able to make this pod, and its receiver, pay for it.
const ASKED: CallLimit = CallLimit { calls: 100, each: Duration::from_secs(1) };
/// Limit on calls that are traced by chance, spread over the second. With tens of thousands of posts a second nearly
/// every log entry would hold one in a hundred of them, and every entry would have spans; more than these tell nothing
/// more.
const CHANCE: CallLimit = CallLimit { calls: 10, each: Duration::from_millis(100) };

/// Trace context that a caller sends with its call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum TraceRequest {
    /// No context was sent.
    #[default]
    Nothing,
    /// The call is part of a trace that is not sampled.
    Not,
    /// The call is part of this sampled trace.
    Yes(SpanContext),
}

impl TraceRequest {
    /// Reads what the caller asks for from the headers.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if super::active_tracing().is_none() || !headers.contains_key(wire::PARENT) {
            return Self::Nothing;
        }
        match wire::from_headers(headers) {
            None => Self::Nothing,
            Some(context) if context.is_sampled() => Self::Yes(context),
            Some(_) => Self::Not,
        }
    }
}

/// Decision that a call is to be traced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SampleDecision {
    /// The call begins a trace of its own.
    Anew,
    /// The call is part of its caller's trace.
    Within(SpanContext),
}

/// Sampler of calls, by the caller's wish and by chance.
pub(super) struct CallSampler {
    ratio: Ratio,
    asked: CallBudget,
    chance: CallBudget,
}

impl CallSampler {
    pub(super) fn new(ratio: Ratio) -> Self {
        Self { ratio, asked: CallBudget::of(ASKED), chance: CallBudget::of(CHANCE) }
    }

    pub(super) fn decide(&self, asked: &TraceRequest) -> Option<SampleDecision> {
        match asked {
            TraceRequest::Not => None,
            TraceRequest::Nothing => self.by_chance().then_some(SampleDecision::Anew),
            TraceRequest::Yes(context) if self.asked.spend() || self.by_chance() => {
                Some(SampleDecision::Within(context.clone()))
            }
            TraceRequest::Yes(_) => None,
        }
    }

    fn by_chance(&self) -> bool {
        self.ratio.holds(rand::random()) && self.chance.spend()
    }
}

/// Maximum number of calls in each interval.
#[derive(Clone, Copy)]
struct CallLimit {
    calls: u32,
    each: Duration,
}

/// Rest of a bound in the current interval.
struct CallBudget {
    bound: CallLimit,
    began: Instant,
    /// Interval and number of calls in it, 32 bits each.
    spent: AtomicU64,
}

impl CallBudget {
    fn of(bound: CallLimit) -> Self {
        Self { bound, began: Instant::now(), spent: AtomicU64::new(0) }
    }

    fn spend(&self) -> bool {
        let interval = self.began.elapsed().as_millis() / self.bound.each.as_millis();
        // 32 bits of intervals last for thirteen years; then nothing more is granted.
        self.spend_in(u32::try_from(interval).unwrap_or(u32::MAX))
    }

    fn spend_in(&self, interval: u32) -> bool {
        let interval = u64::from(interval);
        let next = |last: u64| {
            if last >> 32 != interval {
                Some(interval << 32 | 1)
            } else if last as u32 >= self.bound.calls {
                None
            } else {
                Some(last + 1)
            }
        };
        self.spent.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    fn asked() -> TraceRequest {
        let (trace, span) = (TraceId::from(7), SpanId::from(8));
        TraceRequest::Yes(SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE))
    }

    #[test]
    fn a_caller_decides_over_the_ratio() {
        let (none, all) = (CallSampler::new(Ratio::default()), CallSampler::new(Ratio::ALL));
        assert!(matches!(none.decide(&asked()), Some(SampleDecision::Within(_))));
        assert_eq!(none.decide(&TraceRequest::Nothing), None);
        assert_eq!(all.decide(&TraceRequest::Nothing), Some(SampleDecision::Anew));
        assert_eq!(all.decide(&TraceRequest::Not), None);
    }

    #[test]
    fn callers_can_ask_for_so_many_in_a_second() {
        let sampler = CallSampler::new(Ratio::default());
        let granted = |second| (0..1000).filter(|_| sampler.asked.spend_in(second)).count();
        assert_eq!((granted(0), granted(0), granted(3)), (100, 0, 100));
    }

    #[test]
    fn chance_has_a_bound_too() {
        let sampler = CallSampler::new(Ratio::ALL);
        let began = Instant::now();
        let traced = (0..10_000).filter(|_| sampler.decide(&TraceRequest::Nothing).is_some()).count();
        let intervals = began.elapsed().as_millis() / CHANCE.each.as_millis() + 2;
        assert!((10..=10 * usize::try_from(intervals).unwrap()).contains(&traced), "{traced}");
    }
}
