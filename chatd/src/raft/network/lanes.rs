//! The connections to one peer. Four, because what is urgent must not wait behind what is large: TCP delivers in order,
//! so a heartbeat behind a megabyte of entries, or entries behind a snapshot, would be late together with it.

use super::address::AddressBook;
use crate::raft::volume::VolumeReport;
use crate::tls::{Dial, PeerIo};
use futures::{StreamExt as _, stream::FuturesUnordered};
use hyper_util::rt::TokioIo;
use quorate_wire::{admin::v1::admin_client::AdminClient, raft::v1::raft_client::RaftClient};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{net::lookup_host, time::timeout};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

/// One connection each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Entries of the log.
    Append,
    /// Heartbeats, which are lost when they take longer than one interval.
    Heartbeat,
    /// Votes, leader transfers, read indexes, forwarded writes, questions to the admin door.
    Calls,
    /// Files.
    Snapshot,
}

const LANES: usize = 4;

/// Name look-up, TCP and TLS together. A returned peer is to be found within a second.
const CONNECT_LIMIT: Duration = Duration::from_millis(700);
/// Without any address to dial meanwhile, a look-up is waited for this long.
const RESOLVE_LIMIT: Duration = Duration::from_millis(500);
/// HTTP/2 pings, also while idle: a connection into a partition is given up after 1.5 s, instead of waiting for TCP's
/// doubling retransmissions long after the partition has healed.
const PING_EVERY: Duration = Duration::from_millis(500);
const PING_LIMIT: Duration = Duration::from_secs(1);
/// Flow control windows: some requests of 1 MiB in flight on a stream, so that throughput is not one window per round
/// trip; bounded, because the receiver may have to buffer that much.
pub(crate) const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// A volume that was told of longer ago is that of a pod which is away: it does not decide what the others write.
const VOLUME_FRESH: Duration = Duration::from_secs(2);
/// Largest message, either way. Requests are kept to 1 MiB where they are made; one entry alone may be larger than that.
pub(crate) const MESSAGE_LIMIT: usize = 8 * 1024 * 1024;

/// One peer: where it is, and the connections to it. Made without connecting; connects when first used.
pub struct Peer {
    node_id: u64,
    dial: Arc<dyn Dial>,
    book: Mutex<AddressBook>,
    slots: [Mutex<Slot>; LANES],
    /// How its volume is, and when it said so.
    volume: Mutex<Option<(VolumeReport, Instant)>>,
}

#[derive(Default)]
struct Slot {
    channel: Option<Channel>,
    /// Where the present connection goes to.
    address: Option<SocketAddr>,
    /// Counts connections made and dropped, so that one failure reported twice drops one connection.
    generation: u64,
}

/// Calls of `quorate.raft.v1`.
pub(crate) type Client = RaftClient<Channel>;

/// A client on one lane, and which connection it was.
pub struct Connection {
    /// Ready to call; connects by itself.
    pub(crate) client: Client,
    lane: Lane,
    generation: u64,
}

impl Peer {
    pub(super) fn new(node_id: u64, configured: &str, dial: Arc<dyn Dial>) -> Self {
        Self {
            node_id,
            dial,
            book: Mutex::new(AddressBook::new(configured)),
            slots: Default::default(),
            volume: Mutex::default(),
        }
    }

    /// Who is meant.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    /// Its membership entry names another address now: connections made from here on go there.
    pub(super) fn configure(&self, address: &str) {
        let mut book = self.book();
        if book.configured() != address {
            *book = AddressBook::new(address);
        }
    }

    /// A request that it sent came from this address.
    pub fn learn(&self, ip: IpAddr) {
        self.book().learn(ip);
    }

    /// Its volume is so just now.
    pub(super) fn told_volume(&self, report: VolumeReport) {
        *self.volume.lock().unwrap_or_else(PoisonError::into_inner) = Some((report, Instant::now()));
    }

