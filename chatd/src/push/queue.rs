//! Notifications on their way to the gateways: a queue for each pusher, and for each gateway how it does. Decides what is
//! sent next and what the log must know; sends nothing itself.
//!
//! A pusher of which a notification failed waits longer and longer; its gateway only a little, and is asked for the other
//! pushers first: it may be the pusher that fails, and anybody can set one that does.

use quorate_core::id::{Position, RoomNumber};
use quorate_core::query::WaitingItem;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of notifications that wait for one pusher. A phone that was off so long shows the newest ones, and
/// syncs.
pub(super) const MOST_WAITING: usize = 100;
/// Maximum number of requests at a time: to all gateways, to one of them, and for the pushers of one user, who could have
/// as many slow gateways as pushers.
const MOST_IN_FLIGHT: usize = 256;
const MOST_OF_GATEWAY: usize = 64;
const MOST_OF_USER: usize = 8;
/// Time after which a notification that failed is sent again: the first time, and at most. It doubles with each failure.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(600);
/// Time for which the log is told nothing of what comes for a pusher for which too many wait: each new notification would
/// be written to the log, and once more when a newer one takes its place. What it is not told, at most that of one such
/// time, is lost with the leader, for a pusher that loses notifications in any case.
const RENEW_EVERY: Duration = LONGEST_BACKOFF;
/// Maximum pause between two requests to a gateway that fails: the time by which pushers that fail can hold up others.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Name of a pusher.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PusherName {
    pub(super) localpart: Arc<str>,
    pub(super) app_id: Arc<str>,
    pub(super) pushkey: Arc<str>,
}

impl PusherName {
    pub(super) fn new(localpart: &str, app_id: &str, pushkey: &str) -> Self {
        Self { localpart: localpart.into(), app_id: app_id.into(), pushkey: pushkey.into() }
    }
}

/// Room of what is no event: room numbers begin at 1.
const NO_ROOM: RoomNumber = RoomNumber(0);

/// Notification of an event, or of how much is still unread after the user has read something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueuedPush {
    pub(super) at: Position,
    pub(super) room: RoomNumber,
    known: LogKnowledge,
}

/// Knowledge of the log about a notification that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogKnowledge {
    Nothing,
    /// The log is told later, if the notification still waits then.
    Later,
    /// The log was told, and did not answer.
    Perhaps,
    /// The log knows that the notification waits.
    Waits,
}

impl QueuedPush {
    pub(super) fn new(at: Position, room: RoomNumber) -> Self {
        Self { at, room, known: LogKnowledge::Nothing }
    }

    /// Returns a notification of how much is unread, which is not recorded: the next one makes up for it.
    pub(super) fn of_badge(at: Position) -> Self {
        Self::new(at, NO_ROOM)
    }

    pub(super) fn is_badge(&self) -> bool {
        self.room == NO_ROOM
    }

    /// Returns `true` if the log may have a row for it.
    fn may_be_known(&self) -> bool {
        matches!(self.known, LogKnowledge::Perhaps | LogKnowledge::Waits)
    }
}

/// Outcome of a notification that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PushResult {
    Sent,
    /// Nobody wants it any more, so that it was not sent.
    Moot,
    /// The notification waited for too long.
    Expired,
    /// The gateway does not know the pusher, which was set at this time, any more.
    Rejected(u64),
    /// The gateway did not take it: it is sent again.
    Failed,
    /// The state could not be read, which is no fault of the gateway's: it is sent again.
    Unprepared,
}

/// Record that the log is to have: see `AdvancePush`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PushRecord {
    pub(super) waiting: Vec<(PusherName, QueuedPush)>,
    pub(super) settled: Vec<(PusherName, QueuedPush)>,
    pub(super) rejected: Vec<(PusherName, u64)>,
}

struct PusherQueue {
    gateway: Arc<str>,
    /// Notifications in order of positions; the first one is in flight if any is.
    items: VecDeque<QueuedPush>,
    in_flight: bool,
    /// Number of failures since the last success.
    failures: u32,
    /// Time before which nothing is sent, after a failure.
    retry_at: Option<Instant>,
    /// Time before which the log is not told what comes and goes while too many wait.
    renew_at: Option<Instant>,
    /// Notifications that were given up and that the log still knows: at most as many as may wait.
    outdated: Vec<QueuedPush>,
}

impl PusherQueue {
    fn new(gateway: Arc<str>) -> Self {
        Self {
            gateway,
            items: VecDeque::new(),
            in_flight: false,
            failures: 0,
            retry_at: None,
            renew_at: None,
            outdated: Vec::new(),
        }
    }

    /// Returns the notification of this position, if it waits.
    fn item(&mut self, at: Position) -> Option<&mut QueuedPush> {
        let place = self.items.binary_search_by_key(&at, |item| item.at).ok()?;
        self.items.get_mut(place)
    }

