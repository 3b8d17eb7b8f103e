//! Sender of notifications to push gateways: follows the log on the pod that leads (docs/adr/0029).
//!
//! Look for new events and whom they notify ([`examine`](super::examine)) → queue ([`queue`](super::queue)) → send to the
//! gateways ([`client`](super::client)) → tell the log what was sent and what waits. A new leader goes on where the log
//! says that the last one was: what that one sent within its last moment is sent again, and nothing is lost.

use super::client::GatewayClient;
use super::counts::UnreadCounter;
use super::examine::{ExaminedPart, KnownPushers, LastLook, examine_events};
use super::payload::{Preparation, PreparedPush, prepare_push};
use super::queue::{MOST_WAITING, PushQueues, PushRecord, PushResult, PusherName, QueuedPush};
use crate::feed::ChangeFeed;
use crate::metrics::ChatMetrics;
use crate::raft::leadership::Leadership;
use crate::raft::propose::Proposer;
use crate::raft::read_index::{ReadFreshness, ReadGate};
use crate::service::RowSource;
use quorate_core::apply::MAX_PUSH_ITEMS;
use quorate_core::id::Position;
use quorate_core::proto::log::{self, AdvancePush, Command, Envelope, PushItem, RejectedPusher, command, outcome};
use quorate_core::query::{QueryError, StateView, WaitingItem};
use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// Pause between two looks for new events: nobody notices it, and a busy cluster is looked at twenty times a second. While
/// nobody has a pusher, a look only notices the first one, which gets what comes after it in any case.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
const LOOK_PAUSE_WITHOUT: Duration = Duration::from_secs(1);
/// Interval at which the log is told what waits and what does not any more: most notifications are sent within it, and
/// never enter the log.
const RECORD_EVERY: Duration = Duration::from_secs(1);
/// Time, and number of events, after which the log is told how far events were examined although nobody was notified.
const PROGRESS_EVERY: Duration = Duration::from_secs(30);
const PROGRESS_EVENTS: usize = 2_000;
/// Pause after a failed look: the state cannot be read, which others report.
const FAILED_PAUSE: Duration = Duration::from_secs(5);
/// Pause after a question whether this pod has applied all that the last leader committed.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(200);
/// Share of the time that looks may take in which all pushers are read: one of so many. Their users decide how often they
/// change.
const RELOAD_SHARE: u32 = 4;

/// Outcomes of notifications in the metrics.
const SENT: &str = "sent";
const FAILED: &str = "failed";
const MOOT: &str = "moot";
const REJECTED: &str = "rejected";
const DROPPED: &str = "dropped";

/// Components that a [`PushSender`] is made of.
pub(crate) struct PushSenderParts {
    pub(crate) rows: Arc<dyn RowSource>,
    pub(crate) proposer: Proposer,
    pub(crate) reads: ReadGate,
    pub(crate) leadership: Leadership,
    pub(crate) feed: ChangeFeed,
    pub(crate) metrics: ChatMetrics,
    pub(crate) tls: TlsConnector,
    /// `true` if gateways may have addresses that are not public.
    pub(crate) allow_private: bool,
}

/// Sender of notifications; see the [module](self).
pub(crate) struct PushSender {
    parts: PushSenderParts,
    client: GatewayClient,
    counter: Arc<UnreadCounter>,
}

/// Numbers of rooms with unread notifications that gateways were told last. Clones share them.
#[derive(Clone, Default)]
struct ToldBadges(Arc<Mutex<HashMap<PusherName, usize>>>);

impl ToldBadges {
    fn get(&self, name: &PusherName) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    fn put(&self, name: PusherName, unread: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, unread);
    }

    /// Forgets the pushers that do not exist any more.
    fn retain(&self, exists: impl Fn(&PusherName) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| exists(name));
    }
}

/// State of a leader while it leads.
struct LeaderRun {
    pushers: Arc<KnownPushers>,
    restored: Option<WaitingItem>,
    until: Option<Position>,
    queues: PushQueues,
    badges: ToldBadges,
    requests: JoinSet<FinishedPush>,
    look_at: Instant,
    record_at: Instant,
    progress_at: Instant,
    /// Number of events examined since the log was told.
    untold: usize,
    /// `true` if a notification was found since the log was told.
    notified: bool,
    /// Number of notifications that wait in the log.
    recorded: usize,
}

