//! Forwards a follower's writes to the leader over one pipelined stream; answers arrive in any order.
//!
//! A [`LeaderLink`] is a task that owns the stream to one leader. It ends with the stream, or when this node hears of another
//! leader. The outcome of commands sent by then is *unknown*; commands not sent yet are tried again elsewhere.

use super::{
    leadership::Leadership,
    network::{
        PeerSet,
        lanes::{ConnectionClass, RaftPeer},
    },
    propose::{ProposeError, ProposeObserver, error::ProposeAttempt},
};
use crate::trace::{SpanMark, attribute, wire};
use futures::Stream;
use prost::{Message as _, bytes::Bytes};
use quorate_core::apply::KnownFormat;
use quorate_core::proto::log::{Envelope, Outcome};
use quorate_wire::raft::v1::{self as pb, forward_response::Result as Answer};
use quorate_wire::whole_millis;
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tonic::{Status, Streaming};

/// Commands of this pod on their way to the leader: as many as the leader's own queue holds, so that one follower can
/// fill it and no more.
const IN_FLIGHT: usize = 4096;
const OVERLOADED_FOR: Duration = Duration::from_millis(100);

/// Values of `Refused.kind` on the wire.
pub(crate) mod refused {
    pub(crate) const OVERLOADED: u32 = 1;
    pub(crate) const RATE_LIMITED: u32 = 2;
    pub(crate) const STOPPING: u32 = 3;
    pub(crate) const TOO_NEW: u32 = 4;
    pub(crate) const STORAGE_FULL: u32 = 45;
}

struct ForwardJob {
    envelope: Bytes,
    /// Format level of the command.
    level: u32,
    answer: oneshot::Sender<ProposeAttempt>,
    /// Trace context, if the command is sampled.
    trace: Option<Box<pb::TraceContext>>,
}

/// Sends commands to the current leader. One per process.
pub(crate) struct WriteForwarder {
    peers: PeerSet,
    leadership: Leadership,
    observer: Arc<dyn ProposeObserver>,
    in_flight: Arc<Semaphore>,
    link: Mutex<Option<LeaderLink>>,
    format: KnownFormat,
}

/// Task that forwards to one leader.
struct LeaderLink {
    leader: u64,
    jobs: mpsc::Sender<ForwardJob>,
}

impl WriteForwarder {
    pub(crate) fn new(
        peers: PeerSet,
        leadership: Leadership,
        observer: Arc<dyn ProposeObserver>,
        format: KnownFormat,
    ) -> Self {
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
        Self { peers, leadership, observer, in_flight, link: Mutex::new(None), format }
    }

    /// Makes one attempt at this leader. The command is queued when this function returns, in the order of the calls.
    ///
    /// # Errors
    /// [`ProposeError::Overloaded`] if too many commands are in flight.
    pub(crate) fn forward(
        &self,
        leader: u64,
        envelope: &Envelope,
        trace: Option<&SpanMark>,
    ) -> Result<impl Future<Output = ProposeAttempt> + Send + 'static + use<>, ProposeError> {
        let Ok(place) = self.in_flight.clone().try_acquire_owned() else {
            return Err(ProposeError::Overloaded { retry_after: OVERLOADED_FOR });
        };
        let mut span = trace.and_then(|parent| parent.call("forward")).map(Box::new);
        let answer = self.send(leader, envelope, span.as_ref().map(|span| span.mark()));
        Ok(async move {
            let _place = place;
            let attempt = match answer {
                Some(answer) => {
                    answer.await.unwrap_or_else(|_| ProposeAttempt::Unknown("the stream to the leader broke".into()))
                }
                None => ProposeAttempt::NotLeader(None),
            };
            if let Some(span) = &mut span {
                span.count(attribute::PEER, leader);
                span.set(attribute::RESULT, attempt.label());
            }
            attempt
        })
    }

    fn send(
        &self,
        leader: u64,
        envelope: &Envelope,
        trace: Option<&SpanMark>,
    ) -> Option<oneshot::Receiver<ProposeAttempt>> {
        let (answer, receiver) = oneshot::channel();
        let trace = trace.map(|mark| Box::new(wire::to_pb(mark)));
        let level = KnownFormat::encode_level((self.format.level_of)(envelope));
        let job = ForwardJob { envelope: envelope.encode_to_vec().into(), level, answer, trace };
        // Never full: it has as many places as commands may be in flight.
        self.jobs(leader)?.try_send(job).ok()?;
        self.observer.forwarded();
        Some(receiver)
    }

    /// Returns the current link to this leader, or opens a new one.
    fn jobs(&self, leader: u64) -> Option<mpsc::Sender<ForwardJob>> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = link.as_ref().filter(|l| l.leader == leader && !l.jobs.is_closed()) {
            return Some(present.jobs.clone());
        }
        let node = self.leadership.member(leader)?;
        let (jobs, receiver) = mpsc::channel(IN_FLIGHT);
        let peer = self.peers.peer(leader, &node.peer_address);
        let target = self.peers.identity().target(leader);
        tokio::spawn(run_link(peer, target, receiver, self.leadership.clone()));
        *link = Some(LeaderLink { leader, jobs: jobs.clone() });
        Some(jobs)
    }
}