    /// Drops the notification of how much is unread that waits, for another one that tells it as well.
    fn drop_badge(&mut self) {
        let waiting = usize::from(self.in_flight);
        if let Some(place) = self.items.iter().skip(waiting).position(QueuedPush::is_badge) {
            self.items.remove(waiting + place);
        }
    }

    /// Gives up the oldest notification that is not in flight. Returns `false` if the log is not to be told by now.
    fn give_up_oldest(&mut self, now: Instant) -> bool {
        let oldest = self.items.remove(usize::from(self.in_flight));
        self.outdated.extend(oldest.filter(QueuedPush::may_be_known));
        if self.renew_at.is_some_and(|at| at > now) {
            return false;
        }
        self.renew_at = Some(now + RENEW_EVERY);
        true
    }

    /// Moves what the log was not told while too many were waiting to what it is to be told.
    fn release(
        &mut self,
        name: &PusherName,
        fresh: &mut VecDeque<(PusherName, Position)>,
        settled: &mut Vec<(PusherName, QueuedPush)>,
    ) {
        settled.extend(self.outdated.drain(..).map(|push| (name.clone(), push)));
        for item in self.items.iter_mut().filter(|item| item.known == LogKnowledge::Later) {
            item.known = LogKnowledge::Nothing;
            fresh.push_back((name.clone(), item.at));
        }
    }

    fn delay(&mut self, now: Instant) -> Instant {
        self.failures = self.failures.saturating_add(1);
        let at = now + backoff(self.failures, LONGEST_BACKOFF);
        self.retry_at = Some(at);
        at
    }

    fn forgive(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }
}

#[derive(Default)]
struct GatewayState {
    failures: u32,
    retry_at: Option<Instant>,
    in_flight: usize,
    /// Pushers of which nothing is in flight and something waits, whose last notification did not fail.
    ready: VecDeque<PusherName>,
    /// Such pushers whose last notification failed, with the times at which they are tried again.
    again: BTreeSet<(Instant, PusherName)>,
}

impl GatewayState {
    fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.ready.is_empty() && self.again.is_empty()
    }

    /// Returns the time at which something may be sent; `None` if nothing waits.
    fn due(&self, now: Instant) -> Option<Instant> {
        let waiting = if self.ready.is_empty() { self.again.first().map(|(at, _)| *at) } else { Some(now) };
        waiting.map(|at| self.retry_at.map_or(at, |retry_at| at.max(retry_at)))
    }

    fn note(&mut self, result: PushResult, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match result {
            // Of requests that were under way together, one failure counts.
            PushResult::Failed if self.retry_at.is_none_or(|at| at <= now) => {
                self.failures = self.failures.saturating_add(1);
                self.retry_at = Some(now + backoff(self.failures, LONGEST_PAUSE));
            }
            PushResult::Sent | PushResult::Rejected(_) => {
                self.failures = 0;
                self.retry_at = None;
            }
            PushResult::Failed | PushResult::Unprepared | PushResult::Moot | PushResult::Expired => {}
        }
    }
}

/// All queues; see the [module](self).
#[derive(Default)]
pub(super) struct PushQueues {
    queues: BTreeMap<PusherName, PusherQueue>,
    gateways: HashMap<Arc<str>, GatewayState>,
    in_flight: usize,
    /// Number of requests under way for each user who has any.
    by_user: HashMap<Arc<str>, usize>,
    /// Notifications that the log may have to know of.
    fresh: VecDeque<(PusherName, Position)>,
    settled: Vec<(PusherName, QueuedPush)>,
    rejected: Vec<(PusherName, u64)>,
    /// Number of notifications that were given up because too many were waiting.
    dropped: u64,
}

impl PushQueues {
    /// Adds a notification that the log says waits.
    pub(super) fn restore(&mut self, item: &WaitingItem, gateway: &Arc<str>, now: Instant) {
        let name = PusherName::new(&item.localpart, &item.app_id, &item.pushkey);
        self.insert(name, gateway, QueuedPush { at: item.at, room: item.room, known: LogKnowledge::Waits }, now);
    }

    /// Adds a notification.
    pub(super) fn add(&mut self, name: PusherName, gateway: &Arc<str>, push: QueuedPush, now: Instant) {
        if self.insert(name.clone(), gateway, push, now) && !push.is_badge() {
            self.fresh.push_back((name, push.at));
        }
    }

