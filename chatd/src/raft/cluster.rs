//! What this node knows of its cluster, now and as it changes.
//!
//! openraft's figures say who was elected; whether that leader is still there is told by its quorum's answers (on the
//! leader) and by the last append (elsewhere). [`Cluster::status`] puts both together.

mod readiness;
mod status;

pub(crate) use readiness::Neighbours;
pub use status::{Member, MembershipView, NodeStatus, PeerProgress, Readiness, Role};

use super::{
    clock::Timekeeper,
    consensus::{ConsensusRef, MetricsWatch},
    contact::Contact,
    identity::Identity,
    leadership::Leadership,
    types::{LogId, TypeConfig},
};
use openraft::{Instant as _, RaftMetrics, ServerState, async_runtime::watch::WatchReceiver as _};
use quorate_core::query::{SweepCursor, SweepPart};
use readiness::{Facts, Gate};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

/// A leader that is not heard for this long is not named: three of the longest elections.
pub const PRESENT: Duration = Duration::from_secs(1);
/// Silence has no event: it is looked for this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Facts that the state knows and Raft does not.
pub trait StateFacts: Send + Sync + 'static {
    /// The cluster's first command is applied: it has a name, accounts can be made.
    fn is_bootstrapped(&self) -> bool;

    /// Ids of rooms that hold events which their own rule no longer keeps, at most `limit`. Reads every room's row.
    fn expired_rooms(&self, now_ms: u64, limit: usize) -> Vec<String>;

    /// Devices that nobody uses any more; see [`View::devices_to_sweep`](quorate_core::query::View::devices_to_sweep).
    fn devices_to_sweep(&self, cursor: &SweepCursor, now_ms: u64, kept_ms: u64, rows: usize) -> SweepPart;

    /// Users whose last change of profile not all of their rooms show yet, at most `limit`.
    fn unfinished_renewals(&self, limit: usize) -> Vec<String>;

    /// Reading may wait for a disk.
    fn may_block(&self) -> bool;
}

/// What watchers wait for: leader, term, role, membership, readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headline {
    /// What this node does.
    pub role: Role,
    /// Raft's term.
    pub term: u64,
    /// Who leads, if anyone was heard within the last second.
    pub leader: Option<u64>,
    /// Log index of the membership, which changes with it.
    pub membership_index: u64,
    /// May it get clients?
    pub ready: bool,
}

/// A node's view of its cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Identity,
    metrics: MetricsWatch,
    contact: Contact,
    facts: Arc<dyn StateFacts>,
    time: Timekeeper,
    neighbours: Neighbours,
    memory: Mutex<Memory>,
    headline: watch::Sender<Headline>,
}

/// What has to be remembered between two looks.
#[derive(Default)]
struct Memory {
    gate: Gate,
    /// Last entry in the log when this process started: applying that far is having caught up.
    last_at_start: Option<u64>,
    leader: Option<(u64, u64, Instant)>,
}

impl Cluster {
    /// Starts to watch; ends when openraft stops.
    #[must_use]
    pub fn start(
        consensus: &ConsensusRef,
        identity: Identity,
        contact: Contact,
        facts: Arc<dyn StateFacts>,
        time: Timekeeper,
    ) -> Self {
        let metrics = consensus.metrics();
        let last_at_start = metrics.borrow_watched().last_log_index;
        let first = Headline { role: Role::Learner, term: 0, leader: None, membership_index: 0, ready: false };
        let memory = Mutex::new(Memory { last_at_start, ..Memory::default() });
        let leadership = Leadership::of(identity.node_id(), consensus);
        let (neighbours, headline) = (Neighbours::default(), watch::Sender::new(first));
        let inner = Inner { identity, metrics, contact, facts, time, neighbours, memory, headline };
        let cluster = Self { inner: Arc::new(inner) };
        tokio::spawn(cluster.clone().keep_watch(leadership));
        cluster
    }

    /// Everything, as of now.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        self.inner.status()
    }

    /// What is known of the time.
    #[must_use]
    pub fn time(&self) -> &Timekeeper {
        &self.inner.time
    }

    /// Where the answers of others go, while this node hears no leader.
    pub(crate) fn neighbours(&self) -> &Neighbours {
        &self.inner.neighbours
    }

    /// Follows the headlines: states, so that one that was missed costs nothing.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Headline> {
        self.inner.headline.subscribe()
    }

    async fn keep_watch(self, mut leadership: Leadership) {
        loop {
            let status = self.status();
            let headline = Headline {
                role: status.role,
                term: status.term,
                leader: status.leader,
                membership_index: status.membership.log_index,
                ready: status.readiness == Readiness::Ready,
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
        let role = role(metrics.state);
        let quorum_ack_age = self.quorum_ack_age(&metrics, &membership);
        let leader = self.present_leader(&metrics, quorum_ack_age);
        // Before the memory is locked: it has locks of its own.
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
            committed_index: index(metrics.cluster_committed.as_ref().max(metrics.local_committed.as_ref())),
            applied_index: index(metrics.last_applied.as_ref()),
            snapshot_index: index(metrics.snapshot.as_ref()),
            purged_index: index(metrics.purged.as_ref()),
            quorum_ack_age,
            leader_contact_age: if role == Role::Leader { None } else { self.contact.age() },
            progress: self.progress(&metrics),
            readiness: self.readiness(&metrics, &membership, leader, time.wrong_by(), &mut memory),
            time,
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
        // A single voter is its own quorum, and nobody else's answers stamp it.
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
        memory: &mut Memory,
    ) -> Readiness {
        let own = self.identity.node_id();
        let facts = Facts {
            own,
            joined: self.identity.cluster_id().is_some() && membership.contains(own),
            membership,
            has_leader: leader.is_some(),
            leads: leader == Some(own),
            committed: metrics.cluster_committed.as_ref().map(|id| id.index),
            applied: metrics.last_applied.as_ref().map(|id| id.index),
            // What was in the log at the start may have been cut off since by another leader's entries.
            at_start: memory.last_at_start.min(metrics.last_log_index),
            clock_wrong_by,
            neighbours: &self.neighbours,
        };
        memory.gate.look(&facts, || self.facts.is_bootstrapped())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
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

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner | ServerState::Shutdown => Role::Learner,
    }
}

fn index(id: Option<&LogId>) -> u64 {
    id.map_or(0, |id| id.index)
}
