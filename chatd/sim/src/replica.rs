//! One pod of production code on a simulated machine: its own log, state machine, snapshots, Raft, peer listener over
//! gRPC, and service. Only disk, network and clock are simulated. `boot` starts it.

pub(crate) mod consensus;
pub(crate) mod disk;
pub mod store;

use quorate_chatd::raft::log::LogStore;
use quorate_chatd::raft::node::NodeHandle;
use quorate_chatd::service::ChatService;
use std::sync::{Arc, Mutex};
use store::SimStore;

/// Matrix server name of the cluster.
pub const SERVER: &str = "a.org";
/// Id of the simulated cluster.
pub const CLUSTER: &str = "5eed0000-0000-4000-8000-000000000001";

/// A pod that runs; clones are handles to the same one.
#[derive(Clone)]
pub struct PodHandle {
    /// Raft and everything around it.
    pub node: NodeHandle,
    /// Service that both client APIs call.
    pub service: ChatService,
    /// Store of the replica's state.
    pub store: SimStore,
    /// Log of the replica.
    pub log: LogStore,
}

/// Place where a pod that has started is found; empty while it is down.
pub(crate) type PodSlot = Arc<Mutex<Option<PodHandle>>>;
