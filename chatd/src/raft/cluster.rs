//! A node's view of its cluster, as of one moment and as it changes.
//!
//! openraft's metrics say which node was elected. Whether that leader is still present follows from the answers of its
//! quorum (on the leader) and from the last append (on other nodes). [`ClusterMonitor::status`] combines both.

mod readiness;
mod status;

pub(crate) use readiness::NeighbourAnswers;
pub use status::{ClusterMember, FormatLevels, MembershipView, NodeReadiness, NodeRole, NodeStatus, PeerProgress};

use super::{
    clock::Timekeeper,
    consensus::{ConsensusRef, MetricsWatch},
    contact::LastContact,
    identity::NodeIdentity,
    leadership::Leadership,
    types::{LogId, TypeConfig},
};
use crate::feed::LevelInForce;
use openraft::{Instant as _, RaftMetrics, ServerState, async_runtime::watch::WatchReceiver as _};
use quorate_core::query::{SweepCursor, SweepPart};
use readiness::{ReadinessFacts, ReadinessGate};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

/// Time without contact after which a leader is no longer named: three of the longest elections.
pub const PRESENT: Duration = Duration::from_secs(1);
/// Interval at which the status is checked, as silence raises no event.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Facts known to the state and not to Raft.
pub trait StateFacts: Send + Sync + 'static {
    /// Returns `true` once the cluster's first command is applied: the cluster has a name, and accounts can be created.
    fn is_bootstrapped(&self) -> bool;

    /// Returns the ids of at most `limit` rooms that hold events which their own retention rule no longer keeps. Reads
    /// the row of every room.
    fn expired_rooms(&self, now_ms: u64, limit: usize) -> Vec<String>;

    /// Returns devices that are no longer used; see
    /// [`StateView::devices_to_sweep`](quorate_core::query::StateView::devices_to_sweep).
    fn devices_to_sweep(&self, cursor: &SweepCursor, now_ms: u64, kept_ms: u64, rows: usize) -> SweepPart;

    /// Returns at most `limit` users whose latest profile change does not show in all of their rooms yet.
    fn unfinished_renewals(&self, limit: usize) -> Vec<String>;

    /// Returns at most `limit` deactivated users of whom something is left to remove.
    fn unfinished_departures(&self, limit: usize) -> Vec<String>;

    /// Returns the ids of at most `limit` deleted rooms of which something is left to remove.
    fn unfinished_clearings(&self, limit: usize) -> Vec<String>;

    /// Returns `true` if reading may wait for a disk.
    fn may_block(&self) -> bool;
}

/// The part of the status that watchers wait for: leader, term, role, membership, readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSummary {
    /// Role of this node.
    pub role: NodeRole,
    /// Current Raft term of this node.
    pub term: u64,
    /// Node id of the leader; `None` if none was heard within the last second.
    pub leader: Option<u64>,
    /// Log index of the membership entry, which identifies the membership.
    pub membership_index: u64,
    /// `true` if this pod may receive client traffic.
    pub ready: bool,
}

/// A node's view of its cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClusterMonitor {
    inner: Arc<Inner>,
}

struct Inner {
    identity: NodeIdentity,
    metrics: MetricsWatch,
    contact: LastContact,
    facts: Arc<dyn StateFacts>,
    time: Timekeeper,
    /// Format level in force, and the highest that this pod knows.
    level: (LevelInForce, u32),
    neighbours: NeighbourAnswers,
    memory: Mutex<MonitorState>,
    headline: watch::Sender<StatusSummary>,
}

/// State kept between two checks.
#[derive(Default)]
struct MonitorState {
    gate: ReadinessGate,
    /// Last entry in the log when this process started; a node that has applied it has caught up.
    last_at_start: Option<u64>,
    leader: Option<(u64, u64, Instant)>,
}

impl ClusterMonitor {
    /// Starts to watch the cluster; the background task ends when openraft stops.
    #[must_use]
    pub fn start(
        consensus: &ConsensusRef,
        identity: NodeIdentity,
        contact: LastContact,
        facts: Arc<dyn StateFacts>,
        time: Timekeeper,
        level: (LevelInForce, u32),
    ) -> Self {
        let metrics = consensus.metrics();
        let last_at_start = metrics.borrow_watched().last_log_index;
        let first = StatusSummary { role: NodeRole::Learner, term: 0, leader: None, membership_index: 0, ready: false };
        let memory = Mutex::new(MonitorState { last_at_start, ..MonitorState::default() });
        let leadership = Leadership::of(identity.node_id(), consensus);
        let neighbours = NeighbourAnswers::default();
        let headline = watch::Sender::new(first);
        let inner = Inner { identity, metrics, contact, facts, time, level, neighbours, memory, headline };
        let cluster = Self { inner: Arc::new(inner) };
        tokio::spawn(cluster.clone().keep_watch(leadership));
        cluster
    }

    /// Returns the complete status, as of this moment.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        self.inner.status()
    }

    /// Returns this node's knowledge of the time.
    #[must_use]
    pub fn time(&self) -> &Timekeeper {
        &self.inner.time
    }

    /// Returns the record of what other members answer while this node hears no leader.
    pub(crate) fn neighbours(&self) -> &NeighbourAnswers {
        &self.inner.neighbours
    }

    /// Returns a receiver of headlines. A headline is a state, so a missed one costs nothing.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<StatusSummary> {
        self.inner.headline.subscribe()
    }

    async fn keep_watch(self, mut leadership: Leadership) {
        loop {
            let status = self.status();
            let headline = StatusSummary {
                role: status.role,
                term: status.term,
                leader: status.leader,
                membership_index: status.membership.log_index,
                ready: status.readiness == NodeReadiness::Ready,
            };
            self.inner.headline.send_if_modified(|present| {
                let changed = *present != headline;
                *present = headline;
                changed
            });
            if let Ok(false) = timeout(LOOK_EVERY, leadership.changed()).await {
                return;
            }
        }
    }
}

