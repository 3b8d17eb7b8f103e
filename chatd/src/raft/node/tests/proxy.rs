//! A proxy in front of a node's peer listener: passes bytes on, or holds them back as a partition would.

use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    runtime::Runtime,
    sync::watch,
};

/// Proxy that lives as long as the cluster; the node behind it may come and go.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    silent: watch::Sender<bool>,
}

impl Proxy {
    pub(super) fn start(runtime: &Runtime, to: SocketAddr) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("binds");
        let address = listener.local_addr().expect("bound");
        let silent = watch::Sender::new(false);
        let state = silent.subscribe();
        runtime.spawn(async move {
            loop {
                let Ok((incoming, _)) = listener.accept().await else { continue };
                let state = state.clone();
                tokio::spawn(async move {
                    let Ok(outgoing) = TcpStream::connect(to).await else { return };
                    let _ = (incoming.set_nodelay(true), outgoing.set_nodelay(true));
                    let (from_peer, to_peer) = incoming.into_split();
                    let (from_node, to_node) = outgoing.into_split();
                    tokio::join!(pass(from_peer, to_node, state.clone()), pass(from_node, to_peer, state));
                });
            }
        });
        Self { address, silent }
    }

    /// Starts the partition: connections are accepted, and nothing is passed on.
    pub(super) fn cut(&self) {
        self.silent.send_replace(true);
    }

    pub(super) fn heal(&self) {
        self.silent.send_replace(false);
    }
}

async fn pass(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut silent: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        if silent.wait_for(|silent| !silent).await.is_err() || read == 0 {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
