//! The Quorate operator.
//!
//! ```text
//! observe (API server, pods' admin doors) → validate (pure) → plan (pure) → apply → status
//! ```
//!
//! A chat cluster fails over by itself in well under a second, with the operator switched off. The operator makes the
//! cluster once, tells about it, and mends what pods cannot mend themselves: a lost volume, a new revision.
//!
//! Only `observe`, `apply` and `status::patch` take a Kubernetes client; everything between is functions of values.

pub mod apply;
pub mod backoff;
pub mod build;
pub mod cluster;
pub mod controller;
pub mod door;
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
pub mod quorum;
pub mod server;
pub mod status;
pub mod tls;
pub mod words;
