//! Posting over a stream: frames of events in, frames of acknowledgements out, in the order of the events.
//!
//! All events in flight wait for the log together; their order in it is the order in which they came, over any change
//! of leader ([`ChatService::ordered`]). An event that is refused does not end the stream.

use crate::api::{convert, error};
use crate::metrics::StreamGuard;
use crate::service::{
    CallerSession, ChatService, OrderedPosts, RefusalCode, RequestRefusal, SentEvent, SessionWatch, WriteProposal,
};
use crate::trace::{TraceRequest, call::CallTrace};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use quorate_wire::chat::v1::{PostRequest, PostResponse, PostResult, SendRequest, post_result};
use tokio::sync::mpsc::{self, Permit, Sender};
use tonic::{Status, Streaming};

/// Maximum number of events in one frame (the protocol's own limit).
pub const MAX_EVENTS: usize = 1024;
/// Maximum number of bytes in one frame (the protocol's own limit).
pub const MAX_FRAME: usize = 1024 * 1024;
/// Maximum number of events of one stream that wait for the log or to be acknowledged. One full frame may wait while
/// the next is read; beyond that the client is slowed down by not reading from it.
const IN_FLIGHT: usize = 2 * MAX_EVENTS;
/// Maximum number of acknowledgement frames handed to the connection and not yet taken: one is being written, one is
/// ready.
const FRAMES: usize = 2;

type PendingAnswer = BoxFuture<'static, PostOutcome>;

struct PostOutcome {
    transaction_id: String,
    result: Result<SentEvent, RequestRefusal>,
}

/// Answers of a stream, as a channel to the connection.
pub type PostResponses = mpsc::Receiver<Result<PostResponse, Status>>;

/// Serves one stream in a task of its own, which goes on even if the client does not take answers, so that what it has
/// in flight does not hold places in the proposer. `asked` is what the client says about traces; each event is sampled
/// for itself.
pub(crate) fn serve_posts(
    service: ChatService,
    session: CallerSession,
    frames: Streaming<PostRequest>,
    guard: StreamGuard,
    asked: TraceRequest,
) -> PostResponses {
    let (sender, answers) = mpsc::channel(FRAMES);
    let poster = PostTask {
        // A whole frame may come while one event less than the limit is in flight.
        posts: service.ordered(IN_FLIGHT + MAX_EVENTS),
        standing: SessionWatch::new(&service, &session),
        service,
        session,
        frames: Some(frames),
        flying: FuturesOrdered::new(),
        done: Vec::new(),
        failure: None,
        guard,
        asked,
    };
    tokio::spawn(poster.run(sender));
    answers
}

struct PostTask {
    service: ChatService,
    posts: OrderedPosts,
    session: CallerSession,
    standing: SessionWatch,
    /// Frames of the client; `None` once nothing more comes in.
    frames: Option<Streaming<PostRequest>>,
    flying: FuturesOrdered<PendingAnswer>,
    /// Acknowledgements that the connection has not taken yet; with `flying` at most [`IN_FLIGHT`] and one frame.
    done: Vec<PostResult>,
    /// Status that the stream ends with, after all acknowledgements.
    failure: Option<Status>,
    guard: StreamGuard,
    asked: TraceRequest,
}

enum LoopEvent<'a> {
    Frame(Result<Option<PostRequest>, Status>),
    Done(PostOutcome),
    Room(Permit<'a, Result<PostResponse, Status>>),
    Gone,
    Stopping,
    LoggedOut(RequestRefusal),
}

