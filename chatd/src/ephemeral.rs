//! Typing and presence, which never enter the log.
//!
//! A pod keeps what its own users do, and streams it to every other pod: all of it on connection, then changes ([`stream`]).
//! [`state`] merges the pods' entries; it is pure, and every method is told the time. [`publish`] decides when changes
//! become visible, and wakes those who wait in `/sync`. What came from a pod is dropped when nothing was heard from it for
//! a while.
//!
//! Each pod numbers the visible changes of its own users. A sync token carries one number for each pod, so that it is good
//! on every pod ([`news`]). An entry has one keeper, the pod that answers for it: the last one that the user called. A
//! newer entry for the same key replaces an older one, whichever pods they are from.

mod ending;
mod frame;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;
mod hub;
mod life;
mod news;
mod presence;
mod publish;
mod record;
mod state;
mod stream;
mod typing;

pub use hub::{EphemeralHub, EphemeralSettings};
pub use news::{EphemeralNews, PresenceNews, TypingNews};
pub use publish::publish_changes;
pub use record::{PresenceLevel, PresenceStatus};
pub use stream::{GossipServer, keep_listening};

#[cfg(test)]
mod tests;
