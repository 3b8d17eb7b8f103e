//! Membership of a node in a cluster, and the checks of its identity.

use super::harness::{CLUSTER, Cluster, SERVER, Setup};
use crate::raft::{
    clock::system_clock,
    cluster::NodeReadiness,
    membership::AdminError,
    network::{PeerSet, lanes::ConnectionClass},
};
use quorate_wire::raft::v1 as pb;
use tonic::{Code, Status};

fn initialize(cluster: &Cluster, place: usize, id: &'static str, server: &'static str) -> Result<(), AdminError> {
    let voters = cluster.members();
    cluster.nodes[place].run(move |node| async move { node.administration.initialize(id, server, voters).await })
}

#[test]
fn a_cluster_is_made_once_and_the_others_learn_its_id_from_their_first_peer() {
    let cluster = Cluster::empty(3, Setup::default());
    assert!(cluster.nodes.iter().all(|node| node.status().readiness == NodeReadiness::NotJoined));
    assert!(matches!(initialize(&cluster, 0, CLUSTER, "other.example.org"), Err(AdminError::Invalid(_))));
    initialize(&cluster, 0, CLUSTER, SERVER).expect("the first");
    initialize(&cluster, 0, CLUSTER, SERVER).expect("the same again");
    assert!(matches!(initialize(&cluster, 0, "another", SERVER), Err(AdminError::Refused(_))));
    for place in 0..3 {
        cluster.wait(place, "ready", |status| status.readiness == NodeReadiness::Ready);
        assert_eq!(cluster.nodes[place].status().cluster_id.as_deref(), Some(CLUSTER));
    }
    initialize(&cluster, 2, CLUSTER, SERVER).expect("the same again, on another node");
    assert!(matches!(initialize(&cluster, 1, "another", SERVER), Err(AdminError::Refused(_))));
}

#[test]
fn a_node_that_has_started_again_knows_at_once_what_is_on_its_volume() {
    let mut cluster = Cluster::started(1, Setup::default());
    let before = cluster.nodes[0].status();
    cluster.kill(0);
    let after = cluster.first_status(0);
    assert!(after.term >= before.term, "{after:?}");
    assert!(after.last_log_index >= before.last_log_index, "{after:?}");
    assert_eq!(after.membership.voters(), before.membership.voters());
    assert_eq!(after.cluster_id.as_deref(), Some(CLUSTER));
}

#[test]
fn what_is_meant_for_another_node_or_cluster_is_refused() {
    let cluster = Cluster::started(1, Setup::default());
    let (own, address) = (cluster.nodes[0].id(), cluster.nodes[0].listen.to_string());
    let ask = |cluster_id: &'static str, node_id: u64| {
        let address = address.clone();
        cluster.nodes[0].run(move |node| async move {
            let peer = node.peer_listener.peers.peer(1, &address);
            let mut connection = peer.connect(ConnectionClass::Calls);
            let target = pb::Target { cluster_id: cluster_id.into(), node_id, from_node_id: 1 };
            connection.client.read_index(pb::ReadIndexRequest { target: Some(target) }).await
        })
    };
    assert!(ask(CLUSTER, own).is_ok());
    assert_eq!(ask(CLUSTER, own + 1).expect_err("another node").code(), Code::FailedPrecondition);
    assert_eq!(ask("another", own).expect_err("another cluster").code(), Code::FailedPrecondition);
}

#[test]
fn a_connection_to_the_wrong_node_is_given_up_and_the_right_one_found() {
    let cluster = Cluster::started(2, Setup::default());
    let [asker, right] = [&cluster.nodes[0], &cluster.nodes[1]];
    let (right_id, wrong, listen) = (right.id(), asker.listen, right.listen);
    let dir = tempfile::TempDir::new().expect("a directory");
    let tls = cluster.authority.tls(dir.path());
    let [first, other_address, right_one] = asker.run(move |node| async move {
        // Separate peers, because those of the node are connected already.
        let peers = PeerSet::new(node.peer_listener.peers.identity().clone(), tls, system_clock());
        let request = pb::AnnounceRequest { target: Some(peers.identity().target(right_id)) };
        // A stale name that leads to another node.
        let peer = peers.peer(right_id, &wrong.to_string());
        let mut connection = peer.connect(ConnectionClass::Calls);
        let first = connection.client.announce(request.clone()).await;
        if let Err(status) = &first {
            peer.failed(&connection, status);
        }
        let second = peer.connect(ConnectionClass::Calls).client.announce(request.clone()).await;
        let peer = peers.peer(right_id, &listen.to_string());
        peer.failed(&peer.connect(ConnectionClass::Calls), &Status::deadline_exceeded("make another"));
        let third = peer.connect(ConnectionClass::Calls).client.announce(request).await;
        [first, second, third].map(|answer| answer.map(drop).map_err(|status| status.code()))
    });
    assert_eq!(first, Err(Code::FailedPrecondition));
    assert_eq!(other_address, Err(Code::Unavailable), "the wrong address is dialled again");
    assert_eq!(right_one, Ok(()));
}
