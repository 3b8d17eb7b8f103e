//! A network of byte streams with TCP's promises: in order or not at all, late, cut, refused, or silent for ever.
//!
//! Loss is a retransmission, which delays everything behind it on that connection; a partition holds bytes back until
//! it heals; a machine whose process was killed answers with a reset, one without power not at all. Duplicates and
//! changes of order happen above, per request (`replica::consensus`).

use super::SimTime;
use super::stream::{SimStream, StreamState};
use crate::rng::Rng;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

/// Index of a machine in [`SimWorld::hosts`](super::SimWorld::hosts).
pub type HostId = usize;
pub(super) type ConnId = u64;

/// Delay, jitter and loss of the network.
#[derive(Clone, Copy, Debug)]
pub struct NetworkConditions {
    /// Shortest time that a packet takes.
    pub delay: SimTime,
    /// Longest time that is added to `delay`; mostly it is much less.
    pub jitter: SimTime,
    /// Packets per thousand that are sent again.
    pub loss: usize,
}

/// Time until TCP's first retransmission.
const RETRANSMIT: SimTime = 200_000_000;
const KERNEL_PORT: u16 = 7401;

/// Event that is handled when the queue comes to it.
enum NetEvent<A> {
    Syn(ConnId),
    SynAck(ConnId),
    /// Item that travels from this side to the other.
    Item(ConnId, usize, StreamItem),
    /// Reset that travels to this side.
    Reset(ConnId, usize),
    Act(A),
}

/// Item that goes through a stream.
pub(super) enum StreamItem {
    Data(Bytes),
    Fin,
}

/// Result of an event that [`SimNet::happen`] handled.
pub(super) enum HandledEvent<A> {
    Act(A),
    Delivered { digest: u64 },
}

pub(super) struct SimConnection {
    /// Host that dialled, and host that was dialled: the two sides.
    pub(super) hosts: [HostId; 2],
    /// State of each side's stream.
    pub(super) sides: [StreamState; 2],
    /// Arrival time of each side's last item, which nothing overtakes.
    last: [SimTime; 2],
    /// Items that a partition holds back, by sender.
    held: [VecDeque<StreamItem>; 2],
    pub(super) established: bool,
}

struct SimListener {
    backlog: VecDeque<ConnId>,
    waker: Option<Waker>,
}

pub(super) struct NetState<A> {
    now: SimTime,
    sequence: u64,
    queue: BTreeMap<(SimTime, u64), NetEvent<A>>,
    rng: Rng,
    weather: NetworkConditions,
    blocked: BTreeSet<(HostId, HostId)>,
    listeners: BTreeMap<HostId, SimListener>,
    silent: BTreeSet<HostId>,
    pub(super) conns: BTreeMap<ConnId, SimConnection>,
    next_conn: ConnId,
    pub(super) dirty: BTreeSet<HostId>,
}

/// The network; clones are handles to the same one. `A` is what others put into its queue.
pub struct SimNet<A> {
    state: Arc<Mutex<NetState<A>>>,
}

impl<A> Clone for SimNet<A> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone() }
    }
}

/// Returns the address of a machine's peer listener.
#[must_use]
pub fn listener_address(id: HostId) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, u8::try_from(id + 1).unwrap()), KERNEL_PORT).into()
}

fn host_of(address: SocketAddr) -> HostId {
    match address.ip() {
        std::net::IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
        std::net::IpAddr::V6(_) => usize::MAX,
    }
}