impl LeaderRun {
    fn new(now: Instant) -> Self {
        Self {
            pushers: Arc::default(),
            restored: None,
            until: None,
            queues: PushQueues::default(),
            badges: ToldBadges::default(),
            requests: JoinSet::new(),
            look_at: now,
            record_at: now + RECORD_EVERY,
            progress_at: now + PROGRESS_EVERY,
            untold: 0,
            notified: false,
            recorded: 0,
        }
    }

    /// Returns `true` if there may be something new in what is applied up to `reached`, and it is time to look.
    fn wants_look(&self, reached: Position, now: Instant) -> bool {
        now >= self.look_at && self.until.is_none_or(|until| reached > until)
    }

    /// Returns `true` if the log is to be told something by now.
    fn wants_record(&self, now: Instant) -> bool {
        if now < self.record_at {
            return false;
        }
        let progress = self.untold >= PROGRESS_EVENTS || (self.untold > 0 && now >= self.progress_at);
        !self.queues.is_recorded() || self.notified || progress
    }

    /// Returns the time at which something is to be done although nothing happens.
    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let tell = (!self.queues.is_recorded() || self.notified).then_some(self.record_at);
        let progress = (self.untold > 0).then_some(self.progress_at.max(self.record_at));
        [tell, progress, self.queues.retry_at(now)].into_iter().flatten().min()
    }
}

/// Notification that was sent, or not.
struct FinishedPush {
    name: PusherName,
    push: QueuedPush,
    gateway: Arc<str>,
    result: PushResult,
}

impl PushSender {
    pub(crate) fn new(parts: PushSenderParts) -> Self {
        let client = GatewayClient::new(parts.tls.clone(), parts.allow_private);
        Self { parts, client, counter: Arc::default() }
    }

