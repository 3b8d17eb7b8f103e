//! Leadership, as this node knows it.

use super::{
    consensus::{ConsensusRef, LeadershipWatch, term_of},
    types::NodeAddresses,
};
use openraft::{ServerState, async_runtime::watch::WatchReceiver as _};
#[cfg(test)]
use openraft::{async_runtime::watch::WatchSender as _, type_config::TypeConfigExt as _};
use std::collections::BTreeSet;

/// A watch on openraft's view of leadership. Each clone waits independently.
#[derive(Clone)]
pub struct Leadership {
    node_id: u64,
    watch: LeadershipWatch,
}

impl Leadership {
    /// Creates the view of the node with this id.
    #[must_use]
    pub fn of(node_id: u64, consensus: &ConsensusRef) -> Self {
        Self { node_id, watch: consensus.leadership() }
    }

    /// Returns a view that knows no leader, and a function after whose call it is as this one was.
    #[cfg(test)]
    pub(super) fn without_leader(&self) -> (Self, impl FnOnce() + use<>) {
        let known = self.watch.borrow_watched().clone();
        let mut unknown = known.clone();
        unknown.current_leader = None;
        let (sender, watch) = super::types::TypeConfig::watch_channel(unknown);
        (Self { node_id: self.node_id, watch }, move || sender.send(known).expect("watched"))
    }

    /// Returns the leader that this node last voted for or heard; it may have lost its quorum since.
    #[must_use]
    pub fn leader(&self) -> Option<u64> {
        let view = self.watch.borrow_watched();
        match (view.current_leader, view.state) {
            (Some(id), ServerState::Leader) if id == self.node_id => Some(id),
            // A vote of this node for itself that is not leadership, or no longer.
            (Some(id), _) if id == self.node_id => None,
            (other, _) => other,
        }
    }

    /// Returns `true` if this node leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.node_id)
    }

    /// Returns the id of this node.
    #[must_use]
    pub fn own(&self) -> u64 {
        self.node_id
    }

    /// Calls `look` with the voter sets: one, or two during a joint configuration.
    pub(super) fn with_voters<T>(&self, look: impl FnOnce(&[BTreeSet<u64>]) -> T) -> T {
        look(self.watch.borrow_watched().membership_config.membership().get_joint_config())
    }

    /// Returns the current term.
    #[must_use]
    pub fn term(&self) -> u64 {
        term_of(&self.watch.borrow_watched().vote)
    }

    /// Returns the last term in which this node voted for itself; `None` if its current vote is for another node.
    pub(super) fn stood_in(&self) -> Option<u64> {
        let vote = self.watch.borrow_watched().vote;
        (vote.leader_id.node_id == self.node_id).then(|| term_of(&vote))
    }

    /// Returns the membership entry of a node.
    #[must_use]
    pub fn member(&self, node_id: u64) -> Option<NodeAddresses> {
        self.watch.borrow_watched().membership_config.membership().get_node(&node_id).cloned()
    }

    /// Returns all members except this node.
    #[must_use]
    pub fn others(&self) -> Vec<(u64, NodeAddresses)> {
        let view = self.watch.borrow_watched();
        let nodes = view.membership_config.membership().nodes();
        nodes.filter(|(id, _)| **id != self.node_id).map(|(id, node)| (*id, node.clone())).collect()
    }

    /// Waits for the next change of vote, role, leader or membership; returns `false` if openraft has stopped.
    pub async fn changed(&mut self) -> bool {
        self.watch.changed().await.is_ok()
    }

    /// Waits for the next change, like [`Leadership::changed`], for callers that retry after it. Never returns once
    /// openraft has stopped: to retry at once, again and again, would only keep a processor busy.
    pub async fn until_changed(&mut self) {
        if !self.changed().await {
            std::future::pending().await
        }
    }
}
