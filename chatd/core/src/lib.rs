//! The replicated chat domain: commands that change the state, and queries that read it.
//!
//! Pure by construction: no clock, randomness, I/O, async or map-iteration order. The time comes with the log entry,
//! random values come with the command, and storage is behind [`table::TableRead`] and [`table::TableWrite`].
//!
//! The modules follow the path of a command: [`proto::log`] (contents of the log) → [`apply`] (one file per command
//! family) → [`table`] (rows) → [`query`] (reads for the APIs). [`invariant`] states what must always hold.

#![warn(missing_docs)]

pub mod apply;
mod auth;
pub mod content;
mod directory;
mod entry_events;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod id;
pub mod invariant;
mod json;
mod key_backup;
mod key_json;
pub mod proto;
pub mod query;
pub mod receipt;
mod relates;
mod retention;
pub mod room_version;
mod rows;
pub mod table;
#[cfg(test)]
mod testing;
mod visibility;
