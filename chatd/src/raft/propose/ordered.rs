//! Proposals of one stream, applied in the order in which they are given.
//!
//! Many are in flight at once, each with its number in a sequence, whose order apply enforces ([`Sequence`]). If one of
//! them turns out not to have been applied, or its outcome is unknown, nothing new is sent until all that are in flight
//! have come back. Those without an outcome are then sent again, in order, as a new sequence (go-back-N). Transaction
//! ids prevent commands that were applied after all from being applied twice.

use super::{
    FIRST_PAUSE, LONGEST_PAUSE, ProposerCore,
    error::{ProposeAttempt, ProposeError},
    propose_result,
};
use crate::raft::leadership::Leadership;
use crate::trace::{self, LiveSpan, attribute};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use prost::Message as _;
use quorate_core::proto::log::{Envelope, Outcome, Reason, Sequence, outcome::Kind};
use std::{collections::VecDeque, sync::Arc};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout_at},
};

/// Proposer for one stream. If it is dropped, it finishes what it has taken.
pub struct OrderedProposer {
    jobs: mpsc::Sender<OrderedJob>,
    inner: Arc<ProposerCore>,
}

struct OrderedJob {
    envelope: Envelope,
    start: Instant,
    deadline: Instant,
    doubt: super::OutcomeDoubt,
    /// Span `propose`, if the proposal is sampled.
    span: Option<Box<LiveSpan>>,
    answer: oneshot::Sender<Result<Outcome, ProposeError>>,
}

impl OrderedProposer {
    /// Starts the task of the stream; at most `in_flight` proposals are in flight at once, and as many wait.
    pub(super) fn start(inner: Arc<ProposerCore>, in_flight: usize) -> Self {
        let in_flight = in_flight.max(1);
        let (jobs, receiver) = mpsc::channel(in_flight);
        let line = OrderedPipeline {
            leadership: inner.leadership.clone(),
            inner: inner.clone(),
            jobs: Some(receiver),
            in_flight,
            flying: FuturesOrdered::new(),
            waiting: VecDeque::new(),
            sequence: Sequence { id: rand::random(), number: 0 },
            pause: FIRST_PAUSE,
        };
        tokio::spawn(line.run());
        Self { jobs, inner }
    }

    /// Proposes a command, which is queued when this returns, in the order of the calls. The command needs a
    /// transaction id, as it may be sent more than once.
    ///
    /// # Errors
    /// Fails as [`Proposer::propose`](super::Proposer::propose) does, with `Overloaded` only if more than `in_flight`
    /// commands wait.
    pub fn propose(
        &self,
        envelope: Envelope,
    ) -> impl Future<Output = Result<Outcome, ProposeError>> + Send + 'static + use<> {
        let receiver = self.queue(envelope);
        async move { receiver?.await.unwrap_or(Err(ProposeError::Stopping)) }
    }

    fn queue(&self, envelope: Envelope) -> Result<oneshot::Receiver<Result<Outcome, ProposeError>>, ProposeError> {
        let bytes = envelope.encoded_len();
        let limit = super::COMMAND_LIMIT;
        if bytes > limit {
            return Err(ProposeError::TooLarge { bytes, limit });
        }
        let (answer, receiver) = oneshot::channel();
        let start = Instant::now();
        let deadline = start + self.inner.options.wait;
        let span = trace::current_span().and_then(|call| call.child("propose")).map(Box::new);
        let job = OrderedJob { envelope, start, deadline, doubt: super::OutcomeDoubt::default(), span, answer };
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded { retry_after: super::OVERLOADED_FOR },
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopping,
        })?;
        Ok(receiver)
    }
}

/// A finished attempt; `None` if it did not finish in time.
type FinishedJob = (OrderedJob, Option<ProposeAttempt>);

struct OrderedPipeline {
    inner: Arc<ProposerCore>,
    leadership: Leadership,
    /// Queue of new proposals; `None` once no more can come.
    jobs: Option<mpsc::Receiver<OrderedJob>>,
    in_flight: usize,
    flying: FuturesOrdered<BoxFuture<'static, FinishedJob>>,
    /// Proposals to send before all others: once there is room, or again.
    waiting: VecDeque<OrderedJob>,
    sequence: Sequence,
    pause: std::time::Duration,
}

/// Effect of an attempt on the later ones of the sequence.
enum SequenceFate {
    Settled,
    /// The sequence has a gap; contains the job that has to be sent again, if any.
    Broken(Option<Box<OrderedJob>>),
}

impl OrderedPipeline {
    async fn run(mut self) {
        while let Some(failed) = self.pipeline().await {
            let mut unsettled: VecDeque<OrderedJob> = failed.into_iter().collect();
            while let Some(landed) = self.flying.next().await {
                if let SequenceFate::Broken(Some(job)) = self.settle(landed) {
                    unsettled.push_back(*job);
                }
            }
            // What was in flight was given before what waits.
            unsettled.append(&mut self.waiting);
            self.waiting = unsettled;
            // A new id, as apply accepts nothing behind the gap in the old sequence.
            self.sequence = Sequence { id: rand::random(), number: 0 };
            self.until_a_leader().await;
        }
    }