    /// Returns `false` if the log need not be told: the notification is in the queue already, or too many wait.
    fn insert(&mut self, name: PusherName, gateway: &Arc<str>, push: QueuedPush, now: Instant) -> bool {
        let queue = self.queues.entry(name.clone()).or_insert_with(|| PusherQueue::new(gateway.clone()));
        // Whatever waits tells how much is unread when it is sent.
        let waits = queue.items.len() > usize::from(queue.in_flight);
        if push.is_badge() && waits {
            return false;
        }
        if queue.item(push.at).is_some() {
            return false;
        }
        let was_empty = queue.items.is_empty();
        if !push.is_badge() {
            queue.drop_badge();
        }
        let place = queue.items.partition_point(|item| item.at < push.at);
        queue.items.insert(place, push);
        if queue.items.len() > MOST_WAITING {
            self.dropped += 1;
            if queue.give_up_oldest(now) {
                queue.release(&name, &mut self.fresh, &mut self.settled);
            } else {
                if let Some(item) = queue.item(push.at).filter(|item| item.known == LogKnowledge::Nothing) {
                    item.known = LogKnowledge::Later;
                }
                return false;
            }
        }
        if was_empty {
            let gateway = queue.gateway.clone();
            self.gateways.entry(gateway).or_default().ready.push_back(name);
        }
        true
    }

    /// Returns the next notification to send, which is in flight from now on.
    pub(super) fn next(&mut self, now: Instant) -> Option<(PusherName, QueuedPush)> {
        if self.in_flight >= MOST_IN_FLIGHT {
            return None;
        }
        for (address, gateway) in &mut self.gateways {
            // One that fails is asked for one notification at a time, until it takes it.
            let most = if gateway.failures > 0 { 1 } else { MOST_OF_GATEWAY };
            if gateway.in_flight >= most || gateway.retry_at.is_some_and(|at| at > now) {
                continue;
            }
            let Some(found) = next_of_gateway(&mut self.queues, &self.by_user, address, gateway, now) else { continue };
            gateway.in_flight += 1;
            self.in_flight += 1;
            *self.by_user.entry(found.0.localpart.clone()).or_default() += 1;
            return Some(found);
        }
        None
    }

    /// Returns the time at which something is to be sent that may not be sent yet; `None` if nothing waits for a time.
    pub(super) fn retry_at(&self, now: Instant) -> Option<Instant> {
        self.gateways.values().filter_map(|gateway| gateway.due(now)).filter(|at| *at > now).min()
    }

    /// Notes what became of a notification that [`PushQueues::next`] returned.
    pub(super) fn finished(
        &mut self,
        name: &PusherName,
        push: QueuedPush,
        gateway: &Arc<str>,
        result: PushResult,
        now: Instant,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(requests) = self.by_user.get_mut(&name.localpart) {
            *requests = requests.saturating_sub(1);
            if *requests == 0 {
                self.by_user.remove(&name.localpart);
            }
        }
        self.gateways.entry(gateway.clone()).or_default().note(result, now);
        let Some(queue) = self.queues.get_mut(name) else { return };
        queue.in_flight = false;
        let mut again = None;
        match result {
            // With another gateway, the pusher begins anew.
            PushResult::Failed | PushResult::Unprepared if queue.gateway == *gateway => again = Some(queue.delay(now)),
            PushResult::Failed | PushResult::Unprepared => {}
            PushResult::Rejected(set_ms) => {
                self.rejected.push((name.clone(), set_ms));
                queue.items.clear();
            }
            PushResult::Sent | PushResult::Moot | PushResult::Expired => {
                if result == PushResult::Sent {
                    queue.forgive();
                }
                let done = queue.items.front().copied().filter(|first| first.at == push.at);
                if let Some(done) = done {
                    queue.items.pop_front();
                    if done.may_be_known() {
                        self.settled.push((name.clone(), done));
                    }
                }
                // There is space again: what comes next is told at once, and so is what was not told.
                queue.renew_at = None;
                queue.release(name, &mut self.fresh, &mut self.settled);
            }
        }
        if queue.items.is_empty() {
            self.queues.remove(name);
            return;
        }
        let state = self.gateways.entry(queue.gateway.clone()).or_default();
        match again {
            Some(at) => {
                state.again.insert((at, name.clone()));
            }
            None => state.ready.push_back(name.clone()),
        }
    }

    /// Takes what the log is to know, at most `most` notifications.
    pub(super) fn take_record(&mut self, most: usize) -> PushRecord {
        let mut record = PushRecord::default();
        let settled = self.settled.len().min(most);
        record.settled = self.settled.drain(..settled).collect();
        let rejected = self.rejected.len().min(most - settled);
        record.rejected = self.rejected.drain(..rejected).collect();
        while record.waiting.len() + settled + rejected < most {
            let Some((name, at)) = self.fresh.pop_front() else { break };
            // What was sent within moments is never recorded.
            if let Some(push) = self.item(&name, at).copied().filter(|push| push.known != LogKnowledge::Waits) {
                record.waiting.push((name, push));
            }
        }
        record
    }

