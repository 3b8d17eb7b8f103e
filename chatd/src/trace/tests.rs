//! Tests of single spans, kept in memory. Traces over pods, at a real receiver: `chatd/tests/it/traces.rs`.

use super::command::{self, CommandMark, CommandSpan};
use super::delivery::DeliveryTraces;
use super::entry::EntryTrace;
use super::{SpanMark, append, apply, call, current_span, export, packing};
use crate::config::Ratio;
use crate::service::{RefusalCode, RequestRefusal};
use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SimpleSpanProcessor, SpanData, SpanExporter};
use quorate_core::id::Position;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::layer::SubscriberExt as _;

/// All spans that ended in this process.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut batch);
        Ok(())
    }
}

/// Tracing, started once for all tests of the process; nothing is sampled but what asks for it.
static KEPT: LazyLock<(Kept, export::TraceExport)> = LazyLock::new(|| {
    let kept = Kept::default();
    let exporting = export::start_with(SimpleSpanProcessor::new(kept.clone()), Ratio::default(), "test");
    (kept, exporting)
});

fn trace_id(number: u128) -> TraceId {
    // Other tests of this process have other ids.
    TraceId::from(number << 64 | 0x7e57)
}

/// Returns what the caller of a sampled call sends.
fn caller(number: u128) -> SpanContext {
    LazyLock::force(&KEPT);
    SpanContext::new(trace_id(number), SpanId::from(1), TraceFlags::SAMPLED, true, TraceState::NONE)
}

fn spans(number: u128) -> Vec<SpanData> {
    let all = KEPT.0.0.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().filter(|span| span.span_context.trace_id() == trace_id(number)).cloned().collect()
}

fn one(number: u128, name: &str) -> SpanData {
    let named: Vec<_> = spans(number).into_iter().filter(|span| span.name == name).collect();
    assert_eq!(named.len(), 1, "{name}: {named:?}");
    named.into_iter().next().unwrap()
}

fn begin(number: u128) -> (CommandSpan, CommandMark) {
    let (waiting, queued) = command::begin_command(Some(&SpanMark::new(caller(number))));
    (waiting.unwrap(), queued.unwrap())
}

fn links(span: &SpanData) -> Vec<(TraceId, SpanId)> {
    span.links.iter().map(|link| (link.span_context.trace_id(), link.span_context.span_id())).collect()
}

fn name(span: &SpanData) -> (TraceId, SpanId) {
    (span.span_context.trace_id(), span.span_context.span_id())
}

#[test]
fn commands_of_one_entry_share_its_span_and_are_linked_with_it() {
    let (first, second) = (begin(1), begin(2));
    let packed = packing::begin_entry(&[first.1, second.1], 5).unwrap();
    let trace = packed.trace().clone();
    packed.applied(Some(7));
    first.0.answered("applied");
    second.0.answered("applied");
    let (entry, one_, two) = (one(1, "entry"), one(1, "command"), one(2, "command"));
    assert_eq!(entry.parent_span_id, one_.span_context.span_id());
    assert_eq!(links(&entry), [name(&one_), name(&two)]);
    assert_eq!((links(&one_), links(&two)), (vec![name(&entry)], vec![name(&entry)]));
    assert_eq!(spans(2).len(), 1, "it is the first one's entry");
    assert_eq!(name(&entry).1, trace.mark().context().span_id());
    assert_eq!((one_.span_kind, one_.parent_span_is_remote), (SpanKind::Server, true));
}

#[test]
fn what_is_not_sampled_has_nothing() {
    LazyLock::force(&KEPT);
    let (waiting, queued) = command::begin_command(None);
    assert!(waiting.is_none() && queued.is_none() && current_span().is_none());
    assert!(packing::begin_entry(&[], 5).is_none());
    assert!(append::trace_append(std::iter::empty()).is_none());
}

