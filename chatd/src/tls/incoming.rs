//! Acceptance of connections from peers: handshakes run concurrently, bounded in number and time, so that a silent one
//! delays no other.
//!
//! Every connection may begin a handshake. At the limit, the oldest handshake is aborted, one from the newcomer's own
//! address first: a peer or an administrator needs a few milliseconds, so a silent connection is always the older one.

use super::PeerTls;
use crate::caller::CallerAddress;
use futures::Stream;
use std::collections::VecDeque;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tokio_rustls::server;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Accepted connection whose certificate is signed by our CA.
pub type PeerStream = server::TlsStream<TcpStream>;

/// Largest number of concurrent handshakes. A cluster has some tens of peers with four connections each, which rarely
/// come at once; anything beyond that is strangers. With as many new connections per second, a handshake has a second.
/// Each holds a file descriptor and, once it has sent something, about 20 KiB.
const HANDSHAKES: usize = 1024;
/// Largest number of concurrent handshakes of one address, so that it takes four addresses together to evict anybody
/// else.
const HANDSHAKES_PER_ADDRESS: usize = HANDSHAKES / 4;
/// Longest wait for the first byte. The client speaks first, and at once; a lost first packet is sent again after a
/// second.
const SILENCE_LIMIT: Duration = Duration::from_secs(2);
/// Longest time for a handshake, which takes two round trips and two signatures.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
/// Number of connections that are accepted but not served yet. Small, because the server takes them at once.
const ACCEPTED: usize = 16;
/// Pause after a failed `accept`, for instance for lack of file descriptors, instead of spinning until some are closed.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Reason why a handshake ended without an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeEnd {
    /// The handshake was aborted to make room for a newer one.
    Evicted,
    /// The caller sent no byte.
    Silent,
    /// The handshake took too long.
    Slow,
    /// The caller did not speak TLS, or had no certificate of our CA.
    Failed,
}

impl HandshakeEnd {
    /// Returns the label value for metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::Failed => "failed",
        }
    }
}

/// Observer of handshakes that ended without an accepted connection.
pub trait HandshakeObserver: Send + Sync + 'static {
    /// Called once for each such handshake.
    fn handshake_ended(&self, end: HandshakeEnd);
}

/// Observer that ignores everything.
impl HandshakeObserver for () {
    fn handshake_ended(&self, _: HandshakeEnd) {}
}

/// Returns the connections of a listener that completed the handshake, until stopped. All others are closed and logged.
pub fn incoming_connections(
    listener: TcpListener,
    tls: PeerTls,
    stop: CancellationToken,
    observer: Arc<dyn HandshakeObserver>,
) -> impl Stream<Item = io::Result<PeerStream>> + Send + 'static {
    let (accepted, stream) = mpsc::channel(ACCEPTED);
    tokio::spawn(async move {
        let _ = stop.run_until_cancelled(accept_loop(listener, tls, accepted, observer)).await;
    });
    ReceiverStream::new(stream)
}