    /// Sends proposals as they arrive, until the sequence breaks; `None` when all is done.
    async fn pipeline(&mut self) -> Option<Option<OrderedJob>> {
        loop {
            self.send_waiting();
            let takes = self.waiting.is_empty() && self.flying.len() < self.in_flight;
            tokio::select! {
                biased;
                Some(landed) = self.flying.next() => {
                    if let SequenceFate::Broken(job) = self.settle(landed) {
                        return Some(job.map(|job| *job));
                    }
                }
                job = next_job(&mut self.jobs), if takes && self.jobs.is_some() => match job {
                    Some(job) => self.waiting.push_back(job),
                    None => self.jobs = None,
                },
                // Other streams hold all places, which become free in time.
                () = sleep(FIRST_PAUSE), if !self.waiting.is_empty() => {}
                else => return None,
            }
        }
    }

    /// Sends as many waiting proposals as there is room for.
    fn send_waiting(&mut self) {
        while let Some(job) = self.waiting.pop_front() {
            if let Some(job) = self.send(job) {
                return self.waiting.push_front(job);
            }
        }
    }

    /// Sends a proposal, which is in flight when this returns; returns the proposal if there is no room.
    fn send(&mut self, mut job: OrderedJob) -> Option<OrderedJob> {
        if job.deadline <= Instant::now() {
            let error = ProposeError::Overloaded { retry_after: super::OVERLOADED_FOR };
            self.finish(job, |doubt| Err(doubt.settle(error)));
            return None;
        }
        let Some(leader) = self.leadership.leader() else {
            // The number is used up although nobody gets it. A later proposal may find a leader before this one comes
            // back; with the same number it would be applied first.
            self.sequence.number += 1;
            self.flying.push_back(async move { (job, Some(ProposeAttempt::NotLeader(None))) }.boxed());
            return None;
        };
        job.envelope.sequence = Some(self.sequence);
        match self.inner.submit_to(leader, &job.envelope, job.span.as_ref().map(|span| span.mark())) {
            Ok(attempt) => {
                self.sequence.number += 1;
                let landing = async move {
                    let attempt = timeout_at(job.deadline, attempt).await.ok();
                    job.doubt.pending = attempt.is_none();
                    (job, attempt)
                };
                self.flying.push_back(landing.boxed());
                None
            }
            Err(ProposeError::Overloaded { .. }) => Some(job),
            Err(error) => {
                self.finish(job, |doubt| Err(doubt.settle(error)));
                None
            }
        }
    }

    fn settle(&mut self, (mut job, attempt): FinishedJob) -> SequenceFate {
        match attempt {
            Some(ProposeAttempt::Applied(outcome)) if is_out_of_sequence(&outcome) => {
                SequenceFate::Broken(Some(Box::new(job)))
            }
            Some(ProposeAttempt::Applied(outcome)) => {
                self.pause = FIRST_PAUSE;
                self.finish(job, |_| Ok(*outcome));
                SequenceFate::Settled
            }
            Some(ProposeAttempt::Unknown(reason)) => {
                job.doubt.reason = Some(reason);
                SequenceFate::Broken(Some(Box::new(job)))
            }
            Some(ProposeAttempt::NotLeader(_) | ProposeAttempt::Refused(ProposeError::Overloaded { .. })) => {
                SequenceFate::Broken(Some(Box::new(job)))
            }
            // The number of this proposal will never be applied.
            Some(ProposeAttempt::Refused(error)) => {
                self.finish(job, |doubt| Err(doubt.settle(error)));
                SequenceFate::Broken(None)
            }
            None => {
                self.finish(job, |doubt| Err(doubt.settle(ProposeError::NoLeader)));
                SequenceFate::Broken(None)
            }
        }
    }

    /// Waits for a leader before the waiting proposals are sent again. Nothing is in flight at this point.
    async fn until_a_leader(&mut self) {
        if !self.waiting.is_empty() {
            self.inner.until_changed(&mut self.leadership, Some(self.pause)).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        loop {
            // The oldest proposal was given first, and its deadline is the earliest.
            while let Some(job) = self.waiting.pop_front_if(|job| job.deadline <= Instant::now()) {
                self.finish(job, |doubt| Err(doubt.settle(ProposeError::NoLeader)));
            }
            let Some(deadline) = self.waiting.front().map(|job| job.deadline) else { return };
            if self.inner.closed.is_cancelled() {
                for job in std::mem::take(&mut self.waiting) {
                    self.finish(job, |doubt| Err(doubt.settle(ProposeError::Stopping)));
                }
                return;
            }
            if self.leadership.leader().is_some() {
                return;
            }
            let changed = self.inner.until_changed(&mut self.leadership, None);
            // A passed deadline is noticed above.
            let _ = timeout_at(deadline, changed).await;
        }
    }

    fn finish(
        &self,
        mut job: OrderedJob,
        result: impl FnOnce(&mut super::OutcomeDoubt) -> Result<Outcome, ProposeError>,
    ) {
        let result = result(&mut job.doubt);
        self.inner.options.observer.settled(propose_result(&result), job.start.elapsed());
        if let Some(span) = &mut job.span {
            span.set(attribute::RESULT, propose_result(&result).label());
        }
        // A caller that gave up no longer listens.
        let _ = job.answer.send(result);
    }
}

async fn next_job(jobs: &mut Option<mpsc::Receiver<OrderedJob>>) -> Option<OrderedJob> {
    match jobs {
        Some(jobs) => jobs.recv().await,
        None => None,
    }
}

fn is_out_of_sequence(outcome: &Outcome) -> bool {
    matches!(&outcome.kind, Some(Kind::Rejected(rejected)) if rejected.reason() == Reason::OutOfSequence)
}

#[cfg(test)]
mod tests;
