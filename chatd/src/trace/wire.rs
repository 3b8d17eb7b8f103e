//! Trace context in and out, as W3C spells it: <https://www.w3.org/TR/trace-context/>. The context is in headers of
//! requests, and in messages between pods.

use super::{SpanMark, active_tracing};
use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use quorate_wire::raft::v1::TraceContext;

pub(super) const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// Maximum length of a `tracestate`, which the standard asks everyone to pass on. A longer one is dropped: every span
/// carries it.
const LONGEST_STATE: usize = 512;

struct HeaderExtractor<'a>(&'a HeaderMap);

impl Extractor for HeaderExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok().filter(|value| key != STATE || value.len() <= LONGEST_STATE)
    }

    fn keys(&self) -> Vec<&str> {
        vec![PARENT, STATE]
    }
}

struct MessageExtractor<'a>(&'a TraceContext);

impl Extractor for MessageExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            PARENT => Some(&self.0.traceparent),
            STATE if self.0.tracestate.len() <= LONGEST_STATE => Some(&self.0.tracestate),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![PARENT, STATE]
    }
}

struct MessageInjector(TraceContext);

impl Injector for MessageInjector {
    fn set(&mut self, key: &str, value: String) {
        match key {
            PARENT => self.0.traceparent = value,
            STATE => self.0.tracestate = value,
            _ => {}
        }
    }
}

fn extract_context(from: &dyn Extractor) -> Option<SpanContext> {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), from);
    let found = context.span().span_context().clone();
    found.is_valid().then_some(found)
}

/// Returns the context in a request's headers; `None` if it is absent or not well formed.
pub(super) fn from_headers(headers: &HeaderMap) -> Option<SpanContext> {
    extract_context(&HeaderExtractor(headers))
}

/// Returns the context that another pod sent beside a command or an entry; `None` also while traces are off here.
pub(crate) fn from_pb(sent: Option<&TraceContext>) -> Option<SpanMark> {
    active_tracing()?;
    read_mark(sent?)
}

/// Reads a sampled context, even if traces are off here.
pub(crate) fn read_mark(sent: &TraceContext) -> Option<SpanMark> {
    extract_context(&MessageExtractor(sent)).filter(SpanContext::is_sampled).map(SpanMark::new)
}

/// Encodes a mark for another pod.
pub(crate) fn to_pb(mark: &SpanMark) -> TraceContext {
    let context = Context::new().with_remote_span_context(mark.context().clone());
    let mut out = MessageInjector(TraceContext::default());
    TraceContextPropagator::new().inject_context(&context, &mut out);
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(parent: &'static str, state: String) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(PARENT, HeaderValue::from_static(parent));
        headers.insert(STATE, state.parse().unwrap());
        headers
    }

    #[test]
    fn what_came_in_goes_out_to_the_other_pods() {
        let found = from_headers(&headers(CONTEXT, "vendor=1,other=2".into())).unwrap();
        assert!(found.is_sampled() && found.is_remote());
        let sent = to_pb(&SpanMark::new(found.clone()));
        assert_eq!((sent.traceparent.as_str(), sent.tracestate.as_str()), (CONTEXT, "vendor=1,other=2"));
        assert_eq!(extract_context(&MessageExtractor(&sent)), Some(found));
    }

    #[test]
    fn a_long_state_is_left_behind_and_a_malformed_parent_is_none() {
        let found = from_headers(&headers(CONTEXT, format!("vendor={}", "x".repeat(600)))).unwrap();
        assert_eq!(found.trace_state().header(), "");
        for parent in ["", "00", "00-0-0-01", "zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
            assert_eq!(from_headers(&headers(parent, String::new())), None, "{parent}");
        }
        assert_eq!(from_headers(&HeaderMap::new()), None);
    }
}
