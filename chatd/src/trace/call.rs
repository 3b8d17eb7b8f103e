//! Span of a sampled call at a client API: the first span of a trace, or of this server's part of one.
//!
//! It is a span of `tracing`, so that what is logged within the call becomes its events; the layer of
//! `tracing-opentelemetry` makes it the current one for [`current_span`](super::current_span) as well.

use super::sampler::SampleDecision;
use super::{CallError, TraceRequest, active_tracing};
use http::{HeaderMap, Method};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tracing::field::Empty;
use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Target of the spans: the layer takes them by it, and log lines leave them out.
pub const TARGET: &str = "quorate_trace";

const SERVICE: &str = "quorate.chat.v1.Chat";

/// Trace of a call, which is sampled or, like most calls, not.
pub struct CallTrace(Span);

impl CallTrace {
    /// Begins the trace of a gRPC call.
    #[must_use]
    pub fn grpc(method: &'static str, headers: &HeaderMap) -> Self {
        Self::of(&TraceRequest::of(headers), || grpc_span(method))
    }

    /// Begins the trace of a Matrix call.
    #[must_use]
    pub fn matrix(endpoint: &'static str, method: &Method, headers: &HeaderMap) -> Self {
        Self::of(&TraceRequest::of(headers), || {
            let name = format!("{method} {endpoint}");
            tracing::info_span!(
                target: TARGET, parent: None, "call", otel.name = name, otel.kind = "server", otel.status_code = Empty,
                http.request.method = method.as_str(), quorate.endpoint = endpoint, quorate.code = Empty,
            )
        })
    }

    /// Begins the trace of one event of a stream of posts: the stream lives too long to be one trace. `asked` is what
    /// the stream's caller asked for.
    pub(crate) fn post(asked: &TraceRequest) -> Self {
        Self::of(asked, || grpc_span("Post"))
    }

    fn of(asked: &TraceRequest, span: impl FnOnce() -> Span) -> Self {
        let Some(sampled) = active_tracing().and_then(|on| on.sampler.decide(asked)) else { return Self(Span::none()) };
        let span = span();
        if let SampleDecision::Within(parent) = sampled {
            // Fails only if the span is not the layer's: then it is a root.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
        Self(span)
    }

    /// Runs the call's future within the span.
    pub fn wrap<F: Future>(&self, call: F) -> Instrumented<F> {
        call.instrument(self.0.clone())
    }

    /// Runs a part of the call that does not wait within the span.
    pub(crate) fn enter<T>(&self, call: impl FnOnce() -> T) -> T {
        self.0.in_scope(call)
    }

    /// Records how the call ended.
    pub fn answered<T, E: CallError>(&self, answer: &Result<T, E>) {
        if self.0.is_none() {
            return;
        }
        let code = answer.as_ref().map_or_else(CallError::label, |_| "ok");
        self.0.record(super::attribute::CODE, code);
        if answer.as_ref().is_err_and(CallError::is_fault) {
            self.0.record("otel.status_code", "ERROR");
        }
    }
}

fn grpc_span(method: &'static str) -> Span {
    let name = format!("{SERVICE}/{method}");
    tracing::info_span!(
        target: TARGET, parent: None, "call", otel.name = name, otel.kind = "server", otel.status_code = Empty,
        rpc.system = "grpc", rpc.service = SERVICE, rpc.method = method, quorate.code = Empty,
    )
}
