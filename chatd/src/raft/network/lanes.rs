//! Connections to one peer. There are four, because urgent messages must not wait behind large ones: TCP delivers in
//! order, so a heartbeat behind a megabyte of entries, or entries behind a snapshot, would be late as well.

use super::address::AddressBook;
use crate::raft::volume::VolumeReport;
use crate::tls::{PeerDialer, PeerIo};
use futures::{StreamExt as _, stream::FuturesUnordered};
use hyper_util::rt::TokioIo;
use quorate_wire::{admin::v1::admin_client::AdminClient, raft::v1::raft_client::RaftClient};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    net::lookup_host,
    time::{self as clock, timeout},
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

/// Connection class; each class has a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionClass {
    /// Appends of log entries.
    Append,
    /// Heartbeats, which are lost if they take longer than one interval.
    Heartbeat,
    /// Votes, leader transfers, read indexes, forwarded writes, and calls of the admin API.
    Calls,
    /// Transfers of snapshot files.
    Snapshot,
}

const LANES: usize = 4;

/// Time limit of a connection attempt, with name lookup, TCP and TLS. A returned peer is to be found within a second.
const CONNECT_LIMIT: Duration = Duration::from_millis(700);
/// Time for which a lookup is awaited if there is no other address to dial.
const RESOLVE_LIMIT: Duration = Duration::from_millis(500);
/// Interval of HTTP/2 pings, also while idle: a connection into a partition is given up after 1.5 s, instead of waiting
/// for TCP's doubling retransmissions long after the partition has healed.
const PING_EVERY: Duration = Duration::from_millis(500);
const PING_LIMIT: Duration = Duration::from_secs(1);
/// Flow-control windows: a few requests of 1 MiB in flight per stream, so that throughput is not limited to one window
/// per round trip; bounded, because the receiver may have to buffer that much.
pub(crate) const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Time for which a peer's report of its volume and its format level counts. An older one belongs to a pod that is away,
/// which must not decide what the others write.
const REPORT_FRESH: Duration = Duration::from_secs(2);
/// Largest message in either direction, in bytes. Requests are limited to 1 MiB where they are made, but a single entry
/// may be larger than that.
pub(crate) const MESSAGE_LIMIT: usize = 8 * 1024 * 1024;

/// One peer, with its addresses and connections. Creating it does not connect; a connection is made on first use.
pub struct RaftPeer {
    node_id: u64,
    dial: Arc<dyn PeerDialer>,
    book: Mutex<AddressBook>,
    slots: [Mutex<ConnectionSlot>; LANES],
    /// Last report of the peer's volume, and the time at which it arrived.
    volume: Mutex<Option<(VolumeReport, clock::Instant)>>,
    /// Highest format level that the peer said it knows, and the time at which it said so.
    level: Mutex<Option<(u32, clock::Instant)>>,
}

#[derive(Default)]
struct ConnectionSlot {
    channel: Option<Channel>,
    /// Remote address of the current connection.
    address: Option<SocketAddr>,
    /// Counter of connections made and dropped, so that one failure reported twice drops only one connection.
    generation: u64,
}

/// Client of the service `quorate.raft.v1`.
pub(crate) type PeerClient = RaftClient<Channel>;

/// A client of one connection class, with the connection that it uses.
pub struct PeerConnection {
    /// Client that is ready to call; it connects by itself.
    pub(crate) client: PeerClient,
    lane: ConnectionClass,
    generation: u64,
}

impl RaftPeer {
    pub(super) fn new(node_id: u64, configured: &str, dial: Arc<dyn PeerDialer>) -> Self {
        Self {
            node_id,
            dial,
            book: Mutex::new(AddressBook::new(configured)),
            slots: Default::default(),
            volume: Mutex::default(),
            level: Mutex::default(),
        }
    }

    /// Returns the node id of the peer.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    /// Updates the configured address from the membership entry; later connections go there.
    pub(super) fn configure(&self, address: &str) {
        let mut book = self.book();
        if book.configured() != address {
            *book = AddressBook::new(address);
        }
    }

    /// Records the address from which a request of the peer came.
    pub fn learn(&self, ip: IpAddr) {
        self.book().learn(ip);
    }

    /// Records a report of the peer's volume.
    pub(super) fn told_volume(&self, report: VolumeReport) {
        *self.volume.lock().unwrap_or_else(PoisonError::into_inner) = Some((report, clock::Instant::now()));
    }

    /// Returns the last report of the peer's volume, if it is recent.
    pub(super) fn volume(&self) -> Option<VolumeReport> {
        let told = *self.volume.lock().unwrap_or_else(PoisonError::into_inner);
        told.filter(|(_, at)| at.elapsed() <= REPORT_FRESH).map(|(report, _)| report)
    }

    /// Records the highest format level that the peer knows.
    pub(super) fn told_level(&self, level: u32) {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = Some((level, clock::Instant::now()));
    }

    /// Returns the highest format level that the peer knows, if it said so recently: it may run another version by now
    /// if it was away.
    pub(super) fn level(&self) -> Option<u32> {
        let told = *self.level.lock().unwrap_or_else(PoisonError::into_inner);
        told.filter(|(_, at)| at.elapsed() <= REPORT_FRESH).map(|(level, _)| level)
    }

