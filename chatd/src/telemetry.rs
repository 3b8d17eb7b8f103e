//! Log lines: to standard error, JSON for machines or text for people.

use crate::config::{Log, LogFormat};
use crate::raft::types;
use crate::trace::door;
use crate::trace::export::Exporting;
use std::io::{self, IsTerminal as _};
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

/// Libraries that tell more than an operator wants to know; `info,h2=info` brings one back.
/// (An exporter's failures are told once a minute, by [`crate::trace::export`].)
const QUIET: &str = "h2=warn,hyper=warn,opentelemetry-otlp=off";

/// Starts logging, and takes the doors' spans for the traces, when there are any. Called once, by `main`; a second call
/// does nothing.
pub fn start(log: &Log, traces: Option<&Exporting>) {
    // The level was checked when the configuration was resolved.
    let filter = EnvFilter::try_new(format!("{QUIET},{}=off,{},{}", door::TARGET, types::LOGGED, log.level))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let started = match traces {
        // Each layer has its own filter: what is no line may be a span.
        Some(traces) => registry().with(traces.layer()).with(lines(log.format).with_filter(filter)).try_init(),
        None => registry().with(lines(log.format)).with(filter).try_init(),
    };
    if started.is_ok() {
        report_panics();
    }
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    }
}

/// A panic's place and words as a log line: one in a task ends only that task, and would otherwise be seen by nobody
/// who reads JSON.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, "panicked: {}", info.payload_as_str().unwrap_or("without words"));
    }));
}
