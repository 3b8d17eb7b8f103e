//! Changes of membership and leadership that administrators and the operator request.
//!
//! Each change is checked on the leader first, so that it cannot cost the cluster its quorum, and is bounded in time. A
//! change that has started cannot be undone, so a timeout means "check the status", not "it failed".

mod change;
mod clearings;
mod departures;
mod error;
mod history;
mod initialize;
mod profiles;
mod snapshot;
mod sweep;
mod time;
mod transfer;

pub use change::{DEFAULT_MAX_LAG, VoterChange};
pub use error::AdminError;
pub use history::PurgeResult;
pub use snapshot::CompactionOptions;
pub use transfer::DEFAULT_TRANSFER_LIMIT;

use super::{
    clock::Timekeeper,
    cluster::{ClusterMonitor, MembershipView, NodeStatus, StateFacts},
    consensus::ConsensusRef,
    hold::LogHolds,
    identity::NodeIdentity,
    leadership::Leadership,
    log::LogStore,
    propose::Proposer,
    types::LogId,
    volume::VolumeGauge,
};
use openraft::async_runtime::watch::WatchReceiver as _;
use std::sync::Arc;

/// Administrative interface of a node. Cheap to clone.
#[derive(Clone)]
pub struct ClusterAdmin {
    inner: Arc<AdminParts>,
}

/// Parts of the node that administration uses.
pub(crate) struct AdminParts {
    pub(crate) consensus: ConsensusRef,
    pub(crate) identity: NodeIdentity,
    pub(crate) leadership: Leadership,
    pub(crate) cluster: ClusterMonitor,
    pub(crate) proposer: Proposer,
    pub(crate) facts: Arc<dyn StateFacts>,
    pub(crate) server_name: String,
    pub(crate) compaction: CompactionOptions,
    pub(crate) time: Timekeeper,
    pub(crate) log: LogStore,
    pub(crate) holds: LogHolds,
    pub(crate) volume: VolumeGauge,
}

impl ClusterAdmin {
    pub(crate) fn new(parts: AdminParts) -> Self {
        Self { inner: Arc::new(parts) }
    }

    /// Returns the identity of this node.
    #[must_use]
    pub fn identity(&self) -> &NodeIdentity {
        &self.inner.identity
    }

    /// Returns the Matrix server name from the configuration.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.inner.server_name
    }

    /// Returns this node's view of the cluster.
    #[must_use]
    pub fn cluster(&self) -> &ClusterMonitor {
        &self.inner.cluster
    }

    /// Returns the status of this node, if it leads with a quorum.
    fn leading(&self) -> Result<NodeStatus, AdminError> {
        let status = self.inner.cluster.status();
        if status.leads() { Ok(status) } else { Err(AdminError::NotLeader { leader: status.leader }) }
    }

    /// Returns the membership, the id of its entry, which guards a change, and `true` if that entry is committed. All
    /// three are of the same moment.
    fn membership(&self) -> (MembershipView, Option<LogId>, bool) {
        let metrics = self.inner.consensus.metrics();
        let view = metrics.borrow_watched();
        let effective = &view.membership_config;
        let committed = &view.committed_membership_config;
        (MembershipView::new(effective), *effective.log_id(), effective.log_id() == committed.log_id())
    }
}
