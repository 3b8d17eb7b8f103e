//! Pipelined messages over one stream, for programs that send more than they want to wait for.
//!
//! A [`MessagePoster`] keeps unsettled messages in the order in which they came. When the stream is lost, or silent for too
//! long, it opens a new one to another server and sends all of them again with the same transaction ids. For a message
//! that it has already applied, the cluster repeats its first answer.

use crate::{
    backoff::JitteredBackoff,
    client::{CallFailure, ChatStub, ClientOptions, PooledServer, RetryRule, pace::RetryPacer},
    position::EventPosition,
    send::AcceptedMessage,
    session::ClientSession,
};
use quorate_wire::chat::v1::{PostRequest, PostResponse, PostResult, SendRequest, SendResponse, post_result};
use std::{
    collections::VecDeque,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Capacity of the queue of messages that are not yet in a frame: enough to fill frames while the stream is busy.
const QUEUE: usize = 256;
/// Maximum number of messages in one frame: beyond some dozens a frame gains little, and an acknowledgement waits for
/// its whole frame.
const FRAME_EVENTS: usize = 64;
/// Maximum number of bytes of content in one frame: the server accepts 1 MiB, and one message may be 64 KiB.
const FRAME_BYTES: usize = 512 * 1024;
/// Capacity of the queue of frames before the connection: one frame is being written, one is ready.
const FRAMES: usize = 2;
/// Maximum number of messages that are sent and not settled. The server stops reading beyond 2048, which would look
/// like silence here.
const UNSETTLED: usize = 1024;

/// Handle that sends messages over one stream at a time; clones share the stream.
#[derive(Debug, Clone)]
pub struct MessagePoster {
    jobs: mpsc::Sender<PostJob>,
    options: ClientOptions,
    sent_again: Arc<AtomicBool>,
}

#[derive(Debug)]
struct PostJob {
    message: SendRequest,
    answer: oneshot::Sender<Result<AcceptedMessage, CallFailure>>,
    /// `true` if a stream was lost while the message was in flight, so it may have been applied.
    unknown: bool,
}

impl MessagePoster {
    /// Starts a poster for this session. It connects when first used and ends with its last clone.
    #[must_use]
    pub fn start(session: ClientSession) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let options = session.client().options().clone();
        tokio::spawn(PostWorker::new(session, queue).run());
        Self { jobs, options, sent_again: Arc::default() }
    }

    /// Sends one message until it is accepted or permanently refused.
    ///
    /// There is no time limit. Drop the future to stop waiting; the outcome is then unknown.
    ///
    /// # Errors
    /// Returns the refusal.
    pub async fn post(&self, message: SendRequest) -> Result<AcceptedMessage, CallFailure> {
        self.enqueue(message).await.settled().await
    }

    /// Queues one message behind the earlier ones. Messages are applied in this order, across lost streams and changes
    /// of leader. A message that the server refuses temporarily (rate limit) is sent again later, and takes the place
    /// at which it is then accepted.
    pub async fn enqueue(&self, message: SendRequest) -> PendingPost {
        let answer = self.hand_over(message.clone()).await;
        PendingPost { poster: self.clone(), message, answer }
    }

    /// Returns `true` if every message so far has kept its place: none had to be sent again after a refusal.
    #[must_use]
    pub fn kept_order(&self) -> bool {
        !self.sent_again.load(Ordering::Relaxed)
    }

    async fn hand_over(&self, message: SendRequest) -> oneshot::Receiver<Result<AcceptedMessage, CallFailure>> {
        let (answer, settled) = oneshot::channel();
        // A worker that has ended takes no jobs; the closed channel of the answer then tells the caller.
        let _ = self.jobs.send(PostJob { message, answer, unknown: false }).await;
        settled
    }
}

/// Queued message whose outcome can be awaited.
#[derive(Debug)]
pub struct PendingPost {
    poster: MessagePoster,
    message: SendRequest,
    answer: oneshot::Receiver<Result<AcceptedMessage, CallFailure>>,
}

