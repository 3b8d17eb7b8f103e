//! Posting over a stream: frames of events in, frames of acknowledgements out, in the order of the events.
//!
//! All events in flight wait for the log together; their order in it is the order in which they came, over any change
//! of leader ([`Service::ordered`]). An event that is refused does not end the stream.

use crate::api::{convert, error};
use crate::metrics::StreamGuard;
use crate::service::{Code, OrderedPosts, Proposal, Refusal, Sent, Service, Session, Standing};
use crate::trace::{Asked, door::Call};
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

type Answer = BoxFuture<'static, Acknowledged>;

struct Acknowledged {
    transaction_id: String,
    result: Result<Sent, Refusal>,
}

/// Answers of a stream, as a channel to the connection.
pub type Answers = mpsc::Receiver<Result<PostResponse, Status>>;

/// Serves one stream in a task of its own, which goes on even if the client does not take answers, so that what it has
/// in flight does not hold places in the proposer. `asked` is what the client says about traces; each event is sampled
/// for itself.
pub(crate) fn serve(
    service: Service,
    session: Session,
    frames: Streaming<PostRequest>,
    guard: StreamGuard,
    asked: Asked,
) -> Answers {
    let (sender, answers) = mpsc::channel(FRAMES);
    let poster = Poster {
        // A whole frame may come while one event less than the limit is in flight.
        posts: service.ordered(IN_FLIGHT + MAX_EVENTS),
        standing: Standing::new(&service, &session),
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

struct Poster {
    service: Service,
    posts: OrderedPosts,
    session: Session,
    standing: Standing,
    /// Frames of the client; `None` once nothing more comes in.
    frames: Option<Streaming<PostRequest>>,
    flying: FuturesOrdered<Answer>,
    /// Acknowledgements that the connection has not taken yet; with `flying` at most [`IN_FLIGHT`] and one frame.
    done: Vec<PostResult>,
    /// Status that the stream ends with, after all acknowledgements.
    failure: Option<Status>,
    guard: StreamGuard,
    asked: Asked,
}

enum Turn<'a> {
    Frame(Result<Option<PostRequest>, Status>),
    Done(Acknowledged),
    Room(Permit<'a, Result<PostResponse, Status>>),
    Gone,
    Stopping,
    LoggedOut(Refusal),
}

impl Poster {
    async fn run(mut self, sender: Sender<Result<PostResponse, Status>>) {
        let stopping = self.service.stopping();
        loop {
            if self.frames.is_none() && self.flying.is_empty() && self.done.is_empty() {
                break;
            }
            let waiting = self.flying.len().saturating_add(self.done.len());
            let (reading, flying, acknowledging) =
                (self.frames.is_some() && waiting < IN_FLIGHT, !self.flying.is_empty(), !self.done.is_empty());
            let turn = tokio::select! {
                // Outcomes before frames out, so that one frame carries all that are there; frames in last.
                biased;
                Some(answer) = self.flying.next(), if flying => Turn::Done(answer),
                permit = sender.reserve(), if acknowledging => permit.map_or(Turn::Gone, Turn::Room),
                () = sender.closed(), if !acknowledging => Turn::Gone,
                () = stopping.cancelled(), if self.frames.is_some() => Turn::Stopping,
                refusal = self.standing.ended(), if self.frames.is_some() => Turn::LoggedOut(refusal),
                frame = next_frame(&mut self.frames), if reading => Turn::Frame(frame),
            };
            match turn {
                Turn::Done(answer) => self.acknowledge(answer),
                Turn::Room(permit) => permit.send(Ok(PostResponse { results: std::mem::take(&mut self.done) })),
                Turn::Frame(frame) => self.take(frame),
                Turn::Stopping => self.end(error::status(Refusal::stopping())),
                Turn::LoggedOut(refusal) => self.end(error::status(refusal)),
                // Nobody reads the answers; what is in flight finishes in the log all the same.
                Turn::Gone => return,
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
                    return self.end(error::status(refusal));
                }
                self.guard.events(events.len());
                for event in events {
                    let answer = self.propose(event);
                    self.flying.push_back(answer);
                }
            }
        }
    }

    fn check_frame(&mut self, events: &[SendRequest]) -> Result<(), Refusal> {
        let bytes: usize = events.iter().map(|event| event.content.len()).sum();
        if events.len() > MAX_EVENTS || bytes > MAX_FRAME {
            let message = format!("a frame holds at most {MAX_EVENTS} events and {MAX_FRAME} bytes; send smaller ones");
            return Err(Refusal::new(Code::TooLarge, message));
        }
        self.standing.check()
    }

    fn propose(&self, event: SendRequest) -> Answer {
        let SendRequest { room_id, r#type, content, transaction_id } = event;
        let call = Call::post(&self.asked);
        let posted = call.enter(|| {
            let proposal = Proposal::message(&self.session, &room_id, &r#type, content, &transaction_id)?;
            Ok(self.posts.post(proposal))
        });
        async move {
            let result = match posted {
                Ok(posted) => call.wrap(posted).await,
                Err(refusal) => Err(refusal),
            };
            call.answered(&result);
            Acknowledged { transaction_id, result }
        }
        .boxed()
    }

    fn acknowledge(&mut self, answer: Acknowledged) {
        let Acknowledged { transaction_id, result } = answer;
        let result = match result {
            Ok(sent) => post_result::Result::Accepted(convert::sent(sent)),
            Err(refusal) => {
                if matches!(refusal.code, Code::Unauthenticated | Code::SessionExpired) {
                    self.end(error::status(refusal.clone()));
                }
                post_result::Result::Refused(error::detail(refusal))
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
