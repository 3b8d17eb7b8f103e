//! Turns at the store: the order of reads when there are more than may run.
//!
//! Readers take turns, not reads: a reader with four hundred waiting reads gets as many turns as a reader with one, and
//! holds only a part of the places at any time. Readers that were woken by the feed come after people who ask, but are
//! never left out: a message to a large room wakes thousands at once, and each of them can wait a little.

use super::{RefusalCode, RequestRefusal};
use crate::metrics::ChatMetrics;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// Number of concurrent reads in the store for each core: most are served from memory and keep a core busy, some wait
/// for the disk meanwhile. Heartbeats and the apply thread share the cores with them.
const READS_PER_CORE: usize = 4;
/// Minimum number of concurrent reads: a volume with some milliseconds of latency still answers a thousand reads a
/// second.
const FEWEST_READS: usize = 8;
/// Maximum number of concurrent reads: more threads than this would only take turns on the cores.
const MOST_READS: usize = 64;
/// Divisor of the places: one reader holds at most this fraction of them, so that the others find free ones, whatever
/// that reader does.
const READERS_SHARE: usize = 4;
/// Maximum number of waiting reads of one reader: a client has a handful of requests under way, a bot with many
/// connections some more.
const WAITING_PER_READER: usize = 64;
/// Maximum number of waiting reads of all readers, except for woken ones, which are as many as subscriptions: some
/// megabytes.
const WAITING: usize = 8192;
/// Maximum wait for a turn; the caller then asks another pod, or later. Most callers have given up by then.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Time after which a reader with too many reads has got some of its answers.
const RETRY: Duration = Duration::from_secs(1);
/// Number of turns of people who ask between two turns of woken readers, when both wait.
const ASKED_BETWEEN_WOKEN: usize = 3;

/// Reason for a read, which decides its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadUrgency {
    /// Somebody asked and waits for the answer.
    Asked,
    /// The feed woke a long poll or a stream.
    Woken,
}

const CLASSES: usize = 2;

impl ReadUrgency {
    fn place(self) -> usize {
        match self {
            Self::Asked => 0,
            Self::Woken => 1,
        }
    }
}

/// Limits on reads that run and on reads that wait.
#[derive(Clone, Copy, Debug)]
struct TurnLimits {
    slots: usize,
    per_reader: usize,
    woken: usize,
    waiting_per_reader: usize,
    waiting: usize,
    longest_wait: Duration,
}

impl TurnLimits {
    fn of_cores(cores: usize) -> Self {
        let slots = cores.saturating_mul(READS_PER_CORE).clamp(FEWEST_READS, MOST_READS);
        Self {
            slots,
            per_reader: (slots / READERS_SHARE).max(1),
            // The other half is for people who ask, however many readers were woken.
            woken: (slots / 2).max(1),
            waiting_per_reader: WAITING_PER_READER,
            waiting: WAITING,
            longest_wait: LONGEST_WAIT,
        }
    }
}

impl TurnLimits {
    /// Returns how many reads of a reader may run at once. Callers without a session together form one reader, whose
    /// share is larger.
    fn running_of(&self, reader: &str) -> usize {
        if reader.is_empty() { (self.slots / 2).max(1) } else { self.per_reader }
    }

    fn waiting_of(&self, reader: &str) -> usize {
        // More than one account has, but callers without a session cannot fill the queue for those with one.
        if reader.is_empty() { self.waiting / 4 } else { self.waiting_per_reader }
    }
}

/// Scheduler of the reads at the store; see the [module](self).
pub(super) struct ReadTurns {
    queue: Mutex<TurnQueue>,
    longest_wait: Duration,
    metrics: ChatMetrics,
}

struct TurnQueue {
    limits: TurnLimits,
    running: [usize; CLASSES],
    /// Readers whose reads wait or run.
    readers: HashMap<Arc<str>, ReaderShare>,
    /// Readers whose next read may run, in turn order.
    rounds: [VecDeque<Arc<str>>; CLASSES],
    /// Number of waiting reads that somebody asked for.
    waiting: usize,
    /// Number of asked reads that had their turn since the last woken one.
    asked_in_row: usize,
    next_ticket: u64,
}

#[derive(Default)]
struct ReaderShare {
    running: usize,
    waiting: [VecDeque<WaitingRead>; CLASSES],
    in_round: [bool; CLASSES],
}

impl ReaderShare {
    fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting.iter().all(VecDeque::is_empty) && self.in_round == [false; CLASSES]
    }
}

struct WaitingRead {
    ticket: u64,
    grant: oneshot::Sender<()>,
}