impl PendingPost {
    /// Waits until the message is accepted or permanently refused.
    pub async fn settled(self) -> Result<AcceptedMessage, CallFailure> {
        let Self { poster, message, mut answer } = self;
        let mut backoff = JitteredBackoff::new(poster.options.backoff_base, poster.options.backoff_cap);
        let mut unknown = false;
        let mut first = true;
        loop {
            // The worker ends only with its last poster, unless it panicked.
            let gone = |_| Err(CallFailure { retry: RetryRule::No, ..CallFailure::stream_ended("-") });
            let failure = match answer.await.unwrap_or_else(gone) {
                Ok(accepted) => return Ok(accepted),
                Err(failure) => failure,
            };
            unknown |= failure.unknown;
            let wait = match failure.retry {
                RetryRule::No => return Err(CallFailure { unknown, ..failure }.of_write(&message.transaction_id)),
                // At once: the failure is that of one server, and another may accept the message.
                RetryRule::Elsewhere(least) if first => least,
                RetryRule::Elsewhere(least) => least.max(backoff.next_wait()),
                // Up to a tenth longer, so that messages that were refused together do not come back together.
                RetryRule::After(wait) => wait.max(wait.mul_f64(1.0 + 0.1 * rand::random::<f64>())),
            };
            first = false;
            tokio::time::sleep(wait).await;
            poster.sent_again.store(true, Ordering::Relaxed);
            answer = poster.hand_over(message.clone()).await;
        }
    }
}

impl PostJob {
    fn accepted(self, SendResponse { event_id, position, origin_server_ts }: SendResponse) {
        let position = position.map(EventPosition::from).unwrap_or_default();
        let transaction_id = self.message.transaction_id;
        // The receiver is gone if the caller has stopped waiting.
        let _ = self.answer.send(Ok(AcceptedMessage { event_id, position, origin_server_ts, transaction_id }));
    }

    fn refused(self, failure: CallFailure) {
        let unknown = self.unknown || failure.unknown;
        let _ = self.answer.send(Err(CallFailure { unknown, ..failure }));
    }
}

struct PostWorker {
    session: ClientSession,
    queue: mpsc::Receiver<PostJob>,
    /// Messages without an outcome, in the order of sending; the last ones may not have been sent yet.
    unsettled: VecDeque<PostJob>,
    pace: RetryPacer,
}

/// Reason for giving up a stream.
enum StreamEnd {
    /// All posters are gone, and every message is settled.
    Done,
    Lost(CallFailure),
}

/// Open stream with its two directions.
struct OpenStream {
    frames: mpsc::Sender<PostRequest>,
    answers: Streaming<PostResponse>,
    generation: u64,
}

impl PostWorker {
    fn new(session: ClientSession, queue: mpsc::Receiver<PostJob>) -> Self {
        let mut pace = RetryPacer::new(session.client());
        // A poster has no time limit: callers that have waited long enough drop their future.
        pace.forget_deadline();
        Self { session, queue, unsettled: VecDeque::new(), pace }
    }

    async fn run(mut self) {
        loop {
            // No stream is opened before there is something to send, so an idle poster costs the servers nothing.
            if self.unsettled.is_empty() {
                match self.queue.recv().await {
                    Some(job) => self.unsettled.push_back(job),
                    None => return,
                }
            }
            let client = self.session.client().clone();
            let Ok(slot) = self.pace.next_server(&client) else { return };
            let failure = match self.open(&slot).await {
                Ok(open) => match self.exchange(&slot, open).await {
                    StreamEnd::Done => return,
                    StreamEnd::Lost(failure) => failure,
                },
                Err(failure) => failure,
            };
            if let Err(last) = self.pace.after(&client, &slot, failure).await {
                self.fail_all(&last);
            }
        }
    }

    async fn open(&self, slot: &PooledServer) -> Result<OpenStream, CallFailure> {
        let (channel, generation) = slot.connect().await.inspect_err(|_| slot.hold_off())?;
        let (frames, stream) = mpsc::channel(FRAMES);
        let request = self.session.request(ReceiverStream::new(stream));
        let patience = self.patience();
        let mut chat = ChatStub::new(channel);
        let failure = match timeout(patience, chat.post(request)).await {
            Ok(Ok(answer)) => return Ok(OpenStream { frames, answers: answer.into_inner(), generation }),
            Ok(Err(status)) => CallFailure::from_status(slot.address(), &status),
            Err(_) => CallFailure::timed_out(slot.address(), patience),
        };
        self.session.client().blame(slot, generation, &failure).await;
        Err(failure)
    }

    fn patience(&self) -> Duration {
        self.session.client().options().attempt_timeout
    }

