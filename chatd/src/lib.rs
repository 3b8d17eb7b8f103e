//! One pod of a Quorate chat cluster, as a library; `main.rs` is a thin binary over it.
//!
//! The path of a message: [`api`] (decodes and authenticates) → [`service`] (decides what it means) → [`raft::propose`]
//! → the replicated log → [`raft::machine`] (applies, commits) → the answer to the caller, and a hint from [`feed`] to
//! readers → [`api`] again.
// Without the database nothing can be served. The simulation uses the rest, and what only `serve` calls is unused then.
#![cfg_attr(not(feature = "rocksdb"), allow(dead_code, unused_imports))]

pub mod api {
    //! APIs of the pod: each decodes requests, passes them to [`crate::service`], and encodes the answers.
    pub mod admin;
    pub(crate) mod bearer;
    pub mod convert;
    pub mod error;
    pub mod grpc;
    pub mod health;
    pub mod listen;
    pub mod matrix;
    pub mod moderation;
    pub mod stream;
}
pub(crate) mod caller;
pub mod cli;
pub mod config;
pub mod ephemeral;
pub mod exit;
mod failpoint;
pub mod feed;
#[cfg(test)]
mod formats;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod metrics;
#[cfg(feature = "rocksdb")]
pub mod open;
#[cfg(feature = "rocksdb")]
pub mod process;
mod push;
pub mod raft;
#[cfg(feature = "rocksdb")]
pub mod serve;
pub mod service;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod trace;