/// State shared by the two directions of a stream. It is taken apart when the stream ends, because the HTTP connection
/// may keep its request body a little longer.
struct LinkState {
    jobs: Option<mpsc::Receiver<ForwardJob>>,
    waker: Option<Waker>,
    sent: HashMap<u64, oneshot::Sender<ProposeAttempt>>,
    next_sequence: u64,
}

fn lock_state(shared: &Mutex<LinkState>) -> MutexGuard<'_, LinkState> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct OutgoingCommands {
    shared: Arc<Mutex<LinkState>>,
    target: pb::Target,
}

impl Stream for OutgoingCommands {
    type Item = pb::ForwardRequest;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<pb::ForwardRequest>> {
        let mut shared = lock_state(&self.shared);
        let Some(jobs) = &mut shared.jobs else { return Poll::Ready(None) };
        let ForwardJob { envelope, level, answer, trace } = loop {
            let Poll::Ready(next) = jobs.poll_recv(context) else {
                shared.waker = Some(context.waker().clone());
                return Poll::Pending;
            };
            match next {
                // The caller has gone: see `packer::ForwardJob::is_abandoned`.
                Some(job) if job.answer.is_closed() => {}
                Some(job) => break job,
                None => return Poll::Ready(None),
            }
        };
        let sequence = shared.next_sequence;
        shared.next_sequence += 1;
        shared.sent.insert(sequence, answer);
        drop(shared);
        let trace = trace.map(|trace| *trace);
        let target = Some(self.target.clone());
        Poll::Ready(Some(pb::ForwardRequest { target, sequence, envelope, level, trace }))
    }
}

async fn run_link(
    peer: Arc<RaftPeer>,
    target: pb::Target,
    jobs: mpsc::Receiver<ForwardJob>,
    mut leadership: Leadership,
) {
    let leader = peer.node_id();
    let shared =
        Arc::new(Mutex::new(LinkState { jobs: Some(jobs), waker: None, sent: HashMap::new(), next_sequence: 0 }));
    let mut connection = peer.connect(ConnectionClass::Calls);
    let outgoing = OutgoingCommands { shared: shared.clone(), target };
    let talk = async {
        match connection.client.forward(outgoing).await {
            Ok(response) => receive_answers(response.into_inner(), &shared).await,
            Err(status) => status,
        }
    };
    let status = tokio::select! {
        status = talk => Some(status),
        () = until_other_leader(&mut leadership, leader) => None,
    };
    if let Some(status) = status {
        tracing::debug!(leader, %status, "the stream to the leader ended");
        peer.failed(&connection, &status);
    }
    end_link(&shared);
}

