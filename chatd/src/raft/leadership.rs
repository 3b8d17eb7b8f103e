//! Who leads, as this node knows it.

use super::{
    consensus::{ConsensusRef, LeadershipWatch, term_of},
    types::Node,
};
use openraft::{ServerState, async_runtime::watch::WatchReceiver as _};
use std::collections::BTreeSet;

/// A follower of openraft's view of leadership. Each clone waits by itself.
#[derive(Clone)]
pub struct Leadership {
    node_id: u64,
    watch: LeadershipWatch,
}

impl Leadership {
    /// Of this node.
    #[must_use]
    pub fn of(node_id: u64, consensus: &ConsensusRef) -> Self {
        Self { node_id, watch: consensus.leadership() }
    }

    /// The leader that this node last granted or heard; it may have lost its quorum meanwhile.
    #[must_use]
    pub fn leader(&self) -> Option<u64> {
        let view = self.watch.borrow_watched();
        match (view.current_leader, view.state) {
            (Some(id), ServerState::Leader) if id == self.node_id => Some(id),
            // A vote of this node for itself that is not (or no more) leadership.
            (Some(id), _) if id == self.node_id => None,
            (other, _) => other,
        }
    }

    /// This node leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.node_id)
    }

    /// This node.
    #[must_use]
    pub fn own(&self) -> u64 {
        self.node_id
    }

    /// Looks at the voters: one set, two while a change is under way.
    pub(super) fn with_voters<T>(&self, look: impl FnOnce(&[BTreeSet<u64>]) -> T) -> T {
        look(self.watch.borrow_watched().membership_config.membership().get_joint_config())
    }

    /// The present term.
    #[must_use]
    pub fn term(&self) -> u64 {
        term_of(&self.watch.borrow_watched().vote)
    }

    /// The last term in which this node voted for itself; `None` when its present vote is for another.
    pub(super) fn stood_in(&self) -> Option<u64> {
        let vote = self.watch.borrow_watched().vote;
        (vote.leader_id.node_id == self.node_id).then(|| term_of(&vote))
    }

    /// The membership entry of a node.
    #[must_use]
    pub fn member(&self, node_id: u64) -> Option<Node> {
        self.watch.borrow_watched().membership_config.membership().get_node(&node_id).cloned()
    }

    /// All members but this node.
    #[must_use]
    pub fn others(&self) -> Vec<(u64, Node)> {
        let view = self.watch.borrow_watched();
        let nodes = view.membership_config.membership().nodes();
        nodes.filter(|(id, _)| **id != self.node_id).map(|(id, node)| (*id, node.clone())).collect()
    }

    /// Waits for the next change of vote, role, leader or membership; `false` when openraft has stopped.
    pub async fn changed(&mut self) -> bool {
        self.watch.changed().await.is_ok()
    }

    /// The same for who tries something again after a change: of an openraft that has stopped there is none, and trying
    /// at once, again and again, would only keep a processor busy.
    pub async fn until_changed(&mut self) {
        if !self.changed().await {
            std::future::pending().await
        }
    }
}
