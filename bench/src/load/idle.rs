//! Subscribers that are connected and receive nothing: what each costs the servers.

use std::any::Any;

/// Open connections; closed when dropped.
pub(crate) struct Idle {
    /// What keeps each open.
    _held: Vec<Box<dyn Any + Send>>,
}

impl Idle {
    pub(crate) fn new(held: Vec<Box<dyn Any + Send>>) -> Self {
        Self { _held: held }
    }
}