    /// Uses one stream until it fails or there is nothing left to send.
    async fn exchange(&mut self, slot: &PooledServer, mut open: OpenStream) -> StreamEnd {
        let OpenStream { frames, answers, generation } = &mut open;
        // Messages whose outcome is in doubt go first, in their order.
        let mut to_send = self.unsettled.len();
        let mut heard = Instant::now();
        let mut closed = false;
        let failure = loop {
            if closed && self.unsettled.is_empty() {
                return StreamEnd::Done;
            }
            let start = self.unsettled.len() - to_send;
            let room = self.unsettled.len() < UNSETTLED;
            // Silence counts only while messages are in flight.
            let silent = if start > 0 { Some(heard + self.patience()) } else { None };
            tokio::select! {
                // Answers first: they make room for messages, and one that waits unread must not be taken for silence.
                biased;
                frame = answers.message() => match frame {
                    Ok(Some(frame)) => {
                        heard = Instant::now();
                        self.session.client().servers().succeeded(slot);
                        self.pace.restart(self.session.client());
                        if let Some(failure) = self.settle(slot, frame.results, to_send) {
                            break failure;
                        }
                    }
                    Ok(None) => break CallFailure::stream_ended(slot.address()),
                    Err(status) => break CallFailure::from_status(slot.address(), &status),
                },
                () = wait_until(silent) => break CallFailure::timed_out(slot.address(), self.patience()),
                permit = frames.reserve(), if to_send > 0 => match permit {
                    Ok(permit) => {
                        if start == 0 {
                            heard = Instant::now();
                        }
                        let events = next_frame(self.unsettled.iter().skip(start).map(|job| &job.message));
                        to_send -= events.len();
                        permit.send(PostRequest { events });
                    }
                    // The stream is closed; the answers say why.
                    Err(_) => to_send = 0,
                },
                job = self.queue.recv(), if room && !closed => match job {
                    Some(job) => {
                        self.unsettled.push_back(job);
                        to_send += 1;
                    }
                    None => closed = true,
                },
            }
        };
        self.session.client().blame(slot, *generation, &failure).await;
        // Unsent ones, too: to call an outcome unknown is always safe, because the transaction id stays the same.
        self.unsettled.iter_mut().for_each(|job| job.unknown = true);
        StreamEnd::Lost(failure)
    }

    /// Settles the messages that `results` answer; the last `unsent` messages have not been sent on this stream. A
    /// message that the server cannot take at the moment keeps its place: the returned failure says that all messages
    /// must be sent again over another stream.
    fn settle(&mut self, slot: &PooledServer, results: Vec<PostResult>, unsent: usize) -> Option<CallFailure> {
        let mut broken = None;
        for PostResult { transaction_id, result } in results {
            let sent = self.unsettled.len().saturating_sub(unsent);
            // Answers come in the order of the messages, so this is nearly always the first one.
            let place = self.unsettled.iter().take(sent).position(|job| job.message.transaction_id == transaction_id);
            let Some(place) = place else { continue };
            let failure = match result {
                Some(post_result::Result::Accepted(sent)) => {
                    if let Some(job) = self.unsettled.remove(place) {
                        job.accepted(sent);
                    }
                    continue;
                }
                Some(post_result::Result::Refused(detail)) => {
                    CallFailure { server: Some(slot.address().to_owned()), ..CallFailure::from_detail(&detail) }
                }
                None => CallFailure { unknown: true, ..CallFailure::stream_ended(slot.address()) },
            };
            if matches!(failure.retry, RetryRule::Elsewhere(_)) {
                broken.get_or_insert(failure);
            } else if let Some(job) = self.unsettled.remove(place) {
                job.refused(failure);
            }
        }
        broken
    }

    fn fail_all(&mut self, failure: &CallFailure) {
        for job in self.unsettled.drain(..) {
            job.refused(failure.clone());
        }
    }
}

/// Returns the first messages, as many as fit into one frame.
fn next_frame<'a>(messages: impl Iterator<Item = &'a SendRequest>) -> Vec<SendRequest> {
    let mut count = 0;
    let mut bytes = 0;
    let fits = |message: &&SendRequest| {
        count += 1;
        bytes += message.content.len();
        // The first message always fits: without it, a frame would be empty and make no progress.
        count == 1 || bytes <= FRAME_BYTES
    };
    messages.take(FRAME_EVENTS).take_while(fits).cloned().collect()
}

async fn wait_until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(contents: &[usize]) -> usize {
        let message = |size: &usize| SendRequest { content: vec![0; *size].into(), ..SendRequest::default() };
        let messages: Vec<SendRequest> = contents.iter().map(message).collect();
        next_frame(messages.iter()).len()
    }

    #[test]
    fn a_frame_is_bounded_in_events_and_bytes_but_never_empty() {
        assert_eq!(sizes(&[1; 1000]), FRAME_EVENTS);
        assert_eq!(sizes(&[60 * 1024; 1000]), 8);
        assert_eq!(sizes(&[2 * FRAME_BYTES, 1]), 1);
        assert_eq!(sizes(&[0, 2 * FRAME_BYTES]), 1);
    }
}
