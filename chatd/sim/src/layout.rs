//! Layout of every simulated cluster: which machines there are, and what runs on them.

use crate::world::net::HostId;

/// Number of machines that run pods in a new cluster, from machine 0 on.
pub const PODS: usize = 3;
/// Machine of a spare pod, which has no place in the cluster at first.
pub const SPARE: HostId = 3;
/// Machine on which all clients run.
pub const CLIENTS: HostId = 4;
