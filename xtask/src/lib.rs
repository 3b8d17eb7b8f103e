//! What the `xtask` binary does, as functions that tests can call.

mod dashboards;
pub mod generate;
pub mod tidy;