impl<A> NetState<A> {
    fn push(&mut self, at: SimTime, event: NetEvent<A>) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }

    fn delay(&mut self) -> SimTime {
        let NetworkConditions { delay, jitter, loss } = self.weather;
        let jitter = usize::try_from(jitter).unwrap() + 1;
        // The smaller of two draws: mostly short, seldom long.
        let jitter = self.rng.below(jitter).min(self.rng.below(jitter)) as u64;
        let mut lost = 0;
        while lost < 4 && self.rng.below(1000) < loss {
            lost += 1;
        }
        delay + jitter + ((1 << lost) - 1) * RETRANSMIT
    }

    pub(super) fn send(&mut self, id: ConnId, side: usize, item: StreamItem) {
        let delay = self.delay();
        let earliest = self.now + delay;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.last[side] = earliest.max(conn.last[side]);
        let at = conn.last[side];
        self.push(at, NetEvent::Item(id, side, item));
    }

    /// Delivers an item to the other side, or holds it back behind a partition. Delivered bytes no longer count as on
    /// the way, which wakes the writer. Returns the waker of the reader.
    fn arrive(&mut self, id: ConnId, side: usize, item: StreamItem) -> Option<Waker> {
        let conn = self.conns.get_mut(&id)?;
        let from = conn.hosts[side];
        let to = conn.hosts[1 - side];
        if self.blocked.contains(&(from, to)) || !conn.held[side].is_empty() {
            conn.held[side].push_back(item);
            return None;
        }
        if self.silent.contains(&to) {
            return None;
        }
        if let StreamItem::Data(bytes) = &item {
            conn.sides[side].on_the_way -= bytes.len();
            if let Some(waker) = conn.sides[side].writer.take() {
                waker.wake();
                self.dirty.insert(from);
            }
        }
        let there = &mut conn.sides[1 - side];
        if there.closed {
            // Nobody reads it any more: answered with a reset, as a kernel does.
            if matches!(item, StreamItem::Data(_)) {
                self.reset(id, side);
            }
            return None;
        }
        match item {
            StreamItem::Data(bytes) => there.inbox.push_back(bytes),
            StreamItem::Fin => there.ended = true,
        }
        self.dirty.insert(to);
        there.reader.take()
    }

    fn reset(&mut self, id: ConnId, to: usize) {
        let at = self.now + self.delay();
        self.push(at, NetEvent::Reset(id, to));
    }

    fn syn(&mut self, id: ConnId) -> Option<Waker> {
        let conn = self.conns.get(&id)?;
        let [from, to] = conn.hosts;
        if self.blocked.contains(&(from, to)) || self.silent.contains(&to) {
            return None;
        }
        let Some(listener) = self.listeners.get_mut(&to) else {
            self.reset(id, 0);
            return None;
        };
        listener.backlog.push_back(id);
        let waker = listener.waker.take();
        self.dirty.insert(to);
        let at = self.now + self.delay();
        self.push(at, NetEvent::SynAck(id));
        waker
    }

    fn syn_ack(&mut self, id: ConnId) -> Option<Waker> {
        let conn = self.conns.get_mut(&id)?;
        let [from, to] = conn.hosts;
        if self.blocked.contains(&(to, from)) {
            return None;
        }
        conn.established = true;
        self.dirty.insert(from);
        conn.sides[0].reader.take()
    }

    fn reset_arrives(&mut self, id: ConnId, side: usize) -> Vec<Waker> {
        let Some(conn) = self.conns.get_mut(&id) else { return Vec::new() };
        let to = conn.hosts[side];
        let from = conn.hosts[1 - side];
        if self.blocked.contains(&(from, to)) {
            return Vec::new();
        }
        conn.sides[side].reset = true;
        self.dirty.insert(to);
        conn.sides[side].reader.take().into_iter().chain(conn.sides[side].writer.take()).collect()
    }

    /// Closes one side. The other side gets a FIN, unless it got one already or this machine is without power.
    pub(super) fn close(&mut self, id: ConnId, side: usize) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let host = conn.hosts[side];
        let already = std::mem::replace(&mut conn.sides[side].closed, true);
        if conn.sides.iter().all(|side| side.closed) {
            self.conns.remove(&id);
        } else if !already && !self.silent.contains(&host) && !conn.sides[side].finished {
            self.send(id, side, StreamItem::Fin);
        }
    }
}

