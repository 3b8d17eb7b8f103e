//! Streams between pods: each pod asks every other member for what its users do, and is sent all of it, then changes.
//!
//! Nothing is buffered for a stream. It holds a number, and each frame is made of the entries that changed since, as they
//! are then: a slow reader gets fewer and larger frames, and of an entry only its newest form.

use super::hub::EphemeralHub;
use crate::raft::leadership::Leadership;
use crate::raft::network::PeerSet;
use crate::raft::network::lanes::{ConnectionClass, RaftPeer};
use crate::raft::peer::gossip::{GossipFrames, ServeGossip};
use futures::StreamExt as _;
use futures::stream;
use quorate_wire::raft::v1 as pb;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Code, Status};

/// Minimum time between two frames to one pod: what changes within it costs one frame.
pub(super) const FRAME_EVERY: Duration = Duration::from_millis(200);
/// Number of signs of life within the time after which a pod is given up.
const SIGNS: u32 = 6;
/// Time until a pod is asked again after its stream has ended.
const RETRY: Duration = Duration::from_secs(1);
/// Time until a pod is asked again that does not know the call: it runs an older version.
const RETRY_OLD: Duration = Duration::from_secs(30);

/// Server side: streams what this pod's users do.
#[derive(Clone)]
pub struct GossipServer(pub EphemeralHub);

/// State of one stream to another pod.
struct OutgoingFrames {
    hub: EphemeralHub,
    newest: watch::Receiver<u64>,
    /// Number up to which entries were sent; `None` before the first frame.
    sent: Option<u64>,
    last: Instant,
}

impl OutgoingFrames {
    async fn next_frame(&mut self) -> pb::GossipResponse {
        if let Some(sent) = self.sent {
            let sign_at = self.last + self.hub.settings().silence / SIGNS;
            tokio::select! {
                // The hub is the sender, and is held here: the wait cannot fail.
                _news = async { self.newest.wait_for(|newest| *newest > sent).await.is_ok() } => {}
                () = sleep_until(sign_at) => {}
            }
            sleep_until(self.last + FRAME_EVERY).await;
        }
        let now_ms = self.hub.now_ms();
        let (frame, reached) = self.hub.state().frame_after(self.sent.unwrap_or(0), now_ms);
        self.sent = Some(reached);
        self.last = Instant::now();
        frame
    }
}

impl ServeGossip for GossipServer {
    fn frames(&self) -> GossipFrames {
        let hub = self.0.clone();
        let newest = hub.outgoing();
        let outgoing = OutgoingFrames { hub, newest, sent: None, last: Instant::now() };
        stream::unfold(outgoing, |mut outgoing| async move {
            let frame = outgoing.next_frame().await;
            Some((Ok(frame), outgoing))
        })
        .boxed()
    }
}

/// Listens to all other members, for as long as it is polled.
pub async fn keep_listening(hub: EphemeralHub, peers: PeerSet, mut leadership: Leadership) {
    // The tasks end with the set.
    let mut tasks = JoinSet::new();
    let mut heard = HashMap::<u64, (String, AbortHandle)>::new();
    loop {
        let members: HashMap<_, _> =
            leadership.others().into_iter().map(|(id, node)| (id, node.peer_address)).collect();
        heard.retain(|id, (address, task)| {
            let stays = members.get(id) == Some(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for (id, address) in members {
            heard.entry(id).or_insert_with(|| {
                let task = tasks.spawn(listen_to(hub.clone(), peers.clone(), id, address.clone()));
                (address, task)
            });
        }
        while tasks.try_join_next().is_some() {}
        leadership.until_changed().await;
    }
}

async fn listen_to(hub: EphemeralHub, peers: PeerSet, node_id: u64, address: String) {
    loop {
        let peer = peers.peer(node_id, &address);
        let status = listen_once(&hub, &peers, &peer).await;
        tracing::debug!(node_id, %status, "the stream of typing and presence from a peer ended");
        let pause = if status.code() == Code::Unimplemented { RETRY_OLD } else { RETRY };
        sleep(pause).await;
    }
}

/// Listens until the stream ends, and returns why.
async fn listen_once(hub: &EphemeralHub, peers: &PeerSet, peer: &Arc<RaftPeer>) -> Status {
    let mut connection = peer.connect(ConnectionClass::Calls);
    let request = pb::GossipRequest { target: Some(peers.identity().target(peer.node_id())) };
    let silence = hub.settings().silence;
    let late = || Status::deadline_exceeded("no sign of life");
    let opened = timeout(silence, connection.client.gossip(request)).await.unwrap_or_else(|_| Err(late()));
    let mut frames = match opened {
        Ok(response) => response.into_inner(),
        Err(status) => {
            peer.failed(&connection, &status);
            return status;
        }
    };
    let mut is_first = true;
    loop {
        match timeout(silence, frames.message()).await.unwrap_or_else(|_| Err(late())) {
            Ok(Some(frame)) => {
                if hub.hear(frame) && !std::mem::take(&mut is_first) {
                    return Status::ok("all is asked for again, as the pod had been given up");
                }
                is_first = false;
            }
            Ok(None) => return Status::ok("ended by the peer"),
            // The other calls on this connection have time limits of their own.
            Err(status) => return status,
        }
    }
}
