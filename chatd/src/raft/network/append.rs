//! Pipelined appends over one bidirectional stream: many requests in flight, answers in order.
//!
//! The answers end when the requests end: openraft's heartbeat worker opens one stream per heartbeat, and waits for its
//! end within one heartbeat interval. openraft sets no deadline on replication, so a request that is not answered
//! within [`ANSWER_LIMIT`] fails the stream here.

use super::{
    RETRY_EVERY, RpcError,
    convert::{append_to_pb, appended_from_pb},
    lanes::{ConnectionClass, PeerConnection, RaftPeer},
    network_error, status_error,
};
use crate::raft::{
    clock::{Timekeeper, put_stamp, told_time},
    identity::NodeIdentity,
    level::LEVEL_KEY,
    observe::PeerObserver,
    types::{LogId, TypeConfig, trace_of},
    volume::{VOLUME_KEY, VolumeReport},
};
use crate::trace::replicate::{self, ReplicationSpan};
use futures::{Stream, StreamExt as _, stream};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use quorate_wire::raft::v1 as pb;
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::{Instant, timeout};
use tonic::{Request, Status, Streaming, metadata::MetadataMap};

/// Time limit of an answer: a follower that has not flushed a request by then counts as lost, and the stream is
/// reopened.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Time limit of opening a stream. A peer accepts it at once; the time is for the connection that may have to be made
/// first.
const OPEN_LIMIT: Duration = Duration::from_secs(1);
/// Interval at which the oldest unanswered request is checked while nothing arrives.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A request in flight.
struct SentAppend {
    sequence: u64,
    prev: Option<LogId>,
    last: Option<LogId>,
    at: Instant,
    /// Traces of the sampled entries in the request.
    traces: Vec<ReplicationSpan>,
}

/// State shared by the two directions of one stream.
struct PipelineState<S> {
    /// Source of the requests, removed when the answers are dropped: openraft reuses what it is made of for the next
    /// stream, and waits for it, while the HTTP connection may hold on to its request body a little longer.
    requests: Option<S>,
    waker: Option<Waker>,
    unanswered: VecDeque<SentAppend>,
    next_sequence: u64,
}

type PipelineRef<S> = Arc<Mutex<PipelineState<S>>>;

fn lock_pipeline<S>(link: &PipelineRef<S>) -> MutexGuard<'_, PipelineState<S>> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The request body, which encodes requests as the connection takes them.
struct OutgoingAppends<S> {
    link: PipelineRef<S>,
    target: pb::Target,
}

impl<S> Stream for OutgoingAppends<S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    type Item = pb::AppendRequest;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<pb::AppendRequest>> {
        let mut shared = lock_pipeline(&self.link);
        let Some(requests) = &mut shared.requests else { return Poll::Ready(None) };
        let Poll::Ready(next) = requests.poll_next_unpin(context) else {
            shared.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let Some(request) = next else {
            shared.requests = None;
            return Poll::Ready(None);
        };
        let sequence = shared.next_sequence;
        shared.next_sequence += 1;
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let (traces, named) = replicate::begin_replication(request.entries.iter().map(trace_of), self.target.node_id);
        let sent = SentAppend { sequence, prev: request.prev_log_id, last, at: Instant::now(), traces };
        shared.unanswered.push_back(sent);
        drop(shared);
        let mut message = append_to_pb(self.target.clone(), sequence, &request);
        message.traces = named;
        Poll::Ready(Some(message))
    }
}

/// Guard that ends the request body once the answers are no longer wanted.
struct EndOnDrop<S>(PipelineRef<S>);

