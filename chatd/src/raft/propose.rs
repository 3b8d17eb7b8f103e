//! Writes: the path from a client API to the log, on any pod.
//!
//! [`Proposer::propose`] hands a command to the leader's own queue ([`packer`]), or from a follower to the leader over
//! one pipelined stream (`raft::forward`); the command is applied, and its outcome returned. Elections, expired leases
//! and broken streams are waited out here, within bounds: the APIs never learn that there was another leader a moment
//! ago. A command that was perhaps appended is tried again only if applying it twice is known to be harmless. Proposals
//! are independent of each other; those of one stream that must keep their order go through [`OrderedProposer`].

pub mod error;
pub mod limit;
mod ordered;
pub(crate) mod packer;
pub mod stats;

pub use self::{
    error::ProposeError,
    limit::{LimitClass, RateLimit, RateLimits},
    ordered::OrderedProposer,
    stats::{NoObserver, ProposeObserver, ProposeResult},
};

use self::{
    error::ProposeAttempt,
    limit::{LimitBucket, RateLimiter},
    packer::{CommandNeeds, CommandQueue, NotQueued, QueuePermit},
};
use super::{
    consensus::ConsensusRef,
    forward::WriteForwarder,
    leadership::Leadership,
    network::PeerSet,
    volume::{VolumeGauge, WriteClass},
};
use crate::feed::LevelInForce;
use crate::trace::{
    self, LiveSpan, SpanMark, attribute,
    command::{self, CommandSpan},
};
use futures::future::Either;
use prost::{Message as _, bytes::Bytes};
use quorate_core::{
    apply::KnownFormat,
    proto::log::{Envelope, GuessCount, Outcome, command::Kind},
};
use std::{
    future::ready,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::{timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// Largest command, in bytes: an event of 64 KiB, or the initial state of a room, with its envelope. Far below the
/// limit of an append.
pub const COMMAND_LIMIT: usize = 512 * 1024;
/// Delay after which a retry is suggested when the queue is full.
const OVERLOADED_FOR: Duration = Duration::from_millis(100);
/// Delay after which a retry may succeed when volumes are full: they are enlarged, or history is removed, by
/// administrators or automatically within minutes.
pub(crate) const STORAGE_FULL_FOR: Duration = Duration::from_secs(10);
/// Delay after which a command of a new format level may be accepted: the level is raised within seconds after the last
/// pod was upgraded.
pub(crate) const TOO_NEW_FOR: Duration = Duration::from_secs(5);
/// First and longest pause between tries at a leader that does not lead (yet): an election takes a few hundred
/// milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// Time for which a leader keeps a forwarded command while its lease is expired, before the follower has to look for
/// another leader.
const LEASE_PATIENCE: Duration = Duration::from_secs(1);

/// Limit on concurrent lookups of commands from users whose buckets are empty. Commands beyond it are refused, as
/// others are: nobody can make the leader read its disk by sending too much.
const LOOKS_AT_ONCE: usize = 8;

/// Lookup of commands that the log accepted before, for users whose buckets are empty and for full volumes. Reads rows,
/// which may wait for the disk.
pub trait AcceptedLookup: Send + Sync + 'static {
    /// Returns `true` if the log has accepted this command before; `false` in doubt, so that the command is refused.
    fn is_accepted(&self, envelope: &Envelope) -> bool;
}

/// Settings and hooks of a proposer.
#[derive(Clone)]
pub struct ProposeOptions {
    /// Time for which a write waits for a leader and an outcome.
    pub wait: Duration,
    /// Limits by class of commands; `None` for no limits but those on wrong passwords.
    pub rate_limits: Option<RateLimits>,
    /// Lookup of commands that were accepted before, which pass an empty bucket or a full volume.
    pub accepted: Arc<dyn AcceptedLookup>,
    /// Observer for the metrics.
    pub observer: Arc<dyn ProposeObserver>,
    /// Gauge of the volumes; writes for which they have no space are refused.
    pub volume: VolumeGauge,
    /// Knowledge of this pod, by which the level of a command is judged.
    pub format: KnownFormat,
    /// Format level in force; commands above it are refused.
    pub level: LevelInForce,
}

/// Proposer of writes. Cheap to clone.
#[derive(Clone)]
pub struct Proposer {
    inner: Arc<ProposerCore>,
}

struct ProposerCore {
    leadership: Leadership,
    node_id: u64,
    queue: CommandQueue,
    forwarder: WriteForwarder,
    limiter: RateLimiter,
    looks: Arc<Semaphore>,
    options: ProposeOptions,
    closed: CancellationToken,
}

impl Proposer {
    /// Starts the packer of this node.
    #[must_use]
    pub fn start(consensus: &ConsensusRef, peers: &PeerSet, options: ProposeOptions) -> Self {
        let node_id = peers.identity().node_id();
        let leadership = Leadership::of(node_id, consensus);
        let inner = ProposerCore {
            queue: CommandQueue::start(
                consensus.clone(),
                options.observer.clone(),
                peers.time().clone(),
                options.volume.clone(),
                options.level.clone(),
            ),
            forwarder: WriteForwarder::new(peers.clone(), leadership.clone(), options.observer.clone(), options.format),
            limiter: RateLimiter::new(options.rate_limits),
            looks: Arc::new(Semaphore::new(LOOKS_AT_ONCE)),
            node_id,
            leadership,
            options,
            closed: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Proposes a command and waits for its outcome, for at most [`ProposeOptions::wait`].
    ///
    /// # Errors
    /// [`ProposeError`]; a refusal by the log is not an error but an outcome.
    pub async fn propose(&self, envelope: Envelope) -> Result<Outcome, ProposeError> {
        let start = Instant::now();
        let mut span = trace::current_span().and_then(|call| call.child("propose"));
        let result = self.settle(envelope, span.as_ref().map(LiveSpan::mark)).await;
        self.inner.options.observer.settled(propose_result(&result), start.elapsed());
        if let Some(span) = &mut span {
            span.set(attribute::RESULT, propose_result(&result).label());
        }
        result
    }

    /// Asks the leader to count a wrong password, or to take a count back.
    ///
    /// # Errors
    /// [`ProposeError::RateLimited`] if there were too many; otherwise as for commands.
    pub async fn count_guess(&self, count: GuessCount) -> Result<(), ProposeError> {
        let envelope = Envelope { guess_count: Some(count), ..Envelope::default() };
        self.settle(envelope, None).await.map(drop)
    }

    async fn settle(&self, envelope: Envelope, trace: Option<&SpanMark>) -> Result<Outcome, ProposeError> {
        let bytes = envelope.encoded_len();
        if bytes > COMMAND_LIMIT {
            return Err(ProposeError::TooLarge { bytes, limit: COMMAND_LIMIT });
        }
        let deadline = tokio::time::Instant::now() + self.inner.options.wait;
        let mut doubt = OutcomeDoubt::default();
        let tries = self.try_until_settled(envelope, trace, &mut doubt);
        match timeout_at(deadline, tries).await {
            Ok(result) => result,
            Err(_) => Err(doubt.settle(ProposeError::NoLeader)),
        }
    }

    async fn try_until_settled(
        &self,
        envelope: Envelope,
        trace: Option<&SpanMark>,
        doubt: &mut OutcomeDoubt,
    ) -> Result<Outcome, ProposeError> {
        let repeatable = is_repeatable(&envelope);
        let mut leadership = self.inner.leadership.clone();
        let mut pause = FIRST_PAUSE;
        loop {
            if self.inner.closed.is_cancelled() {
                return Err(doubt.settle(ProposeError::Stopping));
            }
            let Some(leader) = leadership.leader() else {
                self.inner.until_changed(&mut leadership, None).await;
                continue;
            };
            // Until the attempt is back: if the deadline passes meanwhile, the command may be in the log.
            doubt.pending = true;
            let attempt = match self.inner.submit_to(leader, &envelope, trace) {
                Ok(attempt) => attempt.await,
                Err(error) => ProposeAttempt::Refused(error),
            };
            doubt.pending = false;
            match attempt {
                ProposeAttempt::Applied(outcome) => return Ok(*outcome),
                ProposeAttempt::Refused(error) => return Err(doubt.settle(error)),
                ProposeAttempt::Unknown(reason) => {
                    doubt.reason = Some(reason);
                    if !repeatable {
                        return Err(doubt.settle(ProposeError::NoLeader));
                    }
                }
                ProposeAttempt::NotLeader(_) => {}
            }
            self.inner.until_changed(&mut leadership, Some(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits until this node's queue has room for one more command; `None` if it has stopped. Commands that followers
    /// forward are thus slowed down on their streams instead of being refused.
    pub(crate) async fn place(&self) -> Option<QueuePermit> {
        self.inner.queue.place().await
    }

    /// Submits a follower's forwarded command. It is queued before this returns, so that a stream keeps its order. An
    /// expired lease is waited out, unless the command is part of a sequence: the follower then sends its commands
    /// again, in order.
    pub(crate) fn lead(
        &self,
        encoded: Bytes,
        envelope: Envelope,
        place: QueuePermit,
        trace: Option<SpanMark>,
    ) -> impl Future<Output = ProposeAttempt> + Send + 'static + use<> {
        let inner = self.inner.clone();
        if let Some(count) = &envelope.guess_count {
            // The place in the queue is not used.
            return Either::Left(ready(inner.count_guess(count)));
        }
        let first = inner.admit(&envelope).map(|AdmittedCommand { needs, paid_from }| {
            let (waiting, queued) = command::begin_command(trace.as_ref());
            InQueue { answer: CommandQueue::submit_into(place, encoded, needs, queued), paid_from, waiting }
        });
        Either::Right(async move {
            let deadline = Instant::now() + LEASE_PATIENCE;
            let mut attempt = match first {
                Err(refused @ (ProposeError::RateLimited { .. } | ProposeError::StorageFull { .. })) => {
                    inner.clone().unless_known(envelope.clone(), trace.clone(), refused).await
                }
                first => inner.finish(first).await,
            };
            while let ProposeAttempt::NotLeader(to) = attempt
                && envelope.sequence.is_none()
                && to.is_none_or(|id| id == inner.node_id)
                && inner.leadership.is_leader()
                && Instant::now() < deadline
                && !inner.closed.is_cancelled()
            {
                tokio::time::sleep(FIRST_PAUSE).await;
                let again = inner.submit(&envelope, trace.as_ref());
                attempt = inner.finish(again).await;
            }
            attempt
        })
    }

    /// Returns the knowledge of this pod.
    pub(crate) fn format(&self) -> KnownFormat {
        self.inner.options.format
    }

    /// Returns a proposer for a stream of commands that are applied in the order in which they are given, with at most
    /// `in_flight` on their way.
    #[must_use]
    pub fn ordered(&self, in_flight: usize) -> OrderedProposer {
        OrderedProposer::start(self.inner.clone(), in_flight)
    }

    /// Closes the proposer: waiting and later proposals are refused.
    pub fn close(&self) {
        self.inner.closed.cancel();
    }
}

/// A command on its way through this node's queue.
struct InQueue {
    answer: oneshot::Receiver<ProposeAttempt>,
    /// Bucket that the command took a token from.
    paid_from: Option<LimitBucket>,
    /// Trace of the wait, if the command is sampled.
    waiting: Option<CommandSpan>,
}

type SubmitResult = Result<InQueue, ProposeError>;

/// A command that may be queued.
struct AdmittedCommand {
    needs: CommandNeeds,
    paid_from: Option<LimitBucket>,
}

impl ProposerCore {
    /// Makes one try at this leader; the command is on its way when this returns.
    fn submit_to(
        self: &Arc<Self>,
        leader: u64,
        envelope: &Envelope,
        trace: Option<&SpanMark>,
    ) -> Result<impl Future<Output = ProposeAttempt> + Send + 'static + use<>, ProposeError> {
        if leader != self.node_id {
            return Ok(Either::Left(self.forwarder.forward(leader, envelope, trace)?));
        }
        if let Some(count) = &envelope.guess_count {
            return Ok(Either::Right(Either::Left(ready(self.count_guess(count)))));
        }
        let inner = self.clone();
        let attempt = match self.submit(envelope, trace) {
            Ok(submitted) => Either::Left(async move { inner.finish(Ok(submitted)).await }),
            Err(refused @ (ProposeError::RateLimited { .. } | ProposeError::StorageFull { .. })) => {
                Either::Right(inner.unless_known(envelope.clone(), trace.cloned(), refused))
            }
            Err(error) => return Err(error),
        };
        Ok(Either::Right(Either::Right(attempt)))
    }

    /// Counts a wrong password on the leader, or takes a count back.
    fn count_guess(&self, count: &GuessCount) -> ProposeAttempt {
        if !self.leadership.is_leader() {
            // What is counted here would be counted for this pod alone.
            return ProposeAttempt::NotLeader(self.leadership.leader());
        }
        if count.gives_back {
            self.limiter.give_guess_back(count);
            return ProposeAttempt::Applied(Box::default());
        }
        match self.limiter.guess(count, Instant::now()) {
            Ok(()) => ProposeAttempt::Applied(Box::default()),
            Err(retry_after) => {
                self.options.observer.limited(LimitClass::Guesses);
                ProposeAttempt::Refused(ProposeError::RateLimited { retry_after })
            }
        }
    }

    /// Waits until another leader may have been elected, for at most `pause`.
    async fn until_changed(&self, leadership: &mut Leadership, pause: Option<Duration>) {
        let wait = async {
            match pause {
                Some(pause) => drop(timeout(pause, leadership.until_changed()).await),
                // A stopped openraft changes no more: only the caller's deadline or the end of this pod ends the wait.
                None => leadership.until_changed().await,
            }
        };
        self.closed.run_until_cancelled(wait).await;
    }

    fn submit(&self, envelope: &Envelope, trace: Option<&SpanMark>) -> SubmitResult {
        let admitted = self.admit(envelope)?;
        self.enqueue(envelope, trace, admitted)
    }

    /// Submits a command that was refused for an empty bucket or a full volume, if the log has accepted it before: it
    /// is then answered from the log, and is not a new write.
    async fn unless_known(
        self: Arc<Self>,
        envelope: Envelope,
        trace: Option<SpanMark>,
        refused: ProposeError,
    ) -> ProposeAttempt {
        if !self.is_accepted(&envelope).await {
            if matches!(refused, ProposeError::RateLimited { .. })
                && let Some(bucket) = limit::bucket_of(&envelope)
            {
                self.options.observer.limited(bucket.class);
            }
            return ProposeAttempt::Refused(refused);
        }
        let needs = CommandNeeds { class: WriteClass::System, level: self.level_of(&envelope) };
        let again = AdmittedCommand { needs, paid_from: None };
        let submitted = self.enqueue(&envelope, trace.as_ref(), again);
        self.finish(submitted).await
    }

    /// Looks a command up on a thread that may wait for the disk: heartbeats run on the threads of the runtime.
    async fn is_accepted(&self, envelope: &Envelope) -> bool {
        let Ok(turn) = Arc::clone(&self.looks).try_acquire_owned() else { return false };
        let accepted = self.options.accepted.clone();
        let envelope = envelope.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            accepted.is_accepted(&envelope)
        });
        looked.await.unwrap_or(false)
    }

    fn enqueue(&self, envelope: &Envelope, trace: Option<&SpanMark>, admitted: AdmittedCommand) -> SubmitResult {
        let AdmittedCommand { needs, paid_from } = admitted;
        let (waiting, queued) = command::begin_command(trace);
        match self.queue.submit(envelope.encode_to_vec().into(), needs, queued) {
            Ok(answer) => Ok(InQueue { answer, paid_from, waiting }),
            Err(error) => {
                self.give_token_back(paid_from.as_ref());
                Err(match error {
                    NotQueued::Full => ProposeError::Overloaded { retry_after: OVERLOADED_FOR },
                    NotQueued::Stopped => ProposeError::Stopping,
                })
            }
        }
    }

    async fn finish(&self, submitted: SubmitResult) -> ProposeAttempt {
        let InQueue { answer, paid_from, waiting } = match submitted {
            Ok(queued) => queued,
            Err(error) => return ProposeAttempt::Refused(error),
        };
        let attempt = answer.await.unwrap_or_else(|_| ProposeAttempt::Unknown("this pod stopped".into()));
        if let Some(waiting) = waiting {
            waiting.answered(attempt.label());
        }
        // A bucket pays for new entries in the log: not for repeats, nor for what surely was not appended.
        let counts = match &attempt {
            ProposeAttempt::Applied(outcome) => !outcome.duplicate,
            ProposeAttempt::Unknown(_) => true,
            ProposeAttempt::NotLeader(_) | ProposeAttempt::Refused(_) => false,
        };
        if !counts {
            self.give_token_back(paid_from.as_ref());
        }
        attempt
    }

    /// Checks that the volumes have space for the command, and its user a token.
    fn admit(&self, envelope: &Envelope) -> Result<AdmittedCommand, ProposeError> {
        // Space first, so that a command refused for lack of it takes no token.
        let needs = CommandNeeds { class: self.class_with_space(envelope)?, level: self.level_of(envelope) };
        Ok(AdmittedCommand { needs, paid_from: self.take_token(envelope)? })
    }

    fn level_of(&self, envelope: &Envelope) -> u32 {
        (self.options.format.level_of)(envelope)
    }

    fn class_with_space(&self, envelope: &Envelope) -> Result<WriteClass, ProposeError> {
        let class = WriteClass::of(envelope);
        if self.options.volume.admits(class) {
            return Ok(class);
        }
        Err(ProposeError::StorageFull { retry_after: STORAGE_FULL_FOR })
    }

    /// Takes a token from the bucket of the command; returns the bucket if the command needed one.
    fn take_token(&self, envelope: &Envelope) -> Result<Option<LimitBucket>, ProposeError> {
        let Some(bucket) = limit::bucket_of(envelope) else { return Ok(None) };
        match self.limiter.take(&bucket, Instant::now()) {
            Ok(()) => Ok(Some(bucket)),
            Err(retry_after) => Err(ProposeError::RateLimited { retry_after }),
        }
    }

    fn give_token_back(&self, paid_from: Option<&LimitBucket>) {
        if let Some(bucket) = paid_from {
            self.limiter.give_back(bucket);
        }
    }
}

/// Doubt about earlier tries: if one may have been appended, no later error may claim that nothing was.
#[derive(Default)]
struct OutcomeDoubt {
    pending: bool,
    reason: Option<String>,
}

impl OutcomeDoubt {
    fn settle(&mut self, otherwise: ProposeError) -> ProposeError {
        match self.reason.take() {
            Some(reason) => ProposeError::Unknown { reason },
            None if self.pending => ProposeError::Unknown { reason: "no response in time".into() },
            None => otherwise,
        }
    }
}

/// Returns `true` if applying the command twice gives the first answer again: it has a transaction id, or its content
/// makes it idempotent.
fn is_repeatable(envelope: &Envelope) -> bool {
    let kind = envelope.command.as_ref().and_then(|command| command.kind.as_ref());
    !envelope.transaction_id.is_empty()
        // Counted twice, it keeps nobody out; given back twice, it would be a guess more.
        || envelope.guess_count.as_ref().is_some_and(|count| !count.gives_back)
        || matches!(
            kind,
            Some(
                Kind::Bootstrap(_)
                    | Kind::Register(_)
                    | Kind::OpenSession(_)
                    | Kind::RefreshSession(_)
                    | Kind::KeepSigningKey(_)
            )
        )
}

fn propose_result(result: &Result<Outcome, ProposeError>) -> ProposeResult {
    match result {
        Ok(_) => ProposeResult::Applied,
        Err(ProposeError::Overloaded { .. }) => ProposeResult::Overloaded,
        Err(ProposeError::RateLimited { .. }) => ProposeResult::RateLimited,
        Err(ProposeError::StorageFull { .. }) => ProposeResult::StorageFull,
        Err(ProposeError::TooNew { .. }) => ProposeResult::TooNew,
        Err(ProposeError::NoLeader) => ProposeResult::NoLeader,
        Err(ProposeError::Unknown { .. }) => ProposeResult::Unknown,
        Err(ProposeError::Stopping) => ProposeResult::Stopping,
        Err(ProposeError::TooLarge { .. }) => ProposeResult::TooLarge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_a_wrong_password_is_repeated_and_what_gives_it_back_is_not() {
        let counting = |gives_back| Envelope {
            guess_count: Some(GuessCount { gives_back, ..GuessCount::default() }),
            ..Envelope::default()
        };
        assert!(is_repeatable(&counting(false)) && !is_repeatable(&counting(true)));
    }
}
