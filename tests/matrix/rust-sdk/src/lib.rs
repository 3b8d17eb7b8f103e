//! What the tests with matrix-rust-sdk share: people with devices that sync through the one address of all pods, and the
//! loss of their leader.

// The futures of the SDK are nested deeply; it needs the same itself.
#![recursion_limit = "256"]

mod history;
mod person;
mod pods;

pub use history::{UNREADABLE, messages_of};
pub use person::{Heard, PATIENCE, Person};
pub use pods::{homeserver, lose_the_leader};