/// A place in the store, held until it is dropped.
pub(super) struct ReadTurn {
    turns: Arc<ReadTurns>,
    reader: Arc<str>,
    urgency: ReadUrgency,
}

impl Drop for ReadTurn {
    fn drop(&mut self) {
        self.turns.queue().release(&self.reader, self.urgency);
    }
}

/// A wait for a turn; dropping it takes the read out of the queue.
struct PendingTurn {
    turns: Arc<ReadTurns>,
    reader: Arc<str>,
    urgency: ReadUrgency,
    ticket: u64,
    granted: oneshot::Receiver<()>,
    taken: bool,
}

impl PendingTurn {
    fn into_turn(mut self) -> ReadTurn {
        self.taken = true;
        ReadTurn { turns: self.turns.clone(), reader: self.reader.clone(), urgency: self.urgency }
    }
}

impl Drop for PendingTurn {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut queue = self.turns.queue();
        // Turns are granted under the same lock: the turn has come already, or will not come any more.
        self.granted.close();
        match self.granted.try_recv() {
            Ok(()) => queue.release(&self.reader, self.urgency),
            Err(_) => queue.withdraw(&self.reader, self.urgency, self.ticket),
        }
    }
}

impl ReadTurns {
    /// Creates a scheduler for the cores of this machine.
    pub(super) fn new(metrics: ChatMetrics) -> Arc<Self> {
        Self::with(TurnLimits::of_cores(available_parallelism().map_or(1, usize::from)), metrics)
    }

    fn with(limits: TurnLimits, metrics: ChatMetrics) -> Arc<Self> {
        let longest_wait = limits.longest_wait;
        Arc::new(Self { queue: Mutex::new(TurnQueue::new(limits)), longest_wait, metrics })
    }

    fn queue(&self) -> MutexGuard<'_, TurnQueue> {
        // Nothing under the lock can panic halfway.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn at the store.
    ///
    /// # Errors
    /// [`RefusalCode::LimitExceeded`] if too many reads of this reader wait, [`RefusalCode::Overloaded`] if too many of all readers
    /// do, or if no turn came in time.
    pub(super) async fn turn(
        self: &Arc<Self>,
        reader: &Arc<str>,
        urgency: ReadUrgency,
    ) -> Result<ReadTurn, RequestRefusal> {
        let mut pending =
            self.enter(reader, urgency).inspect_err(|refusal| self.metrics.read_refused(refusal.code.label()))?;
        // Granted at once: such a read has not waited, and is not counted as one that does.
        if pending.granted.try_recv().is_ok() {
            return Ok(pending.into_turn());
        }
        let began = Instant::now();
        let _waiting = self.metrics.read_waiting();
        let granted = timeout(self.longest_wait, &mut pending.granted).await;
        self.metrics.read_waited(began.elapsed());
        match granted {
            Ok(Ok(())) => Ok(pending.into_turn()),
            Ok(Err(_)) | Err(_) => {
                self.metrics.read_refused(RefusalCode::Overloaded.label());
                let message = "this server is busy with other reads; try again later, or use another one";
                Err(RequestRefusal::new(RefusalCode::Overloaded, message).after(RETRY))
            }
        }
    }

    fn enter(self: &Arc<Self>, reader: &Arc<str>, urgency: ReadUrgency) -> Result<PendingTurn, RequestRefusal> {
        let (grant, granted) = oneshot::channel();
        let ticket = self.queue().enter(reader, urgency, grant)?;
        let turns = self.clone();
        let reader = reader.clone();
        Ok(PendingTurn { turns, reader, urgency, ticket, granted, taken: false })
    }

    /// Returns the number of asked reads that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue().waiting
    }
}

impl TurnQueue {
    fn new(limits: TurnLimits) -> Self {
        Self {
            limits,
            running: [0; CLASSES],
            readers: HashMap::new(),
            rounds: Default::default(),
            waiting: 0,
            asked_in_row: 0,
            next_ticket: 0,
        }
    }

