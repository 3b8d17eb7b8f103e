//! Log lines: to standard error, JSON for machines or text for people.

use crate::config::{Log, LogFormat};
use crate::raft::types;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;

/// Libraries that tell more than an operator wants to know; `info,h2=info` brings one back.
const QUIET: &str = "h2=warn,hyper=warn";

/// Starts logging. Called once, by `main`; a second call does nothing.
pub fn start(log: &Log) {
    // The level was checked when the configuration was resolved.
    let filter = EnvFilter::try_new(format!("{QUIET},{},{}", types::LOGGED, log.level))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.try_init(),
    };
    if started.is_ok() {
        report_panics();
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
