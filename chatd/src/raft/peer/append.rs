//! Server side of an append stream: requests go into openraft as they arrive, and answers come back as they are
//! flushed, in the same order.

use super::{PeerListener, STOPPING, malformed_status, stopped_status};
use crate::raft::{
    clock::TimeStamp,
    network::convert::{append_from_pb, appended_to_pb},
    types::TypeConfig,
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use openraft::raft::{AppendEntriesRequest, StreamAppendError};
use quorate_wire::raft::v1 as pb;
use quorate_wire::whole_millis;
use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tonic::{Status, Streaming};

/// State that reading passes to answering.
#[derive(Default)]
struct UnansweredAppends {
    /// Sequence numbers of the requests handed to openraft, oldest first; openraft takes 64 before it wants answers
    /// fetched.
    sequences: VecDeque<u64>,
    /// Error that ended reading early.
    failure: Option<Status>,
}

type UnansweredRef = Arc<Mutex<UnansweredAppends>>;

fn lock_unanswered(link: &UnansweredRef) -> MutexGuard<'_, UnansweredAppends> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one stream. The answers end when the requests have ended and all are answered: a heartbeat is a stream of one
/// request, and the leader waits for its end.
pub(super) fn serve_appends(
    listener: PeerListener,
    from: Option<IpAddr>,
    stamp: Option<TimeStamp>,
    incoming: Streaming<pb::AppendRequest>,
) -> BoxStream<'static, Result<pb::AppendResponse, Status>> {
    let link = UnansweredRef::default();
    let reading = IncomingAppends {
        listener: listener.clone(),
        from,
        stamp: stamp.map(|stamp| (stamp, Instant::now())),
        incoming,
        link: link.clone(),
    };
    let requests = stream::unfold(reading, |mut reading| async move {
        let request = reading.next().await?;
        Some((request, reading))
    });
    let results = listener.consensus.append(requests.boxed());
    let answering = Some((results, link, listener));
    let answers = stream::unfold(answering, |answering| async move {
        let (mut results, link, listener) = answering?;
        let Some(result) = results.next().await else {
            let failure = lock_unanswered(&link).failure.take()?;
            return Some((Err(failure), None));
        };
        let result = match result {
            Ok(result) => result,
            Err(fatal) => return Some((Err(stopped_status(&fatal)), None)),
        };
        // A sender with an older vote than this node's is not the leader that readiness asks about.
        if !matches!(result, Err(StreamAppendError::HigherVote(_))) {
            listener.contact.stamp();
        }
        let Some(sequence) = lock_unanswered(&link).sequences.pop_front() else {
            return Some((Err(Status::internal("a response without a request")), None));
        };
        Some((Ok(appended_to_pb(sequence, &result)), Some((results, link, listener))))
    });
    answers.boxed()
}

struct IncomingAppends {
    listener: PeerListener,
    from: Option<IpAddr>,
    /// Time that the leader used when it opened the stream; the first request confirms that the leader is of this
    /// cluster.
    stamp: Option<(TimeStamp, Instant)>,
    incoming: Streaming<pb::AppendRequest>,
    link: UnansweredRef,
}

impl IncomingAppends {
    async fn next(&mut self) -> Option<AppendEntriesRequest<TypeConfig>> {
        match self.read().await {
            Ok(request) => request,
            Err(status) => {
                lock_unanswered(&self.link).failure = Some(status);
                None
            }
        }
    }

    async fn read(&mut self) -> Result<Option<AppendEntriesRequest<TypeConfig>>, Status> {
        let next = self.listener.closed.run_until_cancelled(self.incoming.message()).await;
        let next = next.ok_or_else(|| Status::unavailable(STOPPING))?;
        // A sender that disconnected is no failure of this node: there is nobody to answer.
        let Ok(Some(request)) = next else { return Ok(None) };
        self.listener.member(request.target.as_ref(), self.from).await?;
        if let Some((TimeStamp { time_ms, trust }, at)) = self.stamp.take() {
            let since = whole_millis(at.elapsed());
            self.listener.peers.time().heard_leader(time_ms.saturating_add(since), trust);
        }
        let sequence = request.sequence;
        let request = append_from_pb(request).map_err(|error| malformed_status(&error))?;
        // Before openraft has the request: answers are matched with sequence numbers by their order alone.
        lock_unanswered(&self.link).sequences.push_back(sequence);
        Ok(Some(request))
    }
}
