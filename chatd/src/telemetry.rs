//! Logging to standard error, as JSON for machines or text for people.

use crate::config::{LogConfig, LogFormat};
use crate::raft::types;
use crate::trace::call;
use crate::trace::export::TraceExport;
use std::io::{self, IsTerminal as _};
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

/// Filter directives for libraries that log more than an operator wants to know; `info,h2=info` brings one back.
/// (Failures of the trace exporter are logged once a minute, by [`crate::trace::export`]. `ruma_common` has a span for each
/// value of an event that push rules judge.)
const QUIET: &str = "h2=warn,hyper=warn,ruma_common=warn,opentelemetry-otlp=off";

/// Starts logging, and collects the APIs' spans if `traces` is given. Called once, by `main`; a second call has no
/// effect.
pub fn start_logging(log: &LogConfig, traces: Option<&TraceExport>) {
    // The level was checked when the configuration was resolved.
    let filter = EnvFilter::try_new(format!("{QUIET},{}=off,{},{}", call::TARGET, types::LOGGED, log.level))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let started = match traces {
        // Each layer has its own filter, because a span may be traced without being logged.
        Some(traces) => registry().with(traces.layer()).with(line_layer(log.format).with_filter(filter)).try_init(),
        None => registry().with(line_layer(log.format)).with(filter).try_init(),
    };
    if started.is_ok() {
        report_panics();
    }
}

fn line_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    }
}

/// Logs the place and the message of each panic. A panic in a task ends only that task, and would otherwise go unseen
/// by anybody who reads JSON.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, "panicked: {}", info.payload_as_str().unwrap_or("no panic message"));
    }));
}
