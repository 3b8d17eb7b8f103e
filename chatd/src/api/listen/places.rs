//! The places of a listener: who holds one, and who gives way when they run out.
//!
//! A caller who has shown no session is a stranger. Strangers hold at most three quarters of the places, and each
//! address a bounded number of them; where the next one would be too many, the stranger who has been there longest
//! goes, those without a request first. So silent connections push each other out, however many they are, and never
//! anybody with a session; and a newcomer always has the time that it takes to fill all places anew to show a session.

use super::address::AddressShare;
use super::body::BodyFault;
use super::bounds::ListenerBounds;
use crate::metrics::{ClientApi, GaugeGuard};
use futures::task::AtomicWaker;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Divisor for the part of a listener's places that only callers with a session may hold.
const RESERVED: usize = 4;
/// Number of strangers that are examined for one without a request before the oldest goes in the middle of its own.
/// Bounds what a newcomer costs.
const LOOKED_AT: usize = 16;
/// Maximum number of concurrent requests of strangers besides the first of each connection: a stranger multiplexes no
/// users.
const STRANGER_REQUESTS: usize = 4_096;

/// Reason for which a connection was not let in, as a label.
pub(super) type RefusalReason = &'static str;
const LISTENER_FULL: RefusalReason = "connections";
const ADDRESS_FULL: RefusalReason = "address_connections";

/// Instruction that a connection was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ConnectionSignal {
    /// Go on: nothing was said.
    GoOn = 0,
    /// End after the requests that are open.
    Finish = 1,
    /// End now, even if requests are open.
    End = 2,
}

/// Places of one listener.
pub(crate) struct ConnectionSlots {
    api: ClientApi,
    pub(super) bounds: Arc<ListenerBounds>,
    open: AtomicUsize,
    strangers: AtomicUsize,
    stranger_requests: AtomicUsize,
    queue: Mutex<StrangerQueue>,
    all: Mutex<ConnectionRegistry>,
}

#[derive(Default)]
struct ConnectionRegistry {
    next: u64,
    held: HashMap<u64, Weak<TrackedConnection>>,
}

/// Strangers in the order in which they came.
#[derive(Default)]
pub(super) struct StrangerQueue(VecDeque<Weak<TrackedConnection>>);

/// A connection as the listener sees it.
pub(crate) struct TrackedConnection {
    places: Arc<ConnectionSlots>,
    share: Arc<AddressShare>,
    id: u64,
    stranger: AtomicBool,
    returned: AtomicBool,
    /// Number of requests without an answer, or with one that is not handed over yet.
    busy: AtomicU32,
    /// `true` if the request of a connection of HTTP/1 waits for something to happen.
    parked: AtomicBool,
    idle_since: AtomicU32,
    /// Bytes of answers that the caller has not taken; `unsent_since` is when it last took some.
    unsent: AtomicUsize,
    unsent_since: AtomicU32,
    told: AtomicU8,
    told_at: AtomicU32,
    pub(super) waker: AtomicWaker,
}

/// Hold of a connection on its place, which is free again when this is dropped.
pub(super) struct SlotGuard {
    held: Arc<TrackedConnection>,
    _counted: GaugeGuard,
}

/// Connection that a request came over, in the request's extensions.
#[derive(Clone)]
pub(crate) struct CallerConnection(pub(super) Arc<TrackedConnection>);

impl CallerConnection {
    /// Notes that a request of this connection has shown a valid session: from now on the connection is not a
    /// stranger's.
    pub(crate) fn show_session(&self) {
        self.0.show_session();
    }

    /// Notes that the request, which has been read, waits for something to happen: until its answer is there, a
    /// connection of HTTP/1 does without its buffers. Over HTTP/2 it changes nothing.
    pub(crate) fn park(&self) {
        self.0.set_parked(true);
    }

    /// Counts a body that its endpoint refused for its size; other faults of bodies are counted where they are found.
    pub(crate) fn note_large_body(&self) {
        self.0.bounds().refused(self.0.api(), BodyFault::TooLarge(0).label());
    }
}

impl ConnectionSlots {
    pub(super) fn new(api: ClientApi, bounds: Arc<ListenerBounds>) -> Arc<Self> {
        Arc::new(Self {
            api,
            bounds,
            open: AtomicUsize::new(0),
            strangers: AtomicUsize::new(0),
            stranger_requests: AtomicUsize::new(0),
            queue: Mutex::default(),
            all: Mutex::default(),
        })
    }

    pub(super) fn api(&self) -> ClientApi {
        self.api
    }

    pub(super) fn strangers(&self) -> usize {
        self.strangers.load(Relaxed)
    }