#[test]
fn a_write_is_within_its_append_and_entries_of_one_write_are_linked() {
    let traces = [3, 4].map(|number| Arc::new(EntryTrace::new(SpanMark::new(caller(number)))));
    let appends: Vec<_> =
        (1..).zip(&traces).filter_map(|(index, trace)| append::trace_append(std::iter::once((index, trace)))).collect();
    let begun = Instant::now();
    let (written, synced) = (begun + Duration::from_millis(1), begun + Duration::from_millis(5));
    append::record_appends(&appends, &append::SyncedWrite { begun, written, synced, bytes: 99 });
    let (append, write, fsync) = (one(3, "append"), one(3, "write"), one(3, "fsync"));
    assert_eq!((write.parent_span_id, fsync.parent_span_id), (name(&append).1, name(&append).1));
    assert!(append.start_time <= write.start_time && write.end_time == fsync.start_time);
    assert_eq!((fsync.end_time, links(&one(4, "fsync"))), (append.end_time, vec![name(&fsync)]));
}

#[test]
fn a_reply_begins_when_the_entry_is_applied_and_only_some_readers_have_spans() {
    let (waiting, queued) = begin(5);
    let packed = packing::begin_entry(&[queued], 1).unwrap();
    let (deliveries, began) = (DeliveryTraces::default(), Instant::now());
    let applying = apply::ApplyTrace::of(std::iter::once((9, packed.trace())));
    let committed = Instant::now();
    applying.committed(committed);
    applying.finish(began, 1, 1, &deliveries);
    packed.applied(Some(9));
    waiting.answered("applied");
    let (applied, reply) = (one(5, "apply"), one(5, "reply"));
    assert_eq!(applied.end_time, reply.start_time);
    let at = |index, ordinal| Position { incarnation: 0, index, ordinal };
    for _ in 0..50 {
        deliveries.of(at(8, 0), [at(8, 1), at(9, 0), at(9, 1)].into_iter(), "grpc");
        assert!(deliveries.of(at(10, 0), [at(11, 0)].into_iter(), "grpc").is_empty());
    }
    let delivered = spans(5).into_iter().filter(|span| span.name == "deliver");
    let parents: Vec<_> = delivered.map(|span| span.parent_span_id).collect();
    assert_eq!(parents, [name(&applied).1; 8]);
}

fn headers(number: u128, flags: &str) -> HeaderMap {
    LazyLock::force(&KEPT);
    let value = format!("00-{}-{}-{flags}", trace_id(number), SpanId::from(1));
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_str(&value).unwrap());
    headers
}

#[tokio::test]
async fn a_call_is_within_its_callers_trace_and_has_what_is_logged_in_it() {
    let subscriber = tracing_subscriber::registry().with(KEPT.1.layer());
    let _here = tracing::subscriber::set_default(subscriber);
    let call = call::CallTrace::grpc("Send", &headers(6, "01"));
    let answer = call
        .wrap(async {
            tokio::task::yield_now().await;
            tracing::warn!("something is odd");
            drop(current_span().unwrap().child("propose"));
            Err::<(), _>(RequestRefusal::new(RefusalCode::Internal, "a fault"))
        })
        .await;
    call.answered(&answer);
    drop(call);
    assert!(current_span().is_none());
    let (call, propose) = (one(6, "quorate.chat.v1.Chat/Send"), one(6, "propose"));
    assert_eq!((call.parent_span_id, call.span_kind.clone()), (SpanId::from(1), SpanKind::Server));
    assert_eq!(propose.parent_span_id, name(&call).1);
    assert!(matches!(call.status, Status::Error { .. }));
    assert!(call.attributes.iter().any(|a| a.key.as_str() == "quorate.code" && a.value.as_str() == "internal"));
    assert!(call.events.iter().any(|event| event.name == "something is odd"), "{:?}", call.events);
}

#[tokio::test]
async fn a_call_that_is_not_sampled_is_in_no_trace() {
    let subscriber = tracing_subscriber::registry().with(KEPT.1.layer());
    let _here = tracing::subscriber::set_default(subscriber);
    for headers in [headers(7, "00"), HeaderMap::new()] {
        call::CallTrace::grpc("Send", &headers).wrap(async { assert!(current_span().is_none()) }).await;
    }
    assert!(spans(7).is_empty());
}