async fn receive_answers(mut incoming: Streaming<pb::ForwardResponse>, shared: &Mutex<LinkState>) -> Status {
    loop {
        match incoming.message().await {
            Ok(Some(response)) => {
                let answer = lock_state(shared).sent.remove(&response.sequence);
                if let Some(answer) = answer {
                    // A caller that gave up no longer listens.
                    let _ = answer.send(attempt_from_pb(response.result));
                }
            }
            Ok(None) => return Status::ok("ended by the leader"),
            Err(status) => return status,
        }
    }
}

async fn until_other_leader(leadership: &mut Leadership, leader: u64) {
    while leadership.leader() == Some(leader) && leadership.changed().await {}
}

/// Answers what is left: commands that were sent have an unknown outcome, all others were not appended.
fn end_link(shared: &Mutex<LinkState>) {
    let mut shared = lock_state(shared);
    let jobs = shared.jobs.take();
    let waker = shared.waker.take();
    let sent = std::mem::take(&mut shared.sent);
    drop(shared);
    for answer in sent.into_values() {
        let _ = answer.send(ProposeAttempt::Unknown("the stream to the leader broke".into()));
    }
    if let Some(mut jobs) = jobs {
        jobs.close();
        while let Ok(job) = jobs.try_recv() {
            let _ = job.answer.send(ProposeAttempt::NotLeader(None));
        }
    }
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn attempt_from_pb(answer: Option<Answer>) -> ProposeAttempt {
    match answer {
        Some(Answer::Outcome(outcome)) => match Outcome::decode(outcome) {
            Ok(outcome) => ProposeAttempt::Applied(Box::new(outcome)),
            Err(error) => ProposeAttempt::Unknown(format!("cannot decode the leader's response: {error}")),
        },
        Some(Answer::NotLeader(to)) => ProposeAttempt::NotLeader((to.leader_node_id != 0).then_some(to.leader_node_id)),
        Some(Answer::Unknown(reason)) => ProposeAttempt::Unknown(reason),
        Some(Answer::Refused(why)) => refusal_from_pb(&why),
        None => ProposeAttempt::Unknown("the leader's response is of an unknown kind".into()),
    }
}

fn refusal_from_pb(why: &pb::Refused) -> ProposeAttempt {
    let retry_after = Duration::from_millis(why.retry_after_ms);
    match why.kind {
        refused::RATE_LIMITED => ProposeAttempt::Refused(ProposeError::RateLimited { retry_after }),
        refused::OVERLOADED => ProposeAttempt::Refused(ProposeError::Overloaded { retry_after }),
        refused::STORAGE_FULL => ProposeAttempt::Refused(ProposeError::StorageFull { retry_after }),
        refused::TOO_NEW => ProposeAttempt::Refused(ProposeError::TooNew { retry_after }),
        // A stopping leader hands leadership over first, so a new one will be there soon.
        _ => ProposeAttempt::NotLeader(None),
    }
}

/// Encodes an answer on the leader, for the other direction of the stream.
pub(crate) fn answer_to_pb(sequence: u64, attempt: ProposeAttempt) -> pb::ForwardResponse {
    let result = match attempt {
        ProposeAttempt::Applied(outcome) => Answer::Outcome(outcome.encode_to_vec().into()),
        ProposeAttempt::NotLeader(to) => Answer::NotLeader(pb::NotLeader { leader_node_id: to.unwrap_or(0) }),
        ProposeAttempt::Unknown(reason) => Answer::Unknown(reason),
        ProposeAttempt::Refused(error) => {
            let (kind, retry_after) = match &error {
                ProposeError::RateLimited { retry_after } => (refused::RATE_LIMITED, *retry_after),
                ProposeError::Overloaded { retry_after } => (refused::OVERLOADED, *retry_after),
                ProposeError::StorageFull { retry_after } => (refused::STORAGE_FULL, *retry_after),
                ProposeError::TooNew { retry_after } => (refused::TOO_NEW, *retry_after),
                _ => (refused::STOPPING, Duration::ZERO),
            };
            let retry_after_ms = whole_millis(retry_after);
            Answer::Refused(pb::Refused { reason: error.to_string(), retry_after_ms, kind })
        }
    };
    pb::ForwardResponse { sequence, result: Some(result) }
}