impl PostTask {
    async fn run(mut self, sender: Sender<Result<PostResponse, Status>>) {
        let stopping = self.service.stopping();
        loop {
            if self.frames.is_none() && self.flying.is_empty() && self.done.is_empty() {
                break;
            }
            let waiting = self.flying.len().saturating_add(self.done.len());
            let reading = self.frames.is_some() && waiting < IN_FLIGHT;
            let flying = !self.flying.is_empty();
            let acknowledging = !self.done.is_empty();
            let turn = tokio::select! {
                // Outcomes before frames out, so that one frame carries all that are there; frames in last.
                biased;
                Some(answer) = self.flying.next(), if flying => LoopEvent::Done(answer),
                permit = sender.reserve(), if acknowledging => permit.map_or(LoopEvent::Gone, LoopEvent::Room),
                () = sender.closed(), if !acknowledging => LoopEvent::Gone,
                () = stopping.cancelled(), if self.frames.is_some() => LoopEvent::Stopping,
                refusal = self.standing.ended(), if self.frames.is_some() => LoopEvent::LoggedOut(refusal),
                frame = next_frame(&mut self.frames), if reading => LoopEvent::Frame(frame),
            };
            match turn {
                LoopEvent::Done(answer) => self.acknowledge(answer),
                LoopEvent::Room(permit) => permit.send(Ok(PostResponse { results: std::mem::take(&mut self.done) })),
                LoopEvent::Frame(frame) => self.take(frame),
                LoopEvent::Stopping => self.end(error::refusal_to_status(RequestRefusal::stopping())),
                LoopEvent::LoggedOut(refusal) => self.end(error::refusal_to_status(refusal)),
                // Nobody reads the answers; what is in flight finishes in the log all the same.
                LoopEvent::Gone => return,
            }
        }
        if let Some(failure) = self.failure {
            // An error here means that the client has gone, too.
            let _ = sender.send(Err(failure)).await;
        }
    }

    fn end(&mut self, failure: Status) {
        self.frames = None;
        self.failure.get_or_insert(failure);
    }

    fn take(&mut self, frame: Result<Option<PostRequest>, Status>) {
        match frame {
            Ok(None) => self.frames = None,
            Err(status) => self.end(status),
            Ok(Some(PostRequest { events })) => {
                if let Err(refusal) = self.check_frame(&events) {
                    return self.end(error::refusal_to_status(refusal));
                }
                self.guard.events(events.len());
                for event in events {
                    let answer = self.propose(event);
                    self.flying.push_back(answer);
                }
            }
        }
    }

    fn check_frame(&mut self, events: &[SendRequest]) -> Result<(), RequestRefusal> {
        let bytes: usize = events.iter().map(|event| event.content.len()).sum();
        if events.len() > MAX_EVENTS || bytes > MAX_FRAME {
            let message = format!("a frame holds at most {MAX_EVENTS} events and {MAX_FRAME} bytes; send smaller ones");
            return Err(RequestRefusal::new(RefusalCode::TooLarge, message));
        }
        // Once for the frame: apply would refuse each of its events by itself.
        self.standing.check()
    }

    fn propose(&self, event: SendRequest) -> PendingAnswer {
        let SendRequest { room_id, r#type, content, transaction_id } = event;
        let call = CallTrace::post(&self.asked);
        let posted = call.enter(|| {
            let proposal = WriteProposal::message(&self.session, &room_id, &r#type, content, &transaction_id)?;
            Ok(self.posts.post(proposal))
        });
        async move {
            let result = match posted {
                Ok(posted) => call.wrap(posted).await,
                Err(refusal) => Err(refusal),
            };
            call.answered(&result);
            PostOutcome { transaction_id, result }
        }
        .boxed()
    }

    fn acknowledge(&mut self, answer: PostOutcome) {
        let PostOutcome { transaction_id, result } = answer;
        let result = match result {
            Ok(sent) => post_result::Result::Accepted(convert::sent_to_wire(sent)),
            Err(refusal) => {
                if matches!(
                    refusal.code,
                    RefusalCode::Unauthenticated | RefusalCode::SessionExpired | RefusalCode::UserLocked
                ) {
                    self.end(error::refusal_to_status(refusal.clone()));
                }
                post_result::Result::Refused(error::refusal_to_detail(refusal))
            }
        };
        self.done.push(PostResult { transaction_id, result: Some(result) });
    }
}

async fn next_frame(frames: &mut Option<Streaming<PostRequest>>) -> Result<Option<PostRequest>, Status> {
    match frames {
        Some(frames) => frames.message().await,
        None => Ok(None),
    }
}