    /// Sends notifications whenever this pod leads, until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(Box::pin(self.follow())).await;
    }

    async fn follow(self) {
        let mut leadership = self.parts.leadership.clone();
        loop {
            if leadership.is_leader() {
                Box::pin(self.lead(&mut leadership)).await;
                self.parts.metrics.push_waiting(0, 0);
            } else {
                leadership.until_changed().await;
            }
        }
    }

    async fn lead(&self, leadership: &mut Leadership) {
        // What the last leader told the log would be sent again as long as it is not applied here.
        while leadership.is_leader() && !self.has_caught_up().await {
            sleep(CATCH_UP_PAUSE).await;
        }
        let mut applied = self.parts.feed.applied();
        let mut run = LeaderRun::new(Instant::now());
        while leadership.is_leader() {
            let reached = *applied.borrow();
            if run.wants_look(reached, Instant::now()) {
                self.look(&mut run).await;
            }
            self.send_some(&mut run);
            if run.wants_record(Instant::now()) {
                self.tell_log(&mut run).await;
            }
            self.parts.metrics.push_waiting(run.recorded, run.queues.count_failing());
            self.parts.metrics.push_ended(DROPPED, run.queues.take_dropped());
            let deadline = run.next_deadline(Instant::now());
            let look_at = run.look_at;
            let until = run.until;
            tokio::select! {
                () = new_events(&mut applied, until, look_at) => {}
                Some(finished) = run.requests.join_next(), if !run.requests.is_empty() => {
                    if let Ok(finished) = finished {
                        self.note_finished(&mut run, finished);
                    }
                }
                () = until_deadline(deadline) => {}
                () = leadership.until_changed() => {}
            }
        }
    }

    async fn has_caught_up(&self) -> bool {
        matches!(self.parts.reads.linearizable().await, Ok(ReadFreshness::Linearizable))
    }

    /// Looks for new events once.
    async fn look(&self, run: &mut LeaderRun) {
        let last = LastLook { pushers: run.pushers.clone(), restored: run.restored.clone(), until: run.until };
        let counter = self.counter.clone();
        let start = Instant::now();
        let looked = self.ask(move |view| examine_events(view, &counter, last)).await;
        let now = Instant::now();
        match looked {
            Ok(part) => Self::take_part(run, part, now, now - start),
            // Before the cluster's first command there is nothing to send.
            Err(QueryError::NotBootstrapped) => run.look_at = now + FAILED_PAUSE,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot look for notifications");
                run.look_at = now + FAILED_PAUSE;
            }
        }
    }

    fn take_part(run: &mut LeaderRun, part: ExaminedPart, now: Instant, took: Duration) {
        let mut pause = LOOK_PAUSE;
        if let Some(pushers) = part.pushers {
            pause = pause.max(took.saturating_mul(RELOAD_SHARE));
            run.queues.retain(|name| pushers.gateway(name));
            run.badges.retain(|name| pushers.gateway(name).is_some());
            run.pushers = pushers;
        }
        for item in &part.waiting {
            let name = PusherName::new(&item.localpart, &item.app_id, &item.pushkey);
            if let Some(gateway) = run.pushers.gateway(&name) {
                run.queues.restore(item, &gateway, now);
            }
        }
        if let Some(last) = part.waiting.last() {
            run.restored = Some(last.clone());
            run.recorded = run.queues.count_recorded();
        }
        run.notified |= part.found.iter().any(|found| !found.push.is_badge());
        for found in part.found {
            run.queues.add(found.name, &found.gateway, found.push, now);
        }
        run.untold += part.events;
        run.until = part.until;
        if run.pushers.is_empty() {
            pause = pause.max(LOOK_PAUSE_WITHOUT);
        }
        run.look_at = if part.more { now } else { now + pause };
    }

    /// Answers a question about the state as this pod has applied it, on a thread that may block.
    async fn ask<T, F>(&self, question: F) -> Result<T, QueryError>
    where
        T: Send + 'static,
        F: FnOnce(&StateView<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        ask_rows(self.parts.rows.clone(), question).await
    }

    /// Begins as many requests as there may be.
    fn send_some(&self, run: &mut LeaderRun) {
        while let Some((name, push)) = run.queues.next(Instant::now()) {
            let Some(gateway) = run.queues.gateway_of(&name) else { continue };
            let rows = self.parts.rows.clone();
            let counter = self.counter.clone();
            let client = self.client.clone();
            let metrics = self.parts.metrics.clone();
            let badges = run.badges.clone();
            run.requests.spawn(async move {
                let attempt = PushAttempt { rows, counter, client, metrics, badges };
                let result = attempt.send(name.clone(), push).await;
                FinishedPush { name, push, gateway, result }
            });
        }
    }

    fn note_finished(&self, run: &mut LeaderRun, finished: FinishedPush) {
        let FinishedPush { name, push, gateway, result } = finished;
        let outcome = match result {
            PushResult::Sent => SENT,
            PushResult::Moot => MOOT,
            PushResult::Expired => DROPPED,
            PushResult::Rejected(_) => REJECTED,
            PushResult::Failed | PushResult::Unprepared => FAILED,
        };
        self.parts.metrics.push_ended(outcome, 1);
        run.queues.finished(&name, push, &gateway, result, Instant::now());
    }

    /// Tells the log what waits and what does not any more. Nothing before `until` is unknown to it then.
    async fn tell_log(&self, run: &mut LeaderRun) {
        let record = run.queues.take_record(MAX_PUSH_ITEMS);
        // What could not be named this time is examined again by a new leader.
        let examined = if run.queues.is_recorded() { run.until } else { None };
        let told = self.propose(advance_command(&record, examined)).await;
        let now = Instant::now();
        match told {
            Ok(()) => {
                run.queues.recorded(record);
                if examined.is_some() {
                    run.untold = 0;
                    run.notified = false;
                    run.progress_at = now + PROGRESS_EVERY;
                }
                run.record_at = if examined.is_some() { now + RECORD_EVERY } else { now };
            }
            Err(error) => {
                tracing::warn!(%error, "could not record which notifications were sent; will retry");
                run.queues.not_recorded(record);
                run.record_at = now + RECORD_EVERY;
            }
        }
        run.recorded = run.queues.count_recorded();
    }

    async fn propose(&self, advance: AdvancePush) -> Result<(), String> {
        let command = Some(Command { kind: Some(command::Kind::AdvancePush(advance)) });
        let proposed = self.parts.proposer.propose(Envelope { command, ..Envelope::default() }).await;
        match proposed.map_err(|error| error.to_string())?.kind {
            Some(outcome::Kind::Rejected(rejected)) => Err(rejected.message),
            _ => Ok(()),
        }
    }
}

