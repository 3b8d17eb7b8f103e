//! Export of spans that have ended to the receiver: in batches, on a thread of its own, bounded. Nobody waits for it:
//! spans that do not fit into the queue are dropped, which is logged, and while the receiver is away its spans are
//! lost.

use super::sampler::CallSampler;
use super::{TRACING, TracingState, call};
use crate::config::{Ratio, TraceConfig};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler as Always, SdkTracer, SdkTracerProvider, SpanData, SpanExporter, SpanProcessor,
};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;

/// Name of the instrumentation scope.
const SCOPE: &str = "quorate";
/// Minimum time between two log lines about a receiver that does not take what it is sent.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Time at the end of the process for sending the spans that ended last.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Running export, until it is finished.
pub struct TraceExport {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Starts tracing if the configuration wants it; once in a process. Call it within a tokio runtime: the connection
/// lives there.
///
/// The SDK's own variables apply where the configuration says nothing: `OTEL_EXPORTER_OTLP_HEADERS` and `_TIMEOUT`,
/// `OTEL_BSP_*`, `OTEL_RESOURCE_ATTRIBUTES`.
///
/// # Errors
/// If no connection to such an endpoint can be made; not if nobody is there.
pub fn start_tracing(traces: &TraceConfig, node_name: &str) -> Result<Option<TraceExport>, ExporterBuildError> {
    let Some(endpoint) = &traces.endpoint else { return Ok(None) };
    let exporter = OtlpExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let exporter = LoggingExporter { exporter, endpoint: endpoint.clone(), failures: Mutex::default() };
    let processor = BatchSpanProcessor::builder(exporter).build();
    Ok(Some(start_with(processor, traces.sample_ratio, node_name)))
}

pub(super) fn start_with(processor: impl SpanProcessor + 'static, ratio: Ratio, node_name: &str) -> TraceExport {
    let resource = Resource::builder()
        .with_service_name("quorate-chatd")
        .with_attributes([
            KeyValue::new("service.instance.id", node_name.to_owned()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        // Only spans that the sampler chose are ever begun.
        .with_sampler(Always::AlwaysOn)
        .with_resource(resource)
        .build();
    let tracer = provider.tracer(SCOPE);
    // A second tracing, which nobody starts, would change nothing.
    let _ = TRACING.set(TracingState { tracer: tracer.clone(), sampler: CallSampler::new(ratio) });
    TraceExport { provider, tracer }
}

impl TraceExport {
    /// Returns the layer for the subscriber: it takes the spans of client calls, and what is logged within them as
    /// their events.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + Send + Sync + for<'a> LookupSpan<'a>,
    {
        let wanted = FilterFn::new(|metadata| {
            *metadata.level() <= Level::INFO && (metadata.is_event() || metadata.target() == call::TARGET)
        });
        tracing_opentelemetry::layer()
            .with_tracer(self.tracer.clone())
            // Each of these would add some attributes to every span.
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(wanted.with_max_level_hint(LevelFilter::INFO))
    }

    /// Sends the spans that are left, for a bounded time. Blocks.
    pub fn finish(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_WORDS) {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// An exporter that logs what it lost, but not each time.
#[derive(Debug)]
struct LoggingExporter<E> {
    exporter: E,
    endpoint: String,
    failures: Mutex<ExportFailures>,
}

#[derive(Debug, Default)]
struct ExportFailures {
    /// Number of spans lost and not logged yet.
    spans: usize,
    said: Option<Instant>,
}

impl<E: SpanExporter> SpanExporter for LoggingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        if let Err(error) = &result {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.spans += spans;
            if failures.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                failures.said = Some(Instant::now());
                let spans = std::mem::take(&mut failures.spans);
                tracing::warn!(endpoint = self.endpoint, spans, %error, "traces cannot be sent; these spans are lost");
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
