//! Stream of what a pod's users do that never enters the log. Raft only carries it: what it means is decided by whoever
//! serves it.

use futures::stream::BoxStream;
use quorate_wire::raft::v1 as pb;
use std::sync::{Arc, OnceLock};
use tonic::Status;

/// Frames for one peer.
pub type GossipFrames = BoxStream<'static, Result<pb::GossipResponse, Status>>;

/// Source of the frames for peers.
pub trait ServeGossip: Send + Sync + 'static {
    /// Returns the frames for a peer that has just connected: everything, then changes.
    fn frames(&self) -> GossipFrames;
}

/// Place for the source of frames, which is made after the node. Clones share it.
#[derive(Clone, Default)]
pub struct GossipSlot(Arc<OnceLock<Box<dyn ServeGossip>>>);

impl GossipSlot {
    /// Sets the source, once; peers that have called before call again.
    pub fn set(&self, source: impl ServeGossip) {
        // Whoever came first stays: there is one source in a process.
        let _ = self.0.set(Box::new(source));
    }

    pub(super) fn frames(&self) -> Result<GossipFrames, Status> {
        let source = self.0.get().ok_or_else(|| Status::unavailable("this node has just started"))?;
        Ok(source.frames())
    }
}
