//! Idle subscribers, which are connected and receive nothing: what each costs the servers.

use std::any::Any;

/// Open connections, which are closed when this is dropped.
pub(crate) struct IdleConnections {
    /// Values that keep the connections open.
    _held: Vec<Box<dyn Any + Send>>,
}

impl IdleConnections {
    pub(crate) fn new(held: Vec<Box<dyn Any + Send>>) -> Self {
        Self { _held: held }
    }
}