impl<A> SimNet<A> {
    pub(super) fn new(seed: u64) -> Self {
        let state = NetState {
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            rng: Rng::new(seed ^ 0x6e65_7477_6f72_6b21),
            weather: NetworkConditions { delay: 200_000, jitter: 1_000_000, loss: 0 },
            blocked: BTreeSet::new(),
            listeners: BTreeMap::new(),
            silent: BTreeSet::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            dirty: BTreeSet::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, NetState<A>> {
        self.state.lock().unwrap()
    }

    /// Returns the simulated time.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.lock().now
    }

    pub(super) fn advance(&self, to: SimTime) {
        let mut state = self.lock();
        state.now = to.max(state.now);
    }

    pub(super) fn next_time(&self) -> Option<SimTime> {
        self.lock().queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Puts an act into the queue.
    pub fn act_at(&self, at: SimTime, act: A) {
        self.lock().push(at, NetEvent::Act(act));
    }

    /// Puts an act into the queue, after the time that a packet takes.
    pub fn act_over(&self, act: A) {
        let mut state = self.lock();
        let at = state.now + state.delay();
        state.push(at, NetEvent::Act(act));
    }

    /// Puts an act into the queue as [`SimNet::act_over`] does, but not before `last`, the arrival time of what was sent
    /// before; sets `last` to the arrival time of this act.
    pub fn act_after(&self, last: &mut SimTime, act: A) {
        let mut state = self.lock();
        let at = (state.now + state.delay()).max(*last);
        *last = at;
        state.push(at, NetEvent::Act(act));
    }

    /// Marks a machine as having something to do.
    pub fn mark(&self, id: HostId) {
        self.lock().dirty.insert(id);
    }

    pub(super) fn take_dirty(&self, may_run: impl Fn(HostId) -> bool) -> Option<HostId> {
        let mut state = self.lock();
        let next = state.dirty.iter().copied().find(|id| may_run(*id))?;
        state.dirty.remove(&next);
        Some(next)
    }

    /// Handles the next event that is due at this moment, if there is one.
    pub(super) fn happen(&self) -> Option<HandledEvent<A>> {
        let mut state = self.lock();
        let now = state.now;
        let first = state.queue.first_entry().filter(|first| first.key().0 <= now)?;
        let event = first.remove();
        let mut digest = 0;
        let mut wakers = Vec::new();
        match event {
            NetEvent::Act(act) => return Some(HandledEvent::Act(act)),
            NetEvent::Syn(id) => wakers.extend(state.syn(id)),
            NetEvent::SynAck(id) => wakers.extend(state.syn_ack(id)),
            NetEvent::Item(id, side, item) => {
                if let StreamItem::Data(bytes) = &item {
                    digest = u64::from(crc32fast::hash(bytes)) | (id << 32);
                }
                wakers.extend(state.arrive(id, side, item));
            }
            NetEvent::Reset(id, side) => wakers.extend(state.reset_arrives(id, side)),
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Some(HandledEvent::Delivered { digest })
    }

    /// Sets the weather for everything that is sent from then on.
    pub fn set_weather(&self, weather: NetworkConditions) {
        self.lock().weather = weather;
    }

    /// Blocks one direction: nothing gets from one machine to the other any more.
    pub fn block(&self, from: HostId, to: HostId) {
        self.lock().blocked.insert((from, to));
    }

    /// Returns `true` if nothing gets from one machine to the other.
    #[must_use]
    pub fn is_blocked(&self, from: HostId, to: HostId) -> bool {
        self.lock().blocked.contains(&(from, to))
    }

    /// Opens all that was blocked; what was held back comes with TCP's next retransmission.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.blocked.clear();
        let ids: Vec<_> = state.conns.keys().copied().collect();
        for (id, side) in ids.into_iter().flat_map(|id| [(id, 0), (id, 1)]) {
            let held = state.conns.get_mut(&id).map(|conn| std::mem::take(&mut conn.held[side])).unwrap_or_default();
            if held.is_empty() {
                continue;
            }
            let at = state.now + state.rng.below(usize::try_from(RETRANSMIT).unwrap()) as u64;
            if let Some(conn) = state.conns.get_mut(&id) {
                conn.last[side] = conn.last[side].max(at);
            }
            for item in held {
                state.send(id, side, item);
            }
        }
    }

    /// Resets connections between two machines, as if a stateful box in between had forgotten them.
    pub fn cut_connections(&self, one: HostId, other: HostId) {
        let mut state = self.lock();
        let between = |conn: &SimConnection| conn.hosts == [one, other] || conn.hosts == [other, one];
        let ids: Vec<_> = state.conns.iter().filter(|(_, conn)| between(conn)).map(|(id, _)| *id).collect();
        for id in ids {
            state.reset(id, 0);
            state.reset(id, 1);
        }
    }

    /// Opens the listener of a machine.
    pub(crate) fn listen(&self, id: HostId) {
        let mut state = self.lock();
        state.silent.remove(&id);
        state.listeners.insert(id, SimListener { backlog: VecDeque::new(), waker: None });
    }

    /// Notes that the machine's process is gone, before its streams are dropped; with `power`, so is its kernel.
    pub fn fell(&self, id: HostId, power: bool) {
        let mut state = self.lock();
        state.listeners.remove(&id);
        state.dirty.remove(&id);
        if power {
            state.silent.insert(id);
        }
    }

    /// Notes that the machine's kernel is up again, though nobody listens yet: old connections are answered with a
    /// reset.
    pub fn kernel_is_up(&self, id: HostId) {
        let mut state = self.lock();
        state.silent.remove(&id);
        let dead: Vec<_> = state
            .conns
            .iter()
            .filter_map(|(conn, found)| found.hosts.iter().position(|host| *host == id).map(|side| (*conn, side)))
            .collect();
        for (conn, side) in dead {
            state.reset(conn, 1 - side);
        }
    }

    pub(crate) fn dial(&self, from: HostId, to: SocketAddr) -> SimStream<A> {
        let mut state = self.lock();
        let id = state.next_conn;
        state.next_conn += 1;
        let conn = SimConnection {
            hosts: [from, host_of(to)],
            sides: Default::default(),
            last: [0; 2],
            held: Default::default(),
            established: false,
        };
        state.conns.insert(id, conn);
        let at = state.now + state.delay();
        state.push(at, NetEvent::Syn(id));
        drop(state);
        SimStream::new(self.clone(), id, 0)
    }

    /// Becomes ready when the other side has answered.
    pub(crate) fn poll_established(&self, id: ConnId, waker: &Waker) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        let Some(conn) = state.conns.get_mut(&id) else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        if conn.sides[0].reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        if conn.established {
            return Poll::Ready(Ok(()));
        }
        conn.sides[0].reader = Some(waker.clone());
        Poll::Pending
    }

    pub(crate) fn poll_accept(&self, id: HostId, waker: &Waker) -> Poll<Option<SimStream<A>>> {
        let mut state = self.lock();
        let Some(listener) = state.listeners.get_mut(&id) else { return Poll::Ready(None) };
        match listener.backlog.pop_front() {
            Some(conn) => {
                drop(state);
                Poll::Ready(Some(SimStream::new(self.clone(), conn, 1)))
            }
            None => {
                listener.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }
}
