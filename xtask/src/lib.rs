//! Tasks of the `xtask` binary, as functions that tests can call.

pub mod chart_files;
mod dashboards;
pub mod generate;
mod sources;
pub mod tidy;
pub mod words;
