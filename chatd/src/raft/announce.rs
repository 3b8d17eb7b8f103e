//! Announces this node's address to the other members while it hears no leader. A restarted pod has another IP address,
//! and its name stays stale in DNS for seconds. Each call reaches a member at that member's own address, and shows it
//! ours. The same loop forgets nodes that are no longer members. The answers say whether the others hear a leader,
//! which decides whether this pod stays ready without one.

use super::{
    cluster::{ClusterMonitor, NeighbourAnswers},
    leadership::Leadership,
    network::{PeerSet, lanes::ConnectionClass},
};
use futures::future::join_all;
use quorate_wire::raft::v1 as pb;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Interval of announcements: short enough that a returned pod is found within a second, long enough that a lost quorum
/// costs nothing.
const EVERY: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_millis(800);

/// Announces this node for as long as it runs.
pub(crate) async fn keep_announcing(cluster: ClusterMonitor, peers: PeerSet, leadership: Leadership) {
    loop {
        sleep(EVERY).await;
        let others = leadership.others();
        let members: Vec<u64> = others.iter().map(|(id, _)| *id).collect();
        peers.keep(&members);
        cluster.neighbours().keep(&members);
        // A leader without its quorum announces itself, too: the others may have elected another one.
        let unheard = cluster.status().leader.is_none();
        if unheard && peers.identity().cluster_id().is_some() {
            let calls =
                others.into_iter().map(|(id, node)| announce_to(&peers, cluster.neighbours(), id, node.peer_address));
            join_all(calls).await;
        }
    }
}

async fn announce_to(peers: &PeerSet, neighbours: &NeighbourAnswers, node_id: u64, address: String) {
    let peer = peers.peer(node_id, &address);
    let mut connection = peer.connect(ConnectionClass::Calls);
    let request = pb::AnnounceRequest { target: Some(peers.identity().target(node_id)) };
    // A member that does not answer is called again in the next round.
    match timeout(LIMIT, connection.client.announce(request)).await {
        Ok(Ok(answer)) => neighbours.answered(node_id, answer.into_inner().leader_node_id != 0),
        Ok(Err(status)) => peer.failed(&connection, &status),
        Err(_) => {}
    }
}
