//! Tests of whole nodes in one process: real logs, real TLS over loopback, and a separate runtime for each node, so
//! that killing one takes its connections with it.

mod admin;
mod certificates;
pub(in crate::raft) mod chat;
mod clocks;
mod compaction;
mod elections;
pub(in crate::raft) mod harness;
mod history;
mod identity;
mod levels;
mod members;
mod order;
mod proxy;
mod readiness;
mod reads;
mod rights;
mod snapshots;
mod transport;
mod volumes;
mod writes;