async fn accept_loop(
    listener: TcpListener,
    tls: PeerTls,
    accepted: mpsc::Sender<io::Result<PeerStream>>,
    observer: Arc<dyn HandshakeObserver>,
) {
    let mut handshakes = RunningHandshakes { running: VecDeque::new(), observer: Arc::clone(&observer) };
    while !accepted.is_closed() {
        match listener.accept().await {
            Ok((tcp, from)) => {
                let address = CallerAddress::counted(from.ip());
                handshakes.make_room(address);
                let one = shake_hands(tcp, from, tls.clone(), accepted.clone(), Arc::clone(&observer));
                handshakes.running.push_back((address, tokio::spawn(one).abort_handle()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the peer listener");
                sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// Running handshakes, oldest first.
struct RunningHandshakes {
    running: VecDeque<(CallerAddress, AbortHandle)>,
    observer: Arc<dyn HandshakeObserver>,
}

impl RunningHandshakes {
    fn make_room(&mut self, newcomer: CallerAddress) {
        // Only here: nobody else reads the list, and it grows by newcomers alone.
        self.running.retain(|(_, handshake)| !handshake.is_finished());
        let is_its_own = |(address, _): &(CallerAddress, AbortHandle)| *address == newcomer;
        if self.running.iter().filter(|handshake| is_its_own(handshake)).count() >= HANDSHAKES_PER_ADDRESS {
            let oldest = self.running.iter().position(is_its_own);
            self.give_up(oldest);
        }
        if self.running.len() >= HANDSHAKES {
            self.give_up(Some(0));
        }
    }

    fn give_up(&mut self, place: Option<usize>) {
        if let Some((_, handshake)) = place.and_then(|place| self.running.remove(place)) {
            handshake.abort();
            self.observer.handshake_ended(HandshakeEnd::Evicted);
        }
    }
}

async fn shake_hands(
    tcp: TcpStream,
    from: SocketAddr,
    tls: PeerTls,
    accepted: mpsc::Sender<io::Result<PeerStream>>,
    observer: Arc<dyn HandshakeObserver>,
) {
    // Answers to appends are small and waited for, so Nagle's algorithm would delay them.
    let _ = tcp.set_nodelay(true);
    // Wait for the first byte before allocating any TLS state for the connection.
    if !matches!(timeout(SILENCE_LIMIT, tcp.readable()).await, Ok(Ok(()))) {
        tracing::debug!(%from, "a connection on the peer listener sent nothing");
        return observer.handshake_ended(HandshakeEnd::Silent);
    }
    match timeout(HANDSHAKE_LIMIT, tls.acceptor().accept(tcp)).await {
        // The receiver is only gone when the server has stopped.
        Ok(Ok(stream)) => drop(accepted.send(Ok(stream)).await),
        Ok(Err(error)) => {
            tracing::debug!(%from, %error, "refused a connection on the peer listener");
            observer.handshake_ended(HandshakeEnd::Failed);
        }
        Err(_) => {
            tracing::debug!(%from, "a connection on the peer listener did not finish its handshake");
            observer.handshake_ended(HandshakeEnd::Slow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Told(Mutex<Vec<HandshakeEnd>>);

    impl HandshakeObserver for Told {
        fn handshake_ended(&self, end: HandshakeEnd) {
            self.0.lock().unwrap().push(end);
        }
    }

    fn address(number: usize) -> CallerAddress {
        let [a, b] = u16::try_from(number).unwrap().to_be_bytes();
        CallerAddress::counted(IpAddr::from([10, 0, a, b]))
    }

    fn running(handshakes: &mut RunningHandshakes, from: CallerAddress) -> AbortHandle {
        handshakes.make_room(from);
        let handle = tokio::spawn(std::future::pending::<()>()).abort_handle();
        handshakes.running.push_back((from, handle.clone()));
        handle
    }

    #[tokio::test]
    async fn an_address_pushes_out_its_own_and_all_together_the_oldest() {
        let told = Arc::new(Told::default());
        let mut handshakes = RunningHandshakes { running: VecDeque::new(), observer: told.clone() };
        let first = running(&mut handshakes, address(0));
        for _ in 0..2 * HANDSHAKES_PER_ADDRESS {
            running(&mut handshakes, address(1));
        }
        assert_eq!(handshakes.running.len(), 1 + HANDSHAKES_PER_ADDRESS);
        assert!(!first.is_finished(), "the one of another address goes on");
        for number in 0..HANDSHAKES {
            running(&mut handshakes, address(number + 2));
        }
        assert!(handshakes.running.len() <= HANDSHAKES);
        while !first.is_finished() {
            tokio::task::yield_now().await;
        }
        let told = told.0.lock().unwrap();
        assert_eq!(told.len(), 1 + 2 * HANDSHAKES_PER_ADDRESS, "each newcomer beyond the places ends one");
        assert!(told.iter().all(|end| *end == HandshakeEnd::Evicted));
    }
}
