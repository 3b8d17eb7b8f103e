//! One pod of a Quorate chat cluster, as a library; `main.rs` is a thin binary over it.
//!
//! The way of one message: [`api`] (doors decode and authenticate) → [`service`] (decides what it means) →
//! [`raft::propose`] → the replicated log → [`raft::machine`] (applies, commits) → the caller's answer, and a hint of
//! [`feed`] to whoever reads → [`api`] again.
// Without the database there is nothing to serve: the simulation uses the rest, and what only `serve` calls is unused.
#![cfg_attr(not(feature = "rocksdb"), allow(dead_code, unused_imports))]

pub mod api {
    //! The doors: each decodes requests, hands them to [`crate::service`], and spells the answers.
    pub mod admin;
    pub(crate) mod caller;
    pub mod convert;
    pub mod error;
    pub mod grpc;
    pub mod health;
    pub mod listen;
    pub mod matrix;
    pub mod stream;
}
pub mod cli;
pub mod config;
pub mod exit;
mod failpoint;
pub mod feed;
#[cfg(test)]
mod formats;
#[doc(hidden)]
pub mod fuzzing;
pub mod metrics;
#[cfg(feature = "rocksdb")]
pub mod open;
pub mod raft;
#[cfg(feature = "rocksdb")]
pub mod serve;
pub mod service;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod trace;