/// Waits until there may be events after `until`, and it is time to look for them.
async fn new_events(applied: &mut watch::Receiver<Position>, until: Option<Position>, look_at: Instant) {
    let gone = applied.wait_for(|reached| until.is_none_or(|until| *reached > until)).await.is_err();
    if gone {
        // The feed is gone, and the process with it.
        pending::<()>().await;
    }
    sleep_until(look_at).await;
}

async fn until_deadline(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

async fn ask_rows<T, F>(rows: Arc<dyn RowSource>, question: F) -> Result<T, QueryError>
where
    T: Send + 'static,
    F: FnOnce(&StateView<'_>) -> Result<T, QueryError> + Send + 'static,
{
    let asked = spawn_blocking(move || {
        let rows = rows.rows();
        let view = StateView::open(&*rows)?;
        question(&view)
    });
    // A thread that was lost is as good as a caller who has gone: the question is asked again.
    asked.await.unwrap_or(Err(QueryError::Stopped))
}

/// Parts that sending one notification takes.
struct PushAttempt {
    rows: Arc<dyn RowSource>,
    counter: Arc<UnreadCounter>,
    client: GatewayClient,
    metrics: ChatMetrics,
    badges: ToldBadges,
}

impl PushAttempt {
    async fn send(self, name: PusherName, push: QueuedPush) -> PushResult {
        let Self { rows, counter, client, metrics, badges } = self;
        let told = badges.get(&name);
        let asked = name.clone();
        let prepared = match ask_rows(rows, move |view| prepare_push(view, &counter, &asked, push, told)).await {
            Ok(Preparation::Send(prepared)) => prepared,
            Ok(Preparation::Moot) | Err(QueryError::RoomNotFound) => return PushResult::Moot,
            Ok(Preparation::Expired) => return PushResult::Expired,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot prepare a notification");
                return PushResult::Unprepared;
            }
        };
        let PreparedPush { gateway, body, set_ms, unread } = *prepared;
        let start = Instant::now();
        let answer = client.notify(&gateway, body).await;
        metrics.push_requested(start.elapsed());
        match answer {
            Ok(rejected) if rejected.iter().any(|key| **key == *name.pushkey) => PushResult::Rejected(set_ms),
            Ok(_) => {
                badges.put(name, unread);
                PushResult::Sent
            }
            Err(error) => {
                // Gateways belong to others, and are named by users: not a fault of this pod.
                tracing::debug!(error = &error as &dyn std::error::Error, "a push gateway did not take a notification");
                PushResult::Failed
            }
        }
    }
}

/// Returns the command that tells the log of a record.
fn advance_command(record: &PushRecord, examined: Option<Position>) -> AdvancePush {
    let item = |(name, push): &(PusherName, QueuedPush)| PushItem {
        localpart: name.localpart.to_string(),
        app_id: name.app_id.to_string(),
        pushkey: name.pushkey.to_string(),
        position: Some(to_proto(push.at)),
        room: push.room.0,
    };
    let rejected = |(name, set_ms): &(PusherName, u64)| RejectedPusher {
        localpart: name.localpart.to_string(),
        app_id: name.app_id.to_string(),
        pushkey: name.pushkey.to_string(),
        set_ms: *set_ms,
    };
    AdvancePush {
        examined: examined.map(to_proto),
        waiting: record.waiting.iter().map(item).collect(),
        settled: record.settled.iter().map(item).collect(),
        rejected: record.rejected.iter().map(rejected).collect(),
        max_waiting: u32::try_from(MOST_WAITING).unwrap_or(u32::MAX),
    }
}

fn to_proto(position: Position) -> log::Position {
    let Position { incarnation, index, ordinal } = position;
    log::Position { incarnation, index, ordinal }
}