    /// Returns a client of this connection class; all callers of a class share one connection.
    #[must_use]
    pub fn connect(self: &Arc<Self>, lane: ConnectionClass) -> PeerConnection {
        let (channel, generation) = self.present(lane);
        let client =
            RaftClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT);
        PeerConnection { client, lane, generation }
    }

    /// Returns a client of the admin API, which is served on the same port; the connection is for [`RaftPeer::failed`].
    #[must_use]
    pub(crate) fn admin(self: &Arc<Self>) -> (AdminClient<Channel>, PeerConnection) {
        let (channel, generation) = self.present(ConnectionClass::Calls);
        let connection =
            PeerConnection { client: RaftClient::new(channel.clone()), lane: ConnectionClass::Calls, generation };
        (AdminClient::new(channel), connection)
    }

    fn present(self: &Arc<Self>, lane: ConnectionClass) -> (Channel, u64) {
        let mut slot = self.slot(lane);
        if slot.channel.is_none() {
            slot.generation += 1;
            slot.channel = Some(self.channel(lane, slot.generation));
        }
        let generation = slot.generation;
        let channel = slot.channel.clone();
        drop(slot);
        (channel.unwrap_or_else(|| self.channel(lane, generation)), generation)
    }

    /// Handles a failed call; must be called for each one. If another node answered at the address, or nobody did, the
    /// connection is dropped and made anew, at another address if there is one.
    pub fn failed(&self, connection: &PeerConnection, status: &Status) {
        let wrong_node = status.code() == Code::FailedPrecondition;
        if !wrong_node && status.code() != Code::DeadlineExceeded {
            // The channel reconnects by itself if the connection is gone.
            return;
        }
        let mut slot = self.slot(connection.lane);
        if slot.generation != connection.generation {
            return;
        }
        slot.channel = None;
        let address = slot.address.take();
        drop(slot);
        if wrong_node && let Some(address) = address {
            self.book().refuse(address, Instant::now());
        }
        tracing::debug!(node_id = self.node_id, lane = ?connection.lane, ?address, %status, "dropped a connection");
    }

    fn channel(self: &Arc<Self>, lane: ConnectionClass, generation: u64) -> Channel {
        // The name is never resolved: the connector dials the addresses in the book. TLS is ours as well, hence not
        // `https`.
        let endpoint = Endpoint::from_static("http://quorate-peer")
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        // A weak reference: the channel lives in the peer, and must not keep it alive.
        let peer = Arc::downgrade(self);
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
            let peer = peer.clone();
            async move {
                let peer = peer.upgrade().ok_or_else(|| io::Error::other("the peer is no longer a member"))?;
                peer.dial(lane, generation).await.map(TokioIo::new)
            }
        }))
    }

    async fn dial(self: &Arc<Self>, lane: ConnectionClass, generation: u64) -> io::Result<Box<dyn PeerIo>> {
        let (address, stream) = timeout(CONNECT_LIMIT, self.race())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no response to the connection attempt"))??;
        let mut slot = self.slot(lane);
        if slot.generation == generation {
            slot.address = Some(address);
        }
        Ok(stream)
    }

    /// Dials all known addresses at once; the first to finish its handshake wins.
    async fn race(self: &Arc<Self>) -> io::Result<(SocketAddr, Box<dyn PeerIo>)> {
        let lookup = self.resolve();
        let mut candidates = self.book().candidates(Instant::now());
        if candidates.is_empty() {
            if let Some(lookup) = lookup {
                // The result is in the book.
                let _ = timeout(RESOLVE_LIMIT, lookup).await;
            }
            candidates = self.book().candidates(Instant::now());
        }
        let mut attempts: FuturesUnordered<_> = candidates
            .into_iter()
            .map(|address| async move { self.dial.dial(address).await.map(|stream| (address, stream)) })
            .collect();
        let mut failure = None;
        while let Some(attempt) = attempts.next().await {
            match attempt {
                Ok(connected) => return Ok(connected),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            let name = self.book().configured().to_owned();
            io::Error::new(io::ErrorKind::NotFound, format!("no address is known for {name}"))
        }))
    }

    /// Starts a lookup of the name, at most one at a time, in a task of its own: a resolver that hangs for its own
    /// timeout (5 s and more) must not hold up dialling the known addresses.
    fn resolve(self: &Arc<Self>) -> Option<tokio::task::JoinHandle<()>> {
        let mut book = self.book();
        let name = book.should_resolve(Instant::now()).then(|| book.configured().to_owned())?;
        drop(book);
        let peer = self.clone();
        Some(tokio::spawn(async move {
            let found = match lookup_host(&name).await {
                Ok(found) => found.collect(),
                Err(error) => {
                    tracing::debug!(name, %error, "cannot resolve the name of a peer");
                    Vec::new()
                }
            };
            peer.book().resolved(found, Instant::now());
        }))
    }

    fn book(&self) -> MutexGuard<'_, AddressBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, lane: ConnectionClass) -> MutexGuard<'_, ConnectionSlot> {
        let [append, heartbeat, calls, snapshot] = &self.slots;
        let slot = match lane {
            ConnectionClass::Append => append,
            ConnectionClass::Heartbeat => heartbeat,
            ConnectionClass::Calls => calls,
            ConnectionClass::Snapshot => snapshot,
        };
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
