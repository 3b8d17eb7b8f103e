//! Rights on the peer listener, tested over the wire.

use super::{
    admin::ask_as,
    certificates::{Authority, CallerTls},
    harness::{CLUSTER, Cluster, Setup},
};
use crate::tls::PeerTls;
use quorate_wire::{
    admin::v1::{self as admin, admin_client::AdminClient},
    raft::v1::{self as raft, raft_client::RaftClient},
};
use tempfile::TempDir;
use tonic::{Code, Status};

const PEER: &str = "quorate://cluster/test/peer/node-1";
const ADMINISTRATOR: &str = "quorate://cluster/test/admin/alice";

/// Makes calls that change something, as an administrator does.
fn administer(cluster: &Cluster, tls: CallerTls, place: usize) -> Vec<Status> {
    ask_as(cluster, tls, place, |channel| async move {
        let mut client = AdminClient::new(channel);
        let transfer = admin::TransferLeaderRequest { to_node_id: 0, timeout_ms: 0 };
        let purge = admin::PurgeHistoryRequest { room_id: "!r:a.org".into(), before_ms: 1 };
        let voters = admin::ChangeMembershipRequest::default();
        let learner = admin::AddLearnerRequest::default();
        let make = admin::InitializeRequest::default();
        let refused = [
            client.transfer_leader(transfer).await.err(),
            client.purge_history(purge).await.err(),
            client.change_membership(voters).await.err(),
            client.add_learner(learner).await.err(),
            client.initialize(make).await.err(),
            client.take_snapshot(admin::TakeSnapshotRequest { purge_log: true }).await.err(),
        ];
        refused.into_iter().flatten().collect()
    })
}

/// Makes the calls of members: a vote, an append, a forwarded write, a snapshot.
fn replicate(cluster: &Cluster, tls: CallerTls, place: usize) -> Vec<Status> {
    let target = raft::Target { cluster_id: CLUSTER.into(), node_id: cluster.nodes[place].id(), from_node_id: 0 };
    ask_as(cluster, tls, place, |channel| async move {
        let mut client = RaftClient::new(channel);
        let index = raft::ReadIndexRequest { target: Some(target.clone()) };
        let announce = raft::AnnounceRequest { target: Some(target.clone()) };
        let append = raft::AppendRequest { target: Some(target), ..Default::default() };
        let refused = [
            client.vote(raft::VoteRequest::default()).await.err(),
            client.pre_vote(raft::VoteRequest::default()).await.err(),
            client.append(futures::stream::iter([append])).await.err(),
            client.forward(futures::stream::iter([raft::ForwardRequest::default()])).await.err(),
            client.install_snapshot(futures::stream::iter([raft::SnapshotRequest::default()])).await.err(),
            client.transfer_leader(raft::TransferLeaderRequest::default()).await.err(),
            client.read_index(index).await.err(),
            client.announce(announce).await.err(),
        ];
        refused.into_iter().flatten().collect()
    })
}

fn all_denied(refused: &[Status], calls: usize, words: &str) {
    assert_eq!(refused.len(), calls, "{refused:?}");
    for status in refused {
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        assert!(status.message().contains(words), "{status}");
    }
}

#[test]
fn a_peers_certificate_does_not_administer() {
    let cluster = Cluster::started(3, Setup::default());
    let leader = cluster.leader();
    let (term, id) = (cluster.nodes[leader].status().term, cluster.nodes[leader].id());
    all_denied(&administer(&cluster, cluster.authority.caller(&[PEER]), leader), 6, "for administrators");
    let after = cluster.nodes[leader].status();
    assert_eq!((after.term, after.leader), (term, Some(id)));
    // The peer may still ask for the status, because members report on the whole cluster.
    let seen = ask_as(&cluster, cluster.authority.caller(&[PEER]), leader, |channel| async move {
        AdminClient::new(channel).status(admin::StatusRequest {}).await
    });
    assert!(seen.is_ok(), "{seen:?}");
}

#[test]
fn an_administrators_certificate_neither_replicates_nor_forwards() {
    let cluster = Cluster::started(3, Setup::default());
    let other = cluster.follower();
    let refused = replicate(&cluster, cluster.authority.caller(&[ADMINISTRATOR]), other);
    all_denied(&refused, 8, "for members of the cluster");
    let moved = ask_as(&cluster, cluster.authority.administrator(), cluster.leader(), |channel| async move {
        AdminClient::new(channel).transfer_leader(admin::TransferLeaderRequest { to_node_id: 0, timeout_ms: 0 }).await
    });
    assert!(moved.is_ok(), "it administers: {moved:?}");
}

#[test]
fn a_certificate_without_a_role_or_of_another_cluster_is_told_what_to_do() {
    let cluster = Cluster::started(1, Setup::default());
    for (uris, words) in [
        (vec![], "chatctl cluster init"),
        (vec!["quorate://cluster/other/admin/alice"], "\"other\""),
        (vec![PEER, ADMINISTRATOR], "more than one role"),
        (vec!["quorate://cluster/test/root/alice"], "quorate://cluster/ID/admin/NAME"),
    ] {
        all_denied(&administer(&cluster, cluster.authority.caller(&uris), 0), 6, words);
        all_denied(&replicate(&cluster, cluster.authority.caller(&uris), 0), 8, words);
    }
}

#[test]
fn a_node_does_not_start_with_a_certificate_that_is_no_members() {
    let (authority, dir) = (Authority::new(), TempDir::new().expect("a directory"));
    for (uris, words) in [
        (vec![], "has no role"),
        (vec![ADMINISTRATOR], "an administrator's certificate"),
        (vec![PEER, ADMINISTRATOR], "more than one role"),
    ] {
        let files = authority.write_with(dir.path(), &uris);
        let error = PeerTls::load(files).err().expect("no member's");
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(format!("{error}: {cause}").contains(words), "{error}: {cause}");
    }
}
