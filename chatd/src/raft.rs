//! Replication: openraft's types and traits stay in here.
//!
//! [`node`] puts together: [`log`] (on disk), [`machine`] (applies to the state), [`network`] (to the others) and
//! [`peer`] (from the others). Above them: [`propose`] (writes), [`read_index`] (reads), [`cluster`] (status),
//! [`membership`] (changes).

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
pub mod types;
pub mod volume;