    /// Gives a newcomer a place, at the cost of an older stranger where none is free.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<SlotGuard, RefusalReason> {
        let limits = &self.bounds.limits;
        let share = self.bounds.book.share(self.bounds.counted(peer));
        // A proxy's connections are those of its callers, who are counted request by request.
        let address_full = !self.bounds.is_proxy(peer)
            && (share.connections.load(Relaxed) >= limits.connections_per_address
                || share.strangers.load(Relaxed) >= limits.strangers_per_address);
        // First within the address: whoever opens too many connections evicts its own.
        if address_full && !evict_stranger(&share.queue) {
            return Err(ADDRESS_FULL);
        }
        let for_strangers = limits.connections - limits.connections / RESERVED;
        let listener_full = self.open.load(Relaxed) >= limits.connections || self.strangers() >= for_strangers;
        if listener_full && !evict_stranger(&self.queue) {
            return Err(LISTENER_FULL);
        }
        // Checked and counted without a common lock: one task accepts for each listener, so that an address exceeds
        // its share by one at most.
        Ok(self.hold(share))
    }

    fn hold(self: &Arc<Self>, share: Arc<AddressShare>) -> SlotGuard {
        let now = self.bounds.now();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.next += 1;
        let held = Arc::new(TrackedConnection {
            places: Arc::clone(self),
            share,
            id: all.next,
            stranger: AtomicBool::new(true),
            returned: AtomicBool::new(false),
            busy: AtomicU32::new(0),
            parked: AtomicBool::new(false),
            idle_since: AtomicU32::new(now),
            unsent: AtomicUsize::new(0),
            unsent_since: AtomicU32::new(now),
            told: AtomicU8::new(ConnectionSignal::GoOn as u8),
            told_at: AtomicU32::new(now),
            waker: AtomicWaker::new(),
        });
        all.held.insert(held.id, Arc::downgrade(&held));
        drop(all);
        for (count, of_address) in [(&self.open, &held.share.connections), (&self.strangers, &held.share.strangers)] {
            count.fetch_add(1, Relaxed);
            of_address.fetch_add(1, Relaxed);
        }
        enqueue_stranger(&self.queue, &held, self.strangers());
        enqueue_stranger(&held.share.queue, &held, held.share.strangers.load(Relaxed));
        SlotGuard { held, _counted: self.bounds.metrics.connection(self.api) }
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.bounds.refused(self.api, reason);
    }

    /// Returns all connections that there are.
    pub(super) fn all(&self) -> Vec<Arc<TrackedConnection>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).held.values().filter_map(Weak::upgrade).collect()
    }

    /// Tells all connections to finish; for the end of the process.
    pub(super) fn finish_all(&self) {
        self.all().iter().for_each(|held| held.tell(ConnectionSignal::Finish));
    }
}

impl SlotGuard {
    pub(super) fn held(&self) -> &Arc<TrackedConnection> {
        &self.held
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.held.give_back();
        let mut all = self.held.places.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.held.remove(&self.held.id);
    }
}

impl TrackedConnection {
    pub(super) fn bounds(&self) -> &Arc<ListenerBounds> {
        &self.places.bounds
    }

    pub(super) fn api(&self) -> ClientApi {
        self.places.api
    }

    pub(super) fn share(&self) -> &Arc<AddressShare> {
        &self.share
    }

    pub(super) fn is_stranger(&self) -> bool {
        self.stranger.load(Relaxed)
    }

    pub(super) fn show_session(&self) {
        // Read before it is written: all requests but the first of a connection only read.
        // An evicted connection has left the counts already, with its place.
        if self.is_stranger() && self.stranger.swap(false, Relaxed) && !self.returned.load(Relaxed) {
            self.places.strangers.fetch_sub(1, Relaxed);
            self.share.strangers.fetch_sub(1, Relaxed);
        }
    }

    /// Gives the place back, once: when the connection has ended, or when its place was given to another.
    fn give_back(&self) {
        if self.returned.swap(true, Relaxed) {
            return;
        }
        self.places.open.fetch_sub(1, Relaxed);
        self.share.connections.fetch_sub(1, Relaxed);
        if self.is_stranger() {
            self.places.strangers.fetch_sub(1, Relaxed);
            self.share.strangers.fetch_sub(1, Relaxed);
        }
    }

    fn is_waiting_stranger(&self) -> bool {
        self.is_stranger() && !self.returned.load(Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Relaxed) > 0
    }

    pub(super) fn set_parked(&self, parked: bool) {
        self.parked.store(parked, Relaxed);
    }