impl<S> Drop for EndOnDrop<S> {
    fn drop(&mut self) {
        let mut shared = lock_pipeline(&self.0);
        let requests = shared.requests.take();
        let waker = shared.waker.take();
        drop(shared);
        // Without the lock, which the request body takes as soon as it is polled.
        drop(requests);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct AppendAnswers<S> {
    peer: Arc<RaftPeer>,
    connection: PeerConnection,
    incoming: Streaming<pb::AppendResponse>,
    link: PipelineRef<S>,
    /// Observer of appends with entries; `None` for heartbeats, which need no fsync.
    observer: Option<Arc<dyn PeerObserver>>,
    _end: EndOnDrop<S>,
}

/// Opens an append stream to a peer; returns its answers.
pub(super) async fn stream_append<S>(
    peer: Arc<RaftPeer>,
    lane: ConnectionClass,
    identity: &NodeIdentity,
    time: &Timekeeper,
    observer: Arc<dyn PeerObserver>,
    requests: S,
) -> Result<impl Stream<Item = Result<StreamAppendResult<TypeConfig>, RpcError>> + Send + use<S>, RpcError>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    let mut connection = peer.connect(lane);
    let link = Arc::new(Mutex::new(PipelineState {
        requests: Some(requests),
        waker: None,
        unanswered: VecDeque::new(),
        next_sequence: 0,
    }));
    let end = EndOnDrop(link.clone());
    let outgoing = OutgoingAppends { link: link.clone(), target: identity.target(peer.node_id()) };
    let mut request = Request::new(outgoing);
    if let Some(stamp) = time.stamp() {
        put_stamp(request.metadata_mut(), stamp);
    }
    let opened = match timeout(OPEN_LIMIT, connection.client.append(request)).await {
        Ok(opened) => opened,
        Err(_) => Err(Status::deadline_exceeded("the append stream was not accepted in time")),
    };
    let incoming = match opened {
        Ok(response) => {
            note_time(&peer, response.metadata(), time);
            note_volume(&peer, response.metadata());
            note_level(&peer, response.metadata());
            response.into_inner()
        }
        Err(status) => {
            peer.failed(&connection, &status);
            // openraft waits out its backoff while it produces the first request, and a stream that never opened has
            // not asked for one: without this pause it would retry at once, thousands of times a second.
            tokio::time::sleep(RETRY_EVERY).await;
            return Err(status_error(&status));
        }
    };
    let observer = (lane == ConnectionClass::Append).then_some(observer);
    let answers = AppendAnswers { peer, connection, incoming, link, observer, _end: end };
    Ok(stream::unfold(Some(answers), |answers| async move {
        let mut answers = answers?;
        let item = answers.next().await?;
        // The stream is over after the first refusal or error; openraft opens another one.
        let go_on = matches!(item, Ok(Ok(_)));
        Some((item, go_on.then_some(answers)))
    }))
}

/// Records the time in the answer as the peer's time on arrival; the network delay is far below what matters.
fn note_time(peer: &RaftPeer, metadata: &MetadataMap, time: &Timekeeper) {
    if let Some(theirs) = told_time(metadata) {
        time.heard_clock(peer.node_id(), theirs);
    }
}

fn note_volume(peer: &RaftPeer, metadata: &MetadataMap) {
    let told = metadata.get(VOLUME_KEY).and_then(|value| VolumeReport::decode(value.to_str().ok()?));
    if let Some(report) = told {
        peer.told_volume(report);
    }
}

fn note_level(peer: &RaftPeer, metadata: &MetadataMap) {
    // A version from before there were levels says nothing, and knows the first.
    let told = metadata.get(LEVEL_KEY).and_then(|value| value.to_str().ok()?.parse().ok());
    peer.told_level(told.unwrap_or(1));
}

impl<S> AppendAnswers<S> {
    async fn next(&mut self) -> Option<Result<StreamAppendResult<TypeConfig>, RpcError>> {
        loop {
            match timeout(LOOK_EVERY, self.incoming.message()).await {
                Ok(Ok(Some(response))) => return Some(self.answer(response)),
                Ok(Ok(None)) => return None,
                Ok(Err(status)) => return Some(Err(self.fail(&status))),
                Err(_) if self.overdue() => {
                    let status = Status::deadline_exceeded("no response to an append in time");
                    return Some(Err(self.fail(&status)));
                }
                Err(_) => {}
            }
        }
    }

    fn answer(&mut self, response: pb::AppendResponse) -> Result<StreamAppendResult<TypeConfig>, RpcError> {
        let sent = lock_pipeline(&self.link).unanswered.pop_front();
        let Some(sent) = sent.filter(|sent| sent.sequence == response.sequence) else {
            return Err(network_error("a response to an append other than the oldest"));
        };
        if let Some(observer) = &self.observer {
            observer.appended(sent.at.elapsed());
        }
        sent.traces.into_iter().for_each(ReplicationSpan::answered);
        appended_from_pb(response, sent.prev, sent.last).map_err(|error| network_error(&error.to_string()))
    }

    fn overdue(&self) -> bool {
        let shared = lock_pipeline(&self.link);
        shared.unanswered.front().is_some_and(|sent| sent.at.elapsed() >= ANSWER_LIMIT)
    }

    fn fail(&self, status: &Status) -> RpcError {
        self.peer.failed(&self.connection, status);
        status_error(status)
    }
}