    /// What it told last, if that was a moment ago.
    pub(super) fn volume(&self) -> Option<VolumeReport> {
        let told = *self.volume.lock().unwrap_or_else(PoisonError::into_inner);
        told.filter(|(_, at)| at.elapsed() <= VOLUME_FRESH).map(|(report, _)| report)
    }

    /// A client of this lane; all callers of a lane share one connection.
    #[must_use]
    pub fn connect(self: &Arc<Self>, lane: Lane) -> Connection {
        let (channel, generation) = self.present(lane);
        let client =
            RaftClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT);
        Connection { client, lane, generation }
    }

    /// A client of the admin door, which is behind the same port; the connection is for [`Peer::failed`].
    #[must_use]
    pub(crate) fn admin(self: &Arc<Self>) -> (AdminClient<Channel>, Connection) {
        let (channel, generation) = self.present(Lane::Calls);
        let connection = Connection { client: RaftClient::new(channel.clone()), lane: Lane::Calls, generation };
        (AdminClient::new(channel), connection)
    }

    fn present(self: &Arc<Self>, lane: Lane) -> (Channel, u64) {
        let mut slot = self.slot(lane);
        if slot.channel.is_none() {
            slot.generation += 1;
            slot.channel = Some(self.channel(lane, slot.generation));
        }
        let (generation, channel) = (slot.generation, slot.channel.clone());
        drop(slot);
        (channel.unwrap_or_else(|| self.channel(lane, generation)), generation)
    }

    /// To be told of each failed call. Another node at that address, or silence: the connection is dropped and made
    /// anew, elsewhere if there is an elsewhere.
    pub fn failed(&self, connection: &Connection, status: &Status) {
        let wrong_node = status.code() == Code::FailedPrecondition;
        if !wrong_node && status.code() != Code::DeadlineExceeded {
            // The channel reconnects by itself where the connection is gone.
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

    fn channel(self: &Arc<Self>, lane: Lane, generation: u64) -> Channel {
        // Never resolved: the connector dials the address book. TLS is ours as well, hence not `https`.
        let endpoint = Endpoint::from_static("http://quorate-peer")
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        // Weak: the channel lives in the peer, and must not keep it alive.
        let peer = Arc::downgrade(self);
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
            let peer = peer.clone();
            async move {
                let peer = peer.upgrade().ok_or_else(|| io::Error::other("the peer is no member any more"))?;
                peer.dial(lane, generation).await.map(TokioIo::new)
            }
        }))
    }

    async fn dial(self: &Arc<Self>, lane: Lane, generation: u64) -> io::Result<Box<dyn PeerIo>> {
        let (address, stream) = timeout(CONNECT_LIMIT, self.race())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer to the connection attempt"))??;
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
                // Whatever it found is in the book.
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

    /// One look-up at a time, in a task of its own: a resolver that hangs for its own time-out (5 s and more) must not
    /// hold up dialling the addresses that are known.
    fn resolve(self: &Arc<Self>) -> Option<tokio::task::JoinHandle<()>> {
        let mut book = self.book();
        let name = book.should_resolve(Instant::now()).then(|| book.configured().to_owned())?;
        drop(book);
        let peer = self.clone();
        Some(tokio::spawn(async move {
            let found = match lookup_host(&name).await {
                Ok(found) => found.collect(),
                Err(error) => {
                    tracing::debug!(name, %error, "a peer's name has no address now");
                    Vec::new()
                }
            };
            peer.book().resolved(found, Instant::now());
        }))
    }

    fn book(&self) -> MutexGuard<'_, AddressBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, lane: Lane) -> MutexGuard<'_, Slot> {
        let [append, heartbeat, calls, snapshot] = &self.slots;
        let slot = match lane {
            Lane::Append => append,
            Lane::Heartbeat => heartbeat,
            Lane::Calls => calls,
            Lane::Snapshot => snapshot,
        };
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
