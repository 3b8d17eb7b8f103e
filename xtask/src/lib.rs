//! What the `xtask` binary does, as functions that tests can call.

pub mod generate;
pub mod tidy;