    /// Returns `true` if there is nothing that the log is to know.
    pub(super) fn is_recorded(&self) -> bool {
        self.fresh.is_empty() && self.settled.is_empty() && self.rejected.is_empty()
    }

    /// Notes that the log knows what was taken.
    pub(super) fn recorded(&mut self, record: PushRecord) {
        for (name, push) in record.waiting {
            match self.item(&name, push.at) {
                Some(item) => item.known = LogKnowledge::Waits,
                // Sent while it was being recorded, for the first time.
                None if push.known == LogKnowledge::Nothing => self.settled.push((name, push)),
                None => {}
            }
        }
    }

    /// Takes back what the log was told and did not confirm: it may know it nevertheless.
    pub(super) fn not_recorded(&mut self, record: PushRecord) {
        for (name, push) in record.waiting.into_iter().rev() {
            match self.item(&name, push.at) {
                Some(item) => {
                    item.known = LogKnowledge::Perhaps;
                    self.fresh.push_front((name, push.at));
                }
                None => self.settled.push((name, push)),
            }
        }
        self.settled.extend(record.settled);
        self.rejected.extend(record.rejected);
    }

    fn item(&mut self, name: &PusherName, at: Position) -> Option<&mut QueuedPush> {
        self.queues.get_mut(name)?.item(at)
    }

    /// Forgets the queues of pushers that do not exist any more; `gateway_of` tells the gateways of the others.
    pub(super) fn retain(&mut self, gateway_of: impl Fn(&PusherName) -> Option<Arc<str>>) {
        let mut moved = Vec::new();
        self.queues.retain(|name, queue| {
            let Some(gateway) = gateway_of(name) else { return false };
            if gateway != queue.gateway {
                queue.gateway = gateway.clone();
                queue.forgive();
                if !queue.in_flight {
                    moved.push((gateway, name.clone()));
                }
            }
            true
        });
        for (gateway, name) in moved {
            self.gateways.entry(gateway).or_default().ready.push_back(name);
        }
        // One that fails has something waiting.
        self.gateways.retain(|_, gateway| !gateway.is_idle());
    }

    /// Returns how many notifications wait that the log knows of. Goes through all of them.
    pub(super) fn count_recorded(&self) -> usize {
        let recorded =
            |queue: &PusherQueue| queue.items.iter().filter(|item| item.known == LogKnowledge::Waits).count();
        self.queues.values().map(recorded).sum()
    }

    /// Returns how many gateways fail.
    pub(super) fn count_failing(&self) -> usize {
        self.gateways.values().filter(|gateway| gateway.failures > 0).count()
    }

    /// Returns how many notifications were given up since the last call because too many were waiting.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Returns the gateway of a pusher that has a queue.
    pub(super) fn gateway_of(&self, name: &PusherName) -> Option<Arc<str>> {
        self.queues.get(name).map(|queue| queue.gateway.clone())
    }
}

/// Returns the next notification for a gateway, of a user who has not too many requests under way: first of the pushers
/// that do not fail.
fn next_of_gateway(
    queues: &mut BTreeMap<PusherName, PusherQueue>,
    by_user: &HashMap<Arc<str>, usize>,
    address: &Arc<str>,
    gateway: &mut GatewayState,
    now: Instant,
) -> Option<(PusherName, QueuedPush)> {
    let is_busy = |name: &PusherName| by_user.get(&name.localpart).is_some_and(|requests| *requests >= MOST_OF_USER);
    for _ in 0..gateway.ready.len() {
        let name = gateway.ready.pop_front()?;
        if is_busy(&name) {
            gateway.ready.push_back(name);
        } else if let Some(push) = begin_push(queues, &name, address, now) {
            return Some((name, push));
        }
    }
    loop {
        let due = gateway.again.iter().take_while(|(at, _)| *at <= now).find(|(_, name)| !is_busy(name)).cloned()?;
        gateway.again.remove(&due);
        if let Some(push) = begin_push(queues, &due.1, address, now) {
            return Some((due.1, push));
        }
    }
}

/// Returns the first notification of a pusher, which is in flight from now on; `None` if there is none to be sent: the
/// pusher may have been removed, or have another gateway since it was put in the row.
fn begin_push(
    queues: &mut BTreeMap<PusherName, PusherQueue>,
    name: &PusherName,
    address: &Arc<str>,
    now: Instant,
) -> Option<QueuedPush> {
    let queue = queues.get_mut(name).filter(|queue| queue.gateway == *address && !queue.in_flight)?;
    if queue.retry_at.is_some_and(|at| at > now) {
        return None;
    }
    let push = queue.items.front().copied()?;
    queue.in_flight = true;
    Some(push)
}

fn backoff(failures: u32, longest: Duration) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_BACKOFF.saturating_mul(doubled).min(longest)
}

#[cfg(test)]
mod tests;
