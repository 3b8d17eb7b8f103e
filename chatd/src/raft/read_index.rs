//! Linearizable reads on any pod (Raft dissertation §6.4).
//!
//! The leader confirms with a quorum that it still leads, and names the index that was committed by then; a pod that
//! has applied that far may read. One request serves all reads that arrived before it was *sent*: a read that arrives
//! later waits for the next one, because the running one may have been confirmed before writes that the read must see.

use super::{
    consensus::ConsensusRef,
    leadership::Leadership,
    network::{PeerSet, convert::log_id_from_pb, lanes::ConnectionClass},
    propose::ProposeObserver,
    types::LogId,
};
use quorate_core::id::Position;
use quorate_wire::raft::v1 as pb;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{timeout, timeout_at},
};
use tonic::Status;

/// Limit on the reads that wait for an index. They are cheap to keep; beyond the limit a pod is better off serving none
/// of them late.
const WAITING: usize = 8192;
/// Time limit of one try at the leader: openraft's own limit is one lease (300 ms).
const TRY_LIMIT: Duration = Duration::from_secs(1);
/// Pause between tries while there is no leader to ask, or the node that was asked does not lead.
const PAUSE: Duration = Duration::from_millis(20);

/// Freshness of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFreshness {
    /// The read sees everything acknowledged before it began.
    Linearizable,
    /// The read sees this pod's own state, which may be behind: no leader could be asked in time.
    Stale,
}

/// Reason why a read cannot be served by this pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadGateError {
    /// Too many reads are waiting.
    #[error("too many reads are waiting on this pod; try again")]
    Overloaded,
    /// The pod has not applied the requested position, and did not in time.
    #[error("this pod has not caught up to the position asked for; try again, or use another pod")]
    Behind,
    /// The pod is stopping.
    #[error("this pod is stopping; use another one")]
    Stopping,
}

type IndexSender = oneshot::Sender<LogId>;

/// Gate that reads pass before they are served. Cheap to clone.
#[derive(Clone)]
pub struct ReadGate {
    requests: mpsc::Sender<IndexSender>,
    applied: watch::Receiver<Position>,
    leadership: Leadership,
    wait: Duration,
}

impl ReadGate {
    /// Starts the task that asks for read indexes; it ends when the last clone is dropped. `applied` is the end of the
    /// last applied entry; `wait` bounds a linearizable read before it is served stale.
    #[must_use]
    pub fn start(
        consensus: &ConsensusRef,
        peers: &PeerSet,
        applied: watch::Receiver<Position>,
        wait: Duration,
        observer: Arc<dyn ProposeObserver>,
    ) -> Self {
        let leadership = Leadership::of(peers.identity().node_id(), consensus);
        let (requests, receiver) = mpsc::channel(WAITING);
        let asker = IndexFetcher {
            consensus: consensus.clone(),
            peers: peers.clone(),
            leadership: leadership.clone(),
            waiting: Vec::new(),
            observer,
        };
        tokio::spawn(asker.run(receiver));
        Self { requests, applied, leadership, wait }
    }

    /// Waits until this pod may serve a linearizable read; returns [`ReadFreshness::Stale`] after the time limit.
    ///
    /// # Errors
    /// [`ReadGateError::Overloaded`], [`ReadGateError::Stopping`].
    pub async fn linearizable(&self) -> Result<ReadFreshness, ReadGateError> {
        let deadline = tokio::time::Instant::now() + self.wait;
        let gate = async {
            let LogId { index, .. } = self.index()?.await.map_err(|_| ReadGateError::Stopping)?;
            self.until(|applied| applied.index >= index).await
        };
        match timeout_at(deadline, gate).await {
            Ok(Ok(())) => Ok(ReadFreshness::Linearizable),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(ReadFreshness::Stale),
        }
    }

