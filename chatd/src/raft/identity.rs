//! Identity of this node and its cluster, and the check that every request of a peer passes.
//!
//! A pod never decides that it is new, and never joins a cluster by itself (docs/adr/0010). An empty volume has a fresh
//! random 63-bit node id. Only a caller that learned this id from the pod itself, over mutual TLS, can name it; the
//! first Raft request that names it together with a cluster id therefore proves that this cluster added the node. The
//! cluster id is made durable *before* that request is answered, so that a node can never give its vote or an
//! acknowledgement to one cluster, and then to another.

use futures::future::BoxFuture;
use quorate_wire::raft::v1 as pb;
use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
};
use tonic::Status;

/// Durable storage of the identity, beside vote and log, and only there.
pub trait IdentityStore: Send + Sync + 'static {
    /// Returns the id of this node, which is fixed for the lifetime of its volume.
    fn node_id(&self) -> u64;
    /// Returns the cluster id; `None` until the node belongs to a cluster.
    fn cluster_id(&self) -> Option<String>;
    /// Returns `true` if the node was never part of a cluster: it has no vote, no log, and nothing was purged.
    fn is_empty(&self) -> bool;
    /// Stores the cluster id; durable when the future resolves.
    ///
    /// # Errors
    /// If another id is set already, or the disk fails.
    fn set_cluster_id<'a>(&'a self, cluster_id: &'a str) -> BoxFuture<'a, io::Result<()>>;
}

/// Reason why a node does not adopt a cluster id.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The node belongs to another cluster.
    #[error(
        "this node belongs to cluster {present}, not to {asked}; check the address, or give the node an empty volume"
    )]
    Other {
        /// Cluster id of the node.
        present: String,
        /// Cluster id in the request.
        asked: String,
    },
    /// The volume has a log but no cluster id: it is damaged, or files were changed by hand.
    #[error("this node's volume is not empty but names no cluster; give the node an empty volume")]
    NotEmpty,
    /// The cluster id is empty.
    #[error("the cluster id is empty")]
    Missing,
    /// The cluster id could not be made durable.
    #[error("cannot store the cluster id")]
    Store(#[source] io::Error),
}

/// Identity of this node, with the cluster id cached, as it is compared on every request.
#[derive(Clone)]
pub struct NodeIdentity {
    store: Arc<dyn IdentityStore>,
    node_id: u64,
    cluster_id: Arc<RwLock<Option<Arc<str>>>>,
}

impl NodeIdentity {
    /// Creates the identity from its store, which is read once.
    #[must_use]
    pub fn new(store: Arc<dyn IdentityStore>) -> Self {
        let node_id = store.node_id();
        let cluster_id = Arc::new(RwLock::new(store.cluster_id().map(Arc::from)));
        Self { store, node_id, cluster_id }
    }

    /// Returns the id of this node.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    /// Returns the cluster id; `None` until the node belongs to a cluster.
    #[must_use]
    pub fn cluster_id(&self) -> Option<Arc<str>> {
        self.cluster_id.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns `true` if the node was never part of a cluster.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// Adopts the cluster id, durably. Adopting the same id again succeeds.
    ///
    /// # Errors
    /// [`AdoptError`]; the node is unchanged.
    pub async fn adopt(&self, cluster_id: &str) -> Result<(), AdoptError> {
        if cluster_id.is_empty() {
            return Err(AdoptError::Missing);
        }
        match self.cluster_id() {
            Some(present) if *present == *cluster_id => return Ok(()),
            Some(present) => {
                return Err(AdoptError::Other { present: present.to_string(), asked: cluster_id.to_owned() });
            }
            None if !self.is_empty() => return Err(AdoptError::NotEmpty),
            None => {}
        }
        // If two clusters call at once, the store accepts the first id and refuses the second.
        self.store.set_cluster_id(cluster_id).await.map_err(AdoptError::Store)?;
        // After the store: from here on, requests are answered without asking it.
        *self.cluster_id.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::from(cluster_id));
        tracing::info!(cluster_id, node_id = self.node_id, "this node has joined a cluster");
        Ok(())
    }

