//! Acts: everything in the queue of the simulated world that happens outside of the machines' own tasks.

use crate::faults::PlannedFault;
use crate::replica::PodHandle;
use crate::world::net::HostId;
use futures::future::BoxFuture;

/// Request of a client, carried out on the pod that it reaches.
pub type PodCall = Box<dyn FnOnce(PodHandle) -> BoxFuture<'static, ()> + Send>;

/// An act that the simulation carries out when it is due. See the [module](self).
pub enum SimAction {
    /// A pod's process ended by itself.
    Died {
        /// Machine that runs the pod.
        host: HostId,
        /// Error with which the process ended.
        reason: String,
    },
    /// A request arrives at a pod.
    ToPod(HostId, PodCall),
    /// An answer of a pod arrives at the clients.
    ToClients(HostId, Box<dyn FnOnce() + Send>),
    /// A planned fault takes effect.
    Fault(PlannedFault),
    /// All replicas are looked at, and the invariants checked.
    Look,
}
