//! What happens outside of the machines' own tasks, in the one queue.

use crate::faults::Fault;
use crate::replica::Running;
use crate::world::net::HostId;
use futures::future::BoxFuture;

/// The machines that run pods in a new cluster.
pub const PODS: usize = 3;
/// One more, without a place in the cluster at first.
pub const SPARE: HostId = 3;
/// The machine on which all clients run.
pub const CLIENTS: HostId = 4;

/// What a client asks of a pod.
pub type Work = Box<dyn FnOnce(Running) -> BoxFuture<'static, ()> + Send>;

/// See the [module](self).
pub enum Act {
    /// A pod's process ended by itself.
    Died {
        /// Where.
        host: HostId,
        /// Its last words.
        reason: String,
    },
    /// A request arrives at a pod.
    ToPod(HostId, Work),
    /// An answer of a pod arrives.
    ToClients(HostId, Box<dyn FnOnce() + Send>),
    /// Something goes wrong now.
    Fault(Fault),
    /// Everything is looked at.
    Look,
}
