//! Telling the others where this node is, while it hears no leader: a restarted pod has another IP, and its name stays
//! stale in DNS for seconds. Each call reaches a member under that member's own address, and shows it ours. The same look
//! forgets those that are no members any more. What they answer, whether they hear a leader, decides whether this pod stays
//! ready without one.

use super::{
    cluster::{Cluster, Neighbours},
    leadership::Leadership,
    network::{Peers, lanes::Lane},
};
use futures::future::join_all;
use quorate_wire::raft::v1 as pb;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Often enough that a returned pod is found within a second, seldom enough that a lost quorum costs nothing.
const EVERY: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_millis(800);

/// Runs as long as the node.
pub(crate) async fn announce(cluster: Cluster, peers: Peers, leadership: Leadership) {
    loop {
        sleep(EVERY).await;
        let others = leadership.others();
        let members: Vec<u64> = others.iter().map(|(id, _)| *id).collect();
        peers.keep(&members);
        cluster.neighbours().keep(&members);
        // Also a leader without its quorum: perhaps the others have another one.
        let unheard = cluster.status().leader.is_none();
        if unheard && peers.identity().cluster_id().is_some() {
            let calls = others.into_iter().map(|(id, node)| call(&peers, cluster.neighbours(), id, node.peer_address));
            join_all(calls).await;
        }
    }
}

async fn call(peers: &Peers, neighbours: &Neighbours, node_id: u64, address: String) {
    let peer = peers.peer(node_id, &address);
    let mut connection = peer.connect(Lane::Calls);
    let request = pb::AnnounceRequest { target: Some(peers.identity().target(node_id)) };
    // Whoever does not answer is told again.
    match timeout(LIMIT, connection.client.announce(request)).await {
        Ok(Ok(answer)) => neighbours.answered(node_id, answer.into_inner().leader_node_id != 0),
        Ok(Err(status)) => peer.failed(&connection, &status),
        Err(_) => {}
    }
}
