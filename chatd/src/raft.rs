//! Raft replication, built on openraft, whose types and traits do not leave this module.
//!
//! [`node`] assembles the parts: [`log`] (entries on disk), [`machine`] (applies entries to the state), [`network`]
//! (calls to other nodes) and [`peer`] (calls from other nodes). Built on these are [`propose`] (writes),
//! [`read_index`] (reads), [`cluster`] (status) and [`membership`] (changes).

mod announce;
pub mod clock;
pub mod cluster;
pub mod codec;
pub mod consensus;
pub mod contact;
#[cfg(test)]
mod crash;
mod forward;
mod hold;
pub mod identity;
pub mod leadership;
mod level;
pub mod log;
pub mod machine;
pub mod membership;
pub mod network;
pub mod node;
pub mod observe;
pub mod peer;
pub mod propose;
pub mod read_index;
pub mod snapshot;
pub mod threading;
pub mod types;
pub mod volume;