    /// Waits until this pod has applied `position`: for reads that carry a token, and for reads after one's own write.
    ///
    /// # Errors
    /// [`ReadGateError::Behind`] after `limit`, [`ReadGateError::Stopping`].
    pub async fn applied_at_least(&self, position: Position, limit: Duration) -> Result<(), ReadGateError> {
        // An entry is applied as a whole, and its end is published: any position inside it is then reached.
        timeout(limit, self.until(|applied| *applied >= position)).await.map_err(|_| ReadGateError::Behind)?
    }

    /// Returns an index that was confirmed after this call began, for another pod.
    ///
    /// # Errors
    /// `ABORTED` if this node does not lead (the caller should ask the leader), `UNAVAILABLE` if it cannot confirm that
    /// it does.
    pub(crate) async fn confirm(&self) -> Result<LogId, Status> {
        if !self.leadership.is_leader() {
            return Err(Status::aborted("this node is not the leader"));
        }
        let index = self.index().map_err(|error| Status::resource_exhausted(error.to_string()))?;
        match timeout(TRY_LIMIT, index).await {
            Ok(Ok(index)) => Ok(index),
            Ok(Err(_)) => Err(Status::unavailable("this node is stopping")),
            Err(_) => Err(Status::unavailable("this node could not confirm its leadership with a quorum")),
        }
    }

    fn index(&self) -> Result<oneshot::Receiver<LogId>, ReadGateError> {
        let (waiting, index) = oneshot::channel();
        self.requests.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReadGateError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ReadGateError::Stopping,
        })?;
        Ok(index)
    }

    async fn until(&self, reached: impl FnMut(&Position) -> bool) -> Result<(), ReadGateError> {
        let mut applied = self.applied.clone();
        applied.wait_for(reached).await.map(drop).map_err(|_| ReadGateError::Stopping)
    }
}

struct IndexFetcher {
    consensus: ConsensusRef,
    peers: PeerSet,
    leadership: Leadership,
    waiting: Vec<IndexSender>,
    observer: Arc<dyn ProposeObserver>,
}

impl IndexFetcher {
    async fn run(mut self, mut requests: mpsc::Receiver<IndexSender>) {
        loop {
            if self.waiting.is_empty() {
                match requests.recv().await {
                    Some(waiting) => self.waiting.push(waiting),
                    None => return,
                }
            }
            // Reads that arrive before the request is sent may share it.
            while self.waiting.len() < WAITING
                && let Ok(waiting) = requests.try_recv()
            {
                self.waiting.push(waiting);
            }
            self.waiting.retain(|waiting| !waiting.is_closed());
            if !self.waiting.is_empty() {
                self.ask().await;
            }
        }
    }

    async fn ask(&mut self) {
        let start = Instant::now();
        match timeout(TRY_LIMIT, self.index()).await {
            Ok(Some(index)) => {
                self.observer.read_index(self.waiting.len(), start.elapsed());
                for waiting in self.waiting.drain(..) {
                    let _ = waiting.send(index);
                }
            }
            Ok(None) => drop(timeout(PAUSE, self.leadership.until_changed()).await),
            Err(_) => {}
        }
    }

    /// Asks the current leader for an index; `None` if there is none at the moment.
    async fn index(&self) -> Option<LogId> {
        let leader = self.leadership.leader()?;
        let identity = self.peers.identity();
        if leader == identity.node_id() {
            return match self.consensus.read_index().await {
                Ok(id) => Some(id),
                Err(error) => {
                    tracing::debug!(%error, "no read index from this node");
                    None
                }
            };
        }
        let node = self.leadership.member(leader)?;
        let peer = self.peers.peer(leader, &node.peer_address);
        let mut connection = peer.connect(ConnectionClass::Calls);
        let request = pb::ReadIndexRequest { target: Some(identity.target(leader)) };
        match connection.client.read_index(request).await {
            Ok(response) => response.into_inner().read_index.as_ref().map(log_id_from_pb),
            Err(status) => {
                tracing::debug!(leader, %status, "no read index from the leader");
                peer.failed(&connection, &status);
                None
            }
        }
    }
}
