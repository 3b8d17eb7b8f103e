//! Spans, and the marks by which others name them.

use super::active_tracing;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::Span;
use std::sync::Arc;
use std::time::SystemTime;

/// Name of a sampled span for its children and links; the span is of this pod or another. As wide as a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpanMark(Arc<SpanContext>);

impl SpanMark {
    pub(super) fn new(context: SpanContext) -> Self {
        Self(Arc::new(context))
    }

    pub(super) fn context(&self) -> &SpanContext {
        &self.0
    }

    pub(super) fn link(&self) -> Link {
        Link::with_context((*self.0).clone())
    }

    /// Begins a span beneath this one.
    pub(crate) fn child(&self, name: &'static str) -> Option<LiveSpan> {
        self.start(span_builder(name))
    }

    /// Begins a span beneath this one for work that another pod is asked for.
    pub(crate) fn call(&self, name: &'static str) -> Option<LiveSpan> {
        self.start(span_builder(name).with_kind(SpanKind::Client))
    }

    /// Begins a span beneath this one as built; `None` only if traces are off.
    pub(crate) fn start(&self, builder: SpanBuilder) -> Option<LiveSpan> {
        let parent = Context::new().with_remote_span_context((*self.0).clone());
        let span = active_tracing()?.tracer.build_with_context(builder, &parent);
        let mark = Self::new(span.span_context().clone());
        Some(LiveSpan { span, mark })
    }
}

/// Returns the span that the task of the caller is in, if it is sampled: set by [`super::call`].
pub(crate) fn current_span() -> Option<SpanMark> {
    active_tracing()?;
    Context::map_current(|context| {
        let span = context.has_active_span().then(|| context.span().span_context().clone());
        span.filter(|span| span.is_valid() && span.is_sampled()).map(SpanMark::new)
    })
}

/// Returns a builder for [`SpanMark::start`].
pub(crate) fn span_builder(name: &'static str) -> SpanBuilder {
    SpanBuilder::from_name(name)
}

/// A span under way, which ends when it is dropped.
pub(crate) struct LiveSpan {
    span: Span,
    mark: SpanMark,
}

impl LiveSpan {
    pub(crate) fn mark(&self) -> &SpanMark {
        &self.mark
    }

    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.span.set_attribute(KeyValue::new(key, value));
    }

    /// Sets an attribute to a number. Numbers beyond what an attribute holds do not occur.
    pub(crate) fn count(&mut self, key: &'static str, value: impl TryInto<i64>) {
        self.set(key, value.try_into().unwrap_or(i64::MAX));
    }

    pub(crate) fn happened(&mut self, what: &'static str, at: SystemTime) {
        self.span.add_event_with_timestamp(what, at, Vec::new());
    }

    pub(crate) fn link(&mut self, to: &SpanMark) {
        self.span.add_link(to.context().clone(), Vec::new());
    }

    pub(crate) fn failed(&mut self, why: &'static str) {
        self.span.set_status(Status::error(why));
    }

    pub(crate) fn end_at(mut self, at: SystemTime) {
        self.span.end_with_timestamp(at);
    }
}