impl Inner {
    fn status(&self) -> NodeStatus {
        // A clone, because the lock that `borrow` holds keeps openraft from publishing.
        let metrics = self.metrics.borrow_watched().clone();
        let membership = MembershipView::new(&metrics.membership_config);
        let role = node_role(metrics.state);
        let quorum_ack_age = self.quorum_ack_age(&metrics, &membership);
        let leader = self.present_leader(&metrics, quorum_ack_age);
        // Taken before the memory is locked, as it takes locks of its own.
        let time = self.time.status();
        let mut memory = self.memory();
        NodeStatus {
            node_id: self.identity.node_id(),
            cluster_id: self.identity.cluster_id(),
            role,
            term: metrics.current_term,
            leader,
            leader_age: memory.leader_age(leader, metrics.current_term),
            last_log_index: metrics.last_log_index.unwrap_or(0),
            committed_index: index_or_zero(metrics.cluster_committed.as_ref().max(metrics.local_committed.as_ref())),
            applied_index: index_or_zero(metrics.last_applied.as_ref()),
            snapshot_index: index_or_zero(metrics.snapshot.as_ref()),
            purged_index: index_or_zero(metrics.purged.as_ref()),
            quorum_ack_age,
            leader_contact_age: if role == NodeRole::Leader { None } else { self.contact.age() },
            progress: self.progress(&metrics),
            readiness: self.readiness(&metrics, &membership, leader, time.wrong_by(), &mut memory),
            time,
            levels: FormatLevels { in_force: self.level.0.get(), known: self.level.1 },
            membership,
        }
    }

    fn present_leader(&self, metrics: &RaftMetrics<TypeConfig>, quorum_ack_age: Option<Duration>) -> Option<u64> {
        let own = self.identity.node_id();
        let age = if metrics.state == ServerState::Leader { quorum_ack_age } else { self.contact.age() };
        let named = if metrics.state == ServerState::Leader { Some(own) } else { metrics.current_leader };
        named
            .filter(|id| *id != own || metrics.state == ServerState::Leader)
            .filter(|_| age.is_some_and(|age| age <= PRESENT))
    }

    fn quorum_ack_age(&self, metrics: &RaftMetrics<TypeConfig>, membership: &MembershipView) -> Option<Duration> {
        if metrics.state != ServerState::Leader {
            return None;
        }
        let own = self.identity.node_id();
        // A single voter is its own quorum, and no other node's answer updates the timestamp.
        if membership.voter_sets.iter().all(|set| set.len() == 1 && set.contains(&own)) {
            return Some(Duration::ZERO);
        }
        metrics.last_quorum_acked.map(|at| at.elapsed())
    }

    fn progress(&self, metrics: &RaftMetrics<TypeConfig>) -> Vec<PeerProgress> {
        let last = metrics.last_log_index.unwrap_or(0);
        let Some(replication) = &metrics.replication else { return Vec::new() };
        let others = replication.iter().filter(|(id, _)| **id != self.identity.node_id());
        others
            .map(|(id, matched)| {
                let matched_index = matched.as_ref().map(|matched| matched.index);
                let heard = metrics.heartbeat.as_ref().and_then(|all| all.get(id).copied().flatten());
                PeerProgress {
                    node_id: *id,
                    matched_index,
                    lag: last.saturating_sub(matched_index.unwrap_or(0)),
                    contact_age: heard.map(|at| at.elapsed()),
                }
            })
            .collect()
    }

    fn readiness(
        &self,
        metrics: &RaftMetrics<TypeConfig>,
        membership: &MembershipView,
        leader: Option<u64>,
        clock_wrong_by: Option<i64>,
        memory: &mut MonitorState,
    ) -> NodeReadiness {
        let own = self.identity.node_id();
        let facts = ReadinessFacts {
            own,
            joined: self.identity.cluster_id().is_some() && membership.contains(own),
            membership,
            has_leader: leader.is_some(),
            leads: leader == Some(own),
            committed: metrics.cluster_committed.as_ref().map(|id| id.index),
            applied: metrics.last_applied.as_ref().map(|id| id.index),
            // Entries that were in the log at the start may have been truncated since, in favour of another leader's.
            at_start: memory.last_at_start.min(metrics.last_log_index),
            clock_wrong_by,
            neighbours: &self.neighbours,
        };
        memory.gate.look(&facts, || self.facts.is_bootstrapped())
    }

    fn memory(&self) -> MutexGuard<'_, MonitorState> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MonitorState {
    fn leader_age(&mut self, leader: Option<u64>, term: u64) -> Option<Duration> {
        let Some(leader) = leader else {
            self.leader = None;
            return None;
        };
        match self.leader {
            Some((id, of_term, since)) if id == leader && of_term == term => Some(since.elapsed()),
            _ => {
                self.leader = Some((leader, term, Instant::now()));
                Some(Duration::ZERO)
            }
        }
    }
}

fn node_role(state: ServerState) -> NodeRole {
    match state {
        ServerState::Leader => NodeRole::Leader,
        ServerState::Follower => NodeRole::Follower,
        ServerState::Candidate => NodeRole::Candidate,
        ServerState::Learner | ServerState::Shutdown => NodeRole::Learner,
    }
}

fn index_or_zero(id: Option<&LogId>) -> u64 {
    id.map_or(0, |id| id.index)
}
