//! The leader's side: many commands go into one entry, and few entries are in flight.
//!
//! While entries are being flushed and replicated, commands gather; the next entry takes those that are waiting. There
//! is no timer: the entries in flight are the batching window.

use super::{
    STORAGE_FULL_FOR, TOO_NEW_FOR,
    error::{ProposeAttempt, ProposeError},
    stats::ProposeObserver,
};
use crate::feed::LevelInForce;
use crate::raft::{
    clock::{TimeStamp, Timekeeper},
    consensus::{ConsensusRef, WriteReceiver},
    types::{EncodedBatch, EntryOutcomes, TypeConfig},
    volume::{VolumeGauge, WriteClass},
};
use crate::trace::{
    command::CommandMark,
    packing::{self, EntrySpan},
};
use openraft::errors::ClientWriteError;
use prost::{Message as _, bytes::Bytes};
use quorate_core::{apply::KnownFormat, proto::log::PackedBatch};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Largest number of commands in one entry: some 2 ms of apply, far below a heartbeat.
const COMMANDS: usize = 256;
/// Largest size of an entry, in bytes, unless one command alone is larger: small against the 1 MiB of an append.
const BYTES: usize = 256 * 1024;
/// Entries in flight: one on its way to the disks, one on its way back. More make entries smaller, and an entry costs
/// three pods as much as some twenty commands do (measured: 2 instead of 4 saves a tenth of the CPU time of a post).
const IN_FLIGHT: usize = 2;
/// Commands waiting to be packed: 16 full entries, some 100 ms of work at the measured rate. Beyond it, an immediate
/// refusal is better than a queue that outlives the callers' patience.
const QUEUED: usize = 4096;

/// Requirements of a command on the cluster, without which it is not appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandNeeds {
    /// Class of the command, which decides whether the volumes have space for it.
    pub(crate) class: WriteClass,
    /// Format level that must be in force.
    pub(crate) level: u32,
}

struct QueuedCommand {
    /// Encoded `Envelope`, which goes into the entry as it is.
    envelope: Bytes,
    needs: CommandNeeds,
    answer: oneshot::Sender<ProposeAttempt>,
    /// Trace of the wait, if the command is sampled.
    trace: Option<CommandMark>,
}

impl QueuedCommand {
    /// Returns `true` if the caller has gone; it tries again if it still exists. After a stall, the log is thus not
    /// filled with commands that nobody waits for, ahead of those that callers wait for.
    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }
}

/// Queue of commands that wait to be packed.
#[derive(Clone)]
pub(crate) struct CommandQueue {
    jobs: mpsc::Sender<QueuedCommand>,
}

/// A reserved place in the queue, to be filled at once.
pub(crate) struct QueuePermit(mpsc::OwnedPermit<QueuedCommand>);

impl QueuePermit {
    fn fill(
        self,
        envelope: Bytes,
        needs: CommandNeeds,
        trace: Option<CommandMark>,
    ) -> oneshot::Receiver<ProposeAttempt> {
        let (answer, receiver) = oneshot::channel();
        self.0.send(QueuedCommand { envelope, needs, answer, trace });
        receiver
    }
}

/// Reason why a command was not queued.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotQueued {
    Full,
    Stopped,
}

impl CommandQueue {
    /// Starts the packer, which ends when the last queue is dropped.
    pub(crate) fn start(
        consensus: ConsensusRef,
        observer: Arc<dyn ProposeObserver>,
        time: Timekeeper,
        volume: VolumeGauge,
        level: LevelInForce,
    ) -> Self {
        let (jobs, receiver) = mpsc::channel(QUEUED);
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
        let packer = EntryPacker { consensus, observer, time, volume, level, in_flight };
        tokio::spawn(packer.run(receiver));
        Self { jobs }
    }

