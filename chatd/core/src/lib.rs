//! The replicated chat domain: what a command does to the state, and what can be asked of the state.
//!
//! Pure by construction: no clock, randomness, I/O, async or map-iteration order. The time comes with the entry,
//! random values come in the command, storage is behind [`table::Read`] and [`table::Write`].
//!
//! The way through, in order: [`proto::log`] (what stands in the log) → [`apply`] (one file per command family) →
//! [`table`] (rows) → [`query`] (reads for the doors) ; [`invariant`] states what must always hold.

pub mod apply;
mod auth;
pub mod content;
mod directory;
#[doc(hidden)]
pub mod fuzzing;
pub mod id;
pub mod invariant;
mod json;
pub mod proto;
pub mod query;
mod retention;
mod rows;
pub mod table;
#[cfg(test)]
mod testing;
mod visibility;
