//! Tests of the transport over the wire.

use super::{
    certificates::Authority,
    harness::{Cluster, PATIENCE, Setup},
};
use crate::{
    raft::{
        network::{NetworkFactory, PeerSet},
        snapshot::{SendOptions, SnapshotSender},
        types::{self, LeaderId, LogId, TypeConfig, Vote},
    },
    tls::PeerTls,
};
use futures::StreamExt as _;
use openraft::{
    RaftNetworkFactory as _,
    network::{NetStreamAppend as _, NetVote as _, RPCOption},
    raft::{AppendEntriesRequest, VoteRequest},
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

#[test]
fn the_answers_to_a_heartbeat_end_with_it() {
    let cluster = Cluster::started(3, Setup::default());
    let (leader, other) = (cluster.leader(), cluster.follower());
    let term = cluster.nodes[leader].status().term;
    let (leader_id, target) = (cluster.nodes[leader].id(), cluster.nodes[other].member());
    let node = types::NodeAddresses { peer_address: target.peer_address, ..types::NodeAddresses::default() };
    let took = cluster.nodes[leader].run(move |this| async move {
        let peers: PeerSet = this.peer_listener.peers.clone();
        let mut factory = NetworkFactory::new(peers, SnapshotSender::new(SendOptions::default()));
        let mut client = factory.new_heartbeat_client(target.node_id, &node).await;
        let vote = Vote { leader_id: LeaderId { term, node_id: leader_id }, committed: true };
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let heartbeat = AppendEntriesRequest::<TypeConfig> {
                vote,
                prev_log_id: None,
                entries: Vec::new(),
                leader_commit: None,
            };
            let start = Instant::now();
            let input = futures::stream::iter([heartbeat]);
            let option = RPCOption::new(Duration::from_secs(5));
            let answers = client.stream_append(input, option).await.expect("opens");
            let answers: Vec<_> = tokio::time::timeout(PATIENCE, answers.collect()).await.expect("ends");
            assert!(matches!(answers.as_slice(), [Ok(Ok(None))]), "{answers:?}");
            longest = longest.max(start.elapsed());
        }
        longest
    });
    println!("longest of 20 heartbeats, to the end of its stream: {took:?}");
}

#[test]
fn a_pre_vote_is_refused_while_a_leader_is_heard_and_changes_nothing() {
    let cluster = Cluster::started(3, Setup::default());
    let (leader, other) = (cluster.leader(), cluster.follower());
    let before = cluster.nodes[other].status();
    let target = cluster.nodes[other].member();
    let node = types::NodeAddresses { peer_address: target.peer_address, ..types::NodeAddresses::default() };
    let asker = cluster.nodes[leader].id();
    let answer = cluster.nodes[leader].run(move |this| async move {
        let mut factory =
            NetworkFactory::new(this.peer_listener.peers.clone(), SnapshotSender::new(SendOptions::default()));
        let mut client = factory.new_client(target.node_id, &node).await;
        let vote = Vote { leader_id: LeaderId { term: before.term + 7, node_id: asker }, committed: false };
        // A log that no other can beat: only the lease speaks against the vote.
        let last = LogId::new(LeaderId { term: before.term + 6, node_id: asker }, u64::MAX);
        client.pre_vote(VoteRequest::new(vote, Some(last)), RPCOption::new(Duration::from_secs(5))).await
    });
    let answer = answer.expect("answers");
    assert!(!answer.vote_granted, "{answer:?}");
    let after = cluster.nodes[other].status();
    assert_eq!((after.term, after.leader), (before.term, before.leader));
}

#[test]
fn a_peer_that_accepts_and_says_nothing_fails_the_append_in_time() {
    let cluster = Cluster::started(3, Setup::default());
    let (leader, other) = (cluster.leader(), cluster.follower());
    cluster.nodes[other].proxy.cut();
    let target = cluster.nodes[other].member();
    let node = types::NodeAddresses { peer_address: target.peer_address, ..types::NodeAddresses::default() };
    let (result, took) = cluster.nodes[leader].run(move |this| async move {
        let start = Instant::now();
        let mut factory =
            NetworkFactory::new(this.peer_listener.peers.clone(), SnapshotSender::new(SendOptions::default()));
        let mut client = factory.new_client(target.node_id, &node).await;
        // A request that could not be answered with success, even if it arrived.
        let vote = Vote { leader_id: LeaderId { term: 0, node_id: 1 }, committed: true };
        let request =
            AppendEntriesRequest::<TypeConfig> { vote, prev_log_id: None, entries: Vec::new(), leader_commit: None };
        let option = RPCOption::new(Duration::from_secs(1));
        let failed = match client.stream_append(futures::stream::iter([request]), option).await {
            Ok(mut answers) => answers.next().await.is_some_and(|answer| answer.is_err()),
            Err(_) => true,
        };
        (failed, start.elapsed())
    });
    assert!(result, "an answer came out of nowhere");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

/// Returns `true` if the listener accepts this certificate: with TLS 1.3, a client learns that only with the first
/// bytes after the handshake.
async fn is_let_in(tls: &PeerTls, address: SocketAddr) -> bool {
    let Ok(mut stream) = tls.connect(address).await else { return false };
    // An HTTP/2 server speaks first (its settings).
    stream.read_u8().await.is_ok()
}

#[test]
fn only_certificates_of_the_clusters_own_authority_reach_the_peer_listener() {
    let cluster = Cluster::started(1, Setup::default());
    let address = cluster.nodes[0].listen;
    let dir = TempDir::new().expect("a directory");
    let ours = cluster.authority.tls(dir.path());
    let stranger = Authority::new();
    let theirs_dir = TempDir::new().expect("a directory");
    let theirs = stranger.tls(theirs_dir.path());
    // Trusts our CA, but presents a certificate of its own.
    let mixed_dir = TempDir::new().expect("a directory");
    let files = stranger.write(mixed_dir.path());
    std::fs::copy(dir.path().join("ca.crt"), &files.ca).expect("copies");
    let mixed = PeerTls::load(files).expect("loads");
    let let_in = cluster.nodes[0].run(move |_| async move {
        let plain = async {
            let mut tcp = tokio::net::TcpStream::connect(address).await.expect("listens");
            use tokio::io::AsyncWriteExt as _;
            tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("writes");
            let mut answer = Vec::new();
            let _ = tcp.read_to_end(&mut answer).await;
            // At most a TLS alert, and the end.
            answer.first().is_some_and(|first| *first != 21)
        };
        [
            is_let_in(&ours, address).await,
            is_let_in(&theirs, address).await,
            is_let_in(&mixed, address).await,
            plain.await,
        ]
    });
    assert_eq!(let_in, [true, false, false, false]);
}

#[test]
fn a_renewed_certificate_is_used_without_dropping_what_stands() {
    let cluster = Cluster::started(1, Setup::default());
    let dir = TempDir::new().expect("a directory");
    let tls = cluster.authority.tls(dir.path());
    assert!(!tls.reload().expect("readable"), "nothing changed");
    let address = cluster.nodes[0].listen;
    cluster.authority.write(dir.path());
    let clone = tls.clone();
    assert!(tls.reload().expect("readable"), "it was renewed");
    let let_in = cluster.nodes[0].run(move |_| async move { is_let_in(&clone, address).await });
    assert!(let_in);
    std::fs::write(dir.path().join("tls.key"), "not a key").expect("writes");
    let error = tls.reload().expect_err("not a key");
    assert!(error.to_string().contains("tls.key"), "{error}");
    let clone = tls.clone();
    assert!(cluster.nodes[0].run(move |_| async move { is_let_in(&clone, address).await }), "the former one stays");
}