    fn enter(
        &mut self,
        reader: &Arc<str>,
        urgency: ReadUrgency,
        grant: oneshot::Sender<()>,
    ) -> Result<u64, RequestRefusal> {
        // Woken reads are never refused: they are as many as subscriptions, which the listeners bound.
        if urgency == ReadUrgency::Asked {
            self.check(reader)?;
            self.waiting += 1;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let share = self.readers.entry(reader.clone()).or_default();
        if let Some(waiting) = share.waiting.get_mut(urgency.place()) {
            waiting.push_back(WaitingRead { ticket, grant });
        }
        self.line_up(reader);
        self.grant();
        Ok(ticket)
    }

    fn check(&self, reader: &Arc<str>) -> Result<(), RequestRefusal> {
        let of_reader = self.readers.get(reader).and_then(|share| share.waiting.first()).map_or(0, VecDeque::len);
        if of_reader >= self.limits.waiting_of(reader) {
            let message = "too many of your reads are waiting; wait for their responses before you send more";
            return Err(RequestRefusal::new(RefusalCode::LimitExceeded, message).after(RETRY));
        }
        if self.waiting >= self.limits.waiting {
            let message = "too many reads are waiting on this server; try again later, or use another one";
            return Err(RequestRefusal::new(RefusalCode::Overloaded, message).after(RETRY));
        }
        Ok(())
    }

    /// Puts a reader that waits, and may run, at the end of the round.
    fn line_up(&mut self, reader: &Arc<str>) {
        let Some(share) = self.readers.get_mut(reader) else { return };
        if share.running >= self.limits.running_of(reader) {
            return;
        }
        let classes = share.waiting.iter().zip(&mut share.in_round).zip(&mut self.rounds);
        for ((waiting, in_round), round) in classes {
            if !waiting.is_empty() && !*in_round {
                *in_round = true;
                round.push_back(reader.clone());
            }
        }
    }

    /// Returns the class that has the next turn, or `None` if no place is free or nobody waits for one.
    fn next_class(&self) -> Option<ReadUrgency> {
        let [asked, woken] = &self.rounds;
        let [running_asked, running_woken] = self.running;
        if running_asked + running_woken >= self.limits.slots {
            return None;
        }
        let woken = !woken.is_empty() && running_woken < self.limits.woken;
        match (asked.is_empty(), woken) {
            (false, true) if self.asked_in_row >= ASKED_BETWEEN_WOKEN => Some(ReadUrgency::Woken),
            (false, _) => Some(ReadUrgency::Asked),
            (true, true) => Some(ReadUrgency::Woken),
            (true, false) => None,
        }
    }

    fn grant(&mut self) {
        while let Some(urgency) = self.next_class() {
            let place = urgency.place();
            let Some(reader) = self.rounds.get_mut(place).and_then(VecDeque::pop_front) else { return };
            let Some(share) = self.readers.get_mut(&reader) else { continue };
            share.in_round.get_mut(place).into_iter().for_each(|in_round| *in_round = false);
            if share.running >= self.limits.running_of(&reader) {
                // The reader lines up again when one of its reads ends.
                continue;
            }
            let Some(next) = share.waiting.get_mut(place).and_then(VecDeque::pop_front) else {
                // The callers of this reader have gone.
                self.forget_idle(&reader);
                continue;
            };
            self.asked_in_row = if urgency == ReadUrgency::Asked { self.asked_in_row + 1 } else { 0 };
            self.waiting -= usize::from(urgency == ReadUrgency::Asked);
            // A caller that has gone takes no place; the reader lines up for its next read all the same.
            if next.grant.send(()).is_ok() {
                share.running += 1;
                self.running.get_mut(place).into_iter().for_each(|running| *running += 1);
            }
            self.line_up(&reader);
        }
    }

    fn release(&mut self, reader: &Arc<str>, urgency: ReadUrgency) {
        self.running.get_mut(urgency.place()).into_iter().for_each(|running| *running = running.saturating_sub(1));
        if let Some(share) = self.readers.get_mut(reader) {
            share.running = share.running.saturating_sub(1);
        }
        self.line_up(reader);
        self.forget_idle(reader);
        self.grant();
    }

    fn withdraw(&mut self, reader: &Arc<str>, urgency: ReadUrgency, ticket: u64) {
        let waiting = self.readers.get_mut(reader).and_then(|share| share.waiting.get_mut(urgency.place()));
        let Some(waiting) = waiting else { return };
        let before = waiting.len();
        waiting.retain(|read| read.ticket != ticket);
        if waiting.len() < before && urgency == ReadUrgency::Asked {
            self.waiting -= 1;
        }
        self.forget_idle(reader);
    }

    /// Forgets a reader that is idle. A reader that is still in a round is forgotten when its turn comes, so that a
    /// caller that comes and goes adds nothing to the round.
    fn forget_idle(&mut self, reader: &Arc<str>) {
        if self.readers.get(reader).is_some_and(ReaderShare::is_idle) {
            self.readers.remove(reader);
        }
    }
}

#[cfg(test)]
mod tests;
