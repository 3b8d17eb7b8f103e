//! Tasks of the `xtask` binary, as functions that tests can call.

mod dashboards;
pub mod generate;
mod sources;
pub mod tidy;
mod values_schema;
pub mod words;
