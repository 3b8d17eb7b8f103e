//! Accepting connections: handshakes run beside each other, bounded in number and time, so that one that says nothing
//! holds up no other.

use super::PeerTls;
use futures::Stream;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::server;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// An accepted connection whose certificate is of our CA.
pub type PeerStream = server::TlsStream<TcpStream>;

/// Handshakes at one time: a cluster has at most some tens of peers with four connections each; more are strangers.
const HANDSHAKES: usize = 64;
/// A handshake is two round trips and two signatures.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
/// Accepted and not yet served: the server takes them at once.
const ACCEPTED: usize = 16;
/// Out of file descriptors, for instance: wait for some to be closed instead of spinning.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// The connections of a listener that passed the handshake, until stopped. The others are closed and logged.
pub fn incoming(
    listener: TcpListener,
    tls: PeerTls,
    stop: CancellationToken,
) -> impl Stream<Item = io::Result<PeerStream>> + Send + 'static {
    let (accepted, stream) = mpsc::channel(ACCEPTED);
    tokio::spawn(async move {
        let _ = stop.run_until_cancelled(accept(listener, tls, accepted)).await;
    });
    ReceiverStream::new(stream)
}

async fn accept(listener: TcpListener, tls: PeerTls, accepted: mpsc::Sender<io::Result<PeerStream>>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    while let Ok(permit) = handshakes.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((tcp, _)) => {
                tokio::spawn(shake_hands(tcp, tls.clone(), accepted.clone(), permit));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the peer door");
                sleep(AFTER_FAILURE).await;
            }
        }
    }
}

async fn shake_hands(
    tcp: TcpStream,
    tls: PeerTls,
    accepted: mpsc::Sender<io::Result<PeerStream>>,
    permit: OwnedSemaphorePermit,
) {
    let from = tcp.peer_addr().ok();
    // Answers to appends are small and waited for.
    let _ = tcp.set_nodelay(true);
    let shaken = timeout(HANDSHAKE_LIMIT, tls.acceptor().accept(tcp)).await;
    drop(permit);
    match shaken {
        // The receiver is gone only when the server has stopped.
        Ok(Ok(stream)) => drop(accepted.send(Ok(stream)).await),
        Ok(Err(error)) => tracing::debug!(?from, %error, "refused a connection on the peer door"),
        Err(_) => tracing::debug!(?from, "a connection on the peer door did not finish its handshake"),
    }
}