    pub(super) fn is_parked(&self) -> bool {
        self.parked.load(Relaxed)
    }

    /// Returns `true` if a stranger has more requests open than it may.
    pub(super) fn asks_too_much(&self) -> bool {
        self.is_stranger()
            && self.busy.load(Relaxed) > 1
            && self.places.stranger_requests.load(Relaxed) > STRANGER_REQUESTS
    }

    pub(super) fn idle_since(&self) -> u32 {
        self.idle_since.load(Relaxed)
    }

    pub(super) fn tell(&self, told: ConnectionSignal) {
        // Only ever stronger: whoever was told to end is not told to finish.
        if self.told.fetch_max(told as u8, Relaxed) < told as u8 {
            self.told_at.store(self.bounds().now(), Relaxed);
            self.waker.wake();
        }
    }

    pub(super) fn told(&self) -> ConnectionSignal {
        match self.told.load(Relaxed) {
            0 => ConnectionSignal::GoOn,
            1 => ConnectionSignal::Finish,
            _ => ConnectionSignal::End,
        }
    }

    pub(super) fn told_at(&self) -> u32 {
        self.told_at.load(Relaxed)
    }

    pub(super) fn made(&self, bytes: usize) {
        if self.unsent.fetch_add(bytes, Relaxed) == 0 {
            self.unsent_since.store(self.bounds().now(), Relaxed);
        }
        self.bounds().answers.made(&self.share, bytes);
    }

    pub(super) fn gone(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, Relaxed);
        self.unsent_since.store(self.bounds().now(), Relaxed);
        self.bounds().answers.gone(&self.share, bytes);
    }

    /// Returns when the caller last took some of an answer that it has not taken whole; `None` if no answer waits.
    pub(super) fn waits_since(&self) -> Option<u32> {
        (self.unsent.load(Relaxed) > 0).then(|| self.unsent_since.load(Relaxed))
    }
}

/// A request that is being served, until its answer was handed over.
pub(super) struct OpenRequest {
    held: Arc<TrackedConnection>,
    stranger: bool,
}

impl OpenRequest {
    pub(super) fn begin(held: &Arc<TrackedConnection>) -> Self {
        held.busy.fetch_add(1, Relaxed);
        // Remembered: the request may show a session before it ends, and the count goes down by what it went up.
        let stranger = held.is_stranger();
        if stranger {
            held.places.stranger_requests.fetch_add(1, Relaxed);
        }
        Self { held: Arc::clone(held), stranger }
    }

    pub(super) fn held(&self) -> &Arc<TrackedConnection> {
        &self.held
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        // Before the count: whoever sees the connection idle must not see an old time.
        self.held.idle_since.store(self.held.bounds().now(), Relaxed);
        self.held.busy.fetch_sub(1, Relaxed);
        if self.stranger {
            self.held.places.stranger_requests.fetch_sub(1, Relaxed);
        }
    }
}

fn enqueue_stranger(queue: &Mutex<StrangerQueue>, held: &Arc<TrackedConnection>, strangers: usize) {
    let StrangerQueue(queue) = &mut *queue.lock().unwrap_or_else(PoisonError::into_inner);
    // Entries that went or showed a session are removed when they are half of the queue: never more than two looks
    // each.
    if queue.len() > strangers.saturating_mul(2).saturating_add(LOOKED_AT) {
        queue.retain(|held| held.upgrade().is_some_and(|held| held.is_waiting_stranger()));
    }
    queue.push_back(Arc::downgrade(held));
}

/// Evicts the stranger that has been there longest, one without a request if there is one among the oldest. Returns
/// `false` if there is none.
fn evict_stranger(queue: &Mutex<StrangerQueue>) -> bool {
    let StrangerQueue(queue) = &mut *queue.lock().unwrap_or_else(PoisonError::into_inner);
    let mut busy = VecDeque::new();
    let mut chosen = None;
    while busy.len() < LOOKED_AT
        && let Some(next) = queue.pop_front()
    {
        match next.upgrade().filter(|held| held.is_waiting_stranger()) {
            Some(held) if held.is_busy() => busy.push_back(held),
            Some(held) => {
                chosen = Some(held);
                break;
            }
            None => {}
        }
    }
    let chosen = chosen.or_else(|| busy.pop_front());
    while let Some(held) = busy.pop_back() {
        queue.push_front(Arc::downgrade(&held));
    }
    let Some(held) = chosen else { return false };
    // Now, and not when the connection has ended: the newcomer takes this place at once.
    held.give_back();
    held.bounds().metrics.connection_closed(held.api(), "evicted");
    held.tell(ConnectionSignal::End);
    true
}
