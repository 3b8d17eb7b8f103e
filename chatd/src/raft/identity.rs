//! Which cluster and node this is, and the check that every request of a peer passes.
//!
//! A pod never decides that it is new, and never joins a cluster by itself (docs/adr/0010). An empty volume has a fresh
//! random 63-bit node id. Nobody can name that id who was not told it over mutual TLS by the pod itself, so the first
//! Raft request that names it together with a cluster id is the cluster's own way of saying that the node was added.
//! The cluster id is made durable *before* that request is answered: a vote or an append can then never be given to
//! one cluster and the next one to another.

use futures::future::BoxFuture;
use quorate_wire::raft::v1 as pb;
use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
};
use tonic::Status;

/// Where the identity lives for good: beside vote and log, and only there.
pub trait IdentityStore: Send + Sync + 'static {
    /// This node, for as long as its volume lives.
    fn node_id(&self) -> u64;
    /// `None` until the node belongs to a cluster.
    fn cluster_id(&self) -> Option<String>;
    /// No vote, no log, nothing purged: never part of a cluster.
    fn is_empty(&self) -> bool;
    /// Durable when it ends.
    ///
    /// # Errors
    /// When another id is set already, or the disk fails.
    fn set_cluster_id<'a>(&'a self, cluster_id: &'a str) -> BoxFuture<'a, io::Result<()>>;
}

/// Why a node does not take a cluster's id.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// It has one.
    #[error(
        "this node belongs to cluster {present}, not to {asked}; check the address, or give the node an empty volume"
    )]
    Other {
        /// Its own.
        present: String,
        /// The one in the request.
        asked: String,
    },
    /// Its volume has a log but no id: damage, or somebody's file by hand.
    #[error("this node's volume is not empty but names no cluster; give the node an empty volume")]
    NotEmpty,
    /// An id that cannot be one.
    #[error("the cluster id is empty")]
    Missing,
    /// It could not be made durable.
    #[error("cannot store the cluster id")]
    Store(#[source] io::Error),
}

/// The identity, with the cluster id kept at hand: it is compared on every request.
#[derive(Clone)]
pub struct Identity {
    store: Arc<dyn IdentityStore>,
    node_id: u64,
    cluster_id: Arc<RwLock<Option<Arc<str>>>>,
}

impl Identity {
    /// Reads it once.
    #[must_use]
    pub fn new(store: Arc<dyn IdentityStore>) -> Self {
        let node_id = store.node_id();
        let cluster_id = Arc::new(RwLock::new(store.cluster_id().map(Arc::from)));
        Self { store, node_id, cluster_id }
    }

    /// This node.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    /// `None` until the node belongs to a cluster.
    #[must_use]
    pub fn cluster_id(&self) -> Option<Arc<str>> {
        self.cluster_id.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Never part of a cluster.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// Takes the id, durably; the same id again is success.
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
        // Two at once, for two clusters: the store takes the first and refuses the second.
        self.store.set_cluster_id(cluster_id).await.map_err(AdoptError::Store)?;
        *self.cluster_id.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::from(cluster_id));
        tracing::info!(cluster_id, node_id = self.node_id, "this node belongs to a cluster now");
        Ok(())
    }

    /// How this node names a peer in a request to it.
    #[must_use]
    pub fn target(&self, node_id: u64) -> pb::Target {
        let cluster_id = self.cluster_id().map(|id| id.to_string()).unwrap_or_default();
        pb::Target { cluster_id, node_id, from_node_id: self.node_id }
    }

    /// Is the request for this node of this cluster? Returns who sent it.
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

    /// The same for Raft's own requests, by which a node with an empty volume learns its cluster.
    ///
    /// # Errors
    /// As [`Identity::check`].
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
            "the request is for node {} of cluster {:?}, this is node {} of cluster {:?}",
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

    pub(crate) fn identity(node_id: u64, cluster_id: Option<&str>, empty: bool) -> Identity {
        let cluster_id = Mutex::new(cluster_id.map(str::to_owned));
        Identity::new(Arc::new(MemoryIdentity { node_id, cluster_id, empty }))
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