    /// Queues a command at once or not at all, in the order of the calls.
    pub(crate) fn submit(
        &self,
        envelope: Bytes,
        needs: CommandNeeds,
        trace: Option<CommandMark>,
    ) -> Result<oneshot::Receiver<ProposeAttempt>, NotQueued> {
        match self.jobs.clone().try_reserve_owned() {
            Ok(permit) => Ok(QueuePermit(permit).fill(envelope, needs, trace)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(NotQueued::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(NotQueued::Stopped),
        }
    }

    /// Queues a command in a reserved place.
    pub(crate) fn submit_into(
        place: QueuePermit,
        envelope: Bytes,
        needs: CommandNeeds,
        trace: Option<CommandMark>,
    ) -> oneshot::Receiver<ProposeAttempt> {
        place.fill(envelope, needs, trace)
    }

    /// Waits for a place; `None` if the queue has stopped.
    pub(crate) async fn place(&self) -> Option<QueuePermit> {
        self.jobs.clone().reserve_owned().await.ok().map(QueuePermit)
    }
}

struct EntryPacker {
    consensus: ConsensusRef,
    observer: Arc<dyn ProposeObserver>,
    time: Timekeeper,
    volume: VolumeGauge,
    level: LevelInForce,
    in_flight: Arc<Semaphore>,
}

impl EntryPacker {
    async fn run(mut self, mut jobs: mpsc::Receiver<QueuedCommand>) {
        let mut held: Option<QueuedCommand> = None;
        // A place in flight is acquired first: commands that arrive while none is free go into one entry.
        while let Ok(place) = self.in_flight.clone().acquire_owned().await {
            let first = match held.take() {
                Some(job) => Some(job),
                None => jobs.recv().await,
            };
            let Some(first) = first else { return };
            let Some(first) = self.still_wanted(first) else { continue };
            let gathered = self.gather(first, &mut jobs, &mut held);
            self.observer.packed(gathered.envelopes.len(), jobs.len());
            self.write(gathered, place).await;
        }
    }

    async fn write(&mut self, gathered: GatheredCommands, place: OwnedSemaphorePermit) {
        let GatheredCommands { envelopes, answers, sampled, level } = gathered;
        // No majority agrees with this clock, or none has been heard yet: nothing is stamped with it, as what is in the
        // log stays. A new leader hears the others with its first append; one whose clock is contradicted hands
        // leadership over.
        let Some(TimeStamp { time_ms, trust }) = self.time.stamp() else {
            return answer_all(answers, || ProposeAttempt::NotLeader(None));
        };
        let packed = packing::begin_entry(&sampled, envelopes.len());
        let batch =
            PackedBatch { time_ms, envelopes, time_trust: trust.into(), level: KnownFormat::encode_level(level) };
        let trace = packed.as_ref().map(|packed| packed.trace().clone());
        let encoded = EncodedBatch { bytes: batch.encode_to_vec().into(), trace };
        self.volume.spend(encoded.bytes.len());
        match self.consensus.write(encoded).await {
            Ok(written) => drop(tokio::spawn(settle_entry(written, answers, packed, place))),
            // openraft takes no more entries: nothing was appended.
            Err(_) => answer_all(answers, || ProposeAttempt::NotLeader(None)),
        }
    }

    /// Gathers the waiting commands, up to the bounds of one entry; `held` keeps the command that would have exceeded
    /// them.
    fn gather(
        &self,
        first: QueuedCommand,
        jobs: &mut mpsc::Receiver<QueuedCommand>,
        held: &mut Option<QueuedCommand>,
    ) -> GatheredCommands {
        let mut bytes = first.envelope.len();
        let mut gathered = GatheredCommands::default();
        gathered.take(first);
        while gathered.envelopes.len() < COMMANDS {
            let Ok(job) = jobs.try_recv() else { break };
            let Some(job) = self.still_wanted(job) else { continue };
            bytes += job.envelope.len();
            if bytes > BYTES {
                *held = Some(job);
                break;
            }
            gathered.take(job);
        }
        gathered
    }

    /// Returns `None` for a command that nobody waits for, whose format level is not in force, or for which the volumes
    /// have no space any more: a full queue is larger than the reserve of a small volume.
    fn still_wanted(&self, job: QueuedCommand) -> Option<QueuedCommand> {
        if job.is_abandoned() {
            return None;
        }
        let refused = if job.needs.level > self.level.get() {
            ProposeError::TooNew { retry_after: TOO_NEW_FOR }
        } else if !self.volume.admits(job.needs.class) {
            ProposeError::StorageFull { retry_after: STORAGE_FULL_FOR }
        } else {
            return Some(job);
        };
        // A caller that gave up no longer listens.
        let _ = job.answer.send(ProposeAttempt::Refused(refused));
        None
    }
}

/// The commands of one entry.
#[derive(Default)]
struct GatheredCommands {
    /// Highest format level that one of them needs.
    level: u32,
    envelopes: Vec<Bytes>,
    answers: Vec<oneshot::Sender<ProposeAttempt>>,
    /// Traces of the sampled commands.
    sampled: Vec<CommandMark>,
}

impl GatheredCommands {
    fn take(&mut self, job: QueuedCommand) {
        let QueuedCommand { envelope, needs, answer, trace } = job;
        self.level = self.level.max(needs.level);
        self.envelopes.push(envelope);
        self.answers.push(answer);
        self.sampled.extend(trace);
    }
}

/// Waits until the entry is applied, and sends each caller its own outcome.
async fn settle_entry(
    written: WriteReceiver,
    answers: Vec<oneshot::Sender<ProposeAttempt>>,
    packed: Option<EntrySpan>,
    place: OwnedSemaphorePermit,
) {
    let result = written.await;
    drop(place);
    if let Some(packed) = packed {
        packed.applied(result.as_ref().ok().and_then(|written| Some(written.as_ref().ok()?.log_id.index)));
    }
    let failed: ClientWriteError<TypeConfig> = match result {
        Ok(Ok(response)) => {
            let EntryOutcomes(outcomes) = response.data;
            if outcomes.len() == answers.len() {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // A caller that gave up no longer listens.
                    let _ = answer.send(ProposeAttempt::Applied(Box::new(outcome)));
                }
            } else {
                answer_all(answers, || ProposeAttempt::Unknown("apply returned a different number of outcomes".into()));
            }
            return;
        }
        Ok(Err(error)) => error,
        Err(_) => return answer_all(answers, || ProposeAttempt::Unknown("this pod stopped".into())),
    };
    match failed {
        // Refused before it was appended: this node does not lead, its lease has expired, or it is handing leadership
        // over.
        ClientWriteError::ForwardToLeader(to) => answer_all(answers, || ProposeAttempt::NotLeader(to.leader_id)),
        // The entry may survive in another leader's log.
        other => answer_all(answers, || ProposeAttempt::Unknown(other.to_string())),
    }
}

fn answer_all(answers: Vec<oneshot::Sender<ProposeAttempt>>, attempt: impl Fn() -> ProposeAttempt) {
    for answer in answers {
        let _ = answer.send(attempt());
    }
}
