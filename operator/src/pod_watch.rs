//! Access to the pods' admin APIs: a dialler, and a watch on each pod that keeps the newest answer at hand.

mod convert;
mod dial;
mod hub;
mod silence;

pub use convert::to_proto;
pub use dial::{DialError, PeerIdentity, dial_pod};
pub use hub::{PodAnswer, WatchHub, WatchTarget};