    /// Returns the target that names a peer in a request to it.
    #[must_use]
    pub fn target(&self, node_id: u64) -> pb::Target {
        let cluster_id = self.cluster_id().map(|id| id.to_string()).unwrap_or_default();
        pb::Target { cluster_id, node_id, from_node_id: self.node_id }
    }

    /// Checks that a request is for this node of this cluster. Returns the id of the sender.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION`, which tells the sender to look for another address.
    pub fn check(&self, target: Option<&pb::Target>) -> Result<u64, Status> {
        let target = self.check_node(target)?;
        match self.cluster_id() {
            Some(own) if *own == *target.cluster_id => Ok(target.from_node_id),
            _ => Err(self.wrong(target)),
        }
    }

    /// Checks a Raft request like [`NodeIdentity::check`]. From such a request, a node with an empty volume learns its
    /// cluster.
    pub async fn check_or_adopt(&self, target: Option<&pb::Target>) -> Result<u64, Status> {
        let target = self.check_node(target)?;
        self.adopt(&target.cluster_id).await.map_err(|error| match error {
            AdoptError::Store(_) => Status::internal(error.to_string()),
            _ => self.wrong(target),
        })?;
        Ok(target.from_node_id)
    }

    fn check_node<'a>(&self, target: Option<&'a pb::Target>) -> Result<&'a pb::Target, Status> {
        let target = target.ok_or_else(|| Status::invalid_argument("the request names no target"))?;
        if target.node_id == self.node_id { Ok(target) } else { Err(self.wrong(target)) }
    }

    fn wrong(&self, target: &pb::Target) -> Status {
        let own = self.cluster_id();
        Status::failed_precondition(format!(
            "the request is for node {} of cluster {:?}, but this is node {} of cluster {:?}",
            target.node_id,
            target.cluster_id,
            self.node_id,
            own.as_deref().unwrap_or_default(),
        ))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Mutex;

    /// An identity in memory.
    pub(crate) struct MemoryIdentity {
        pub(crate) node_id: u64,
        pub(crate) cluster_id: Mutex<Option<String>>,
        pub(crate) empty: bool,
    }

    impl IdentityStore for MemoryIdentity {
        fn node_id(&self) -> u64 {
            self.node_id
        }
        fn cluster_id(&self) -> Option<String> {
            self.cluster_id.lock().expect("no panic").clone()
        }
        fn is_empty(&self) -> bool {
            self.empty
        }
        fn set_cluster_id<'a>(&'a self, cluster_id: &'a str) -> BoxFuture<'a, io::Result<()>> {
            *self.cluster_id.lock().expect("no panic") = Some(cluster_id.to_owned());
            Box::pin(async { Ok(()) })
        }
    }

    pub(crate) fn identity(node_id: u64, cluster_id: Option<&str>, empty: bool) -> NodeIdentity {
        let cluster_id = Mutex::new(cluster_id.map(str::to_owned));
        NodeIdentity::new(Arc::new(MemoryIdentity { node_id, cluster_id, empty }))
    }

    fn target(cluster_id: &str, node_id: u64) -> pb::Target {
        pb::Target { cluster_id: cluster_id.to_owned(), node_id, from_node_id: 9 }
    }

    #[tokio::test]
    async fn an_empty_node_takes_the_first_cluster_that_names_it_and_no_second_one() {
        let identity = identity(7, None, true);
        assert!(identity.check(Some(&target("a", 7))).is_err(), "only Raft's own requests make a member");
        assert!(identity.check_or_adopt(Some(&target("a", 8))).await.is_err(), "another node was meant");
        assert_eq!(identity.check_or_adopt(Some(&target("a", 7))).await.expect("adopts"), 9);
        assert_eq!(identity.cluster_id().as_deref(), Some("a"));
        let refused = identity.check_or_adopt(Some(&target("b", 7))).await.expect_err("is of a");
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert_eq!(identity.check(Some(&target("a", 7))).expect("is of a"), 9);
    }

    #[tokio::test]
    async fn a_node_with_a_log_but_no_cluster_id_takes_none() {
        let identity = identity(7, None, false);
        assert!(matches!(identity.adopt("a").await, Err(AdoptError::NotEmpty)));
    }
}
