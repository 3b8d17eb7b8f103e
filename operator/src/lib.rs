//! The Quorate operator.
//!
//! ```text
//! validate (pure) → observe (API server, pods' admin APIs) → plan (pure) → apply → status
//! ```
//!
//! A chat cluster fails over by itself in well under a second, even with the operator switched off. The operator
//! initializes the cluster once, reports its state, and repairs what pods cannot repair themselves: it replaces lost
//! volumes and rolls out new revisions.
//!
//! Of these stages, only `observe`, `apply` and `status::patch` use a Kubernetes client; everything between is pure
//! functions of values.

pub mod apply;
pub mod backoff;
pub mod build;
pub mod cluster;
pub mod controller;
pub mod events;
#[cfg(test)]
mod fake_api;
#[cfg(test)]
mod fixture;
pub mod lease;
pub mod metrics;
pub mod names;
pub mod observe;
pub mod observed;
pub mod plan;
pub mod pod_watch;
pub mod process;
pub mod quorum;
pub mod secret_inputs;
pub mod server;
pub mod status;
pub mod tls;
pub mod words;
