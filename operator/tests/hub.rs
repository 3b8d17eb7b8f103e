//! Test of the watch on a pod's admin API, against a real listener with mutual TLS on a port of this machine.

// Tests fail by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use kube::runtime::reflector::ObjectRef;
use quorate_crd::ChatCluster;
use quorate_operator::{
    observed::RaftRole,
    pod_watch::{PeerIdentity, WatchHub, WatchTarget},
    tls,
};
use quorate_wire::admin::v1::{
    self as proto, StatusResponse,
    admin_server::{Admin, AdminServer},
};
use std::{net::SocketAddr, pin::Pin, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{TcpListenerStream, WatchStream},
};
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

/// Admin API that sends what the test puts into the channel.
struct ScriptedAdmin(watch::Receiver<StatusResponse>);

#[tonic::async_trait]
impl Admin for ScriptedAdmin {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<StatusResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<proto::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(Box::pin(WatchStream::new(self.0.clone()).map(Ok))))
    }
    async fn overview(&self, _: Request<proto::OverviewRequest>) -> Result<Response<proto::OverviewResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn status(&self, _: Request<proto::StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(self.0.borrow().clone()))
    }
    async fn identity(&self, _: Request<proto::IdentityRequest>) -> Result<Response<proto::IdentityResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
    async fn initialize(
        &self,
        _: Request<proto::InitializeRequest>,
    ) -> Result<Response<proto::InitializeResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
    async fn add_learner(
        &self,
        _: Request<proto::AddLearnerRequest>,
    ) -> Result<Response<proto::AddLearnerResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
    async fn change_membership(
        &self,
        _: Request<proto::ChangeMembershipRequest>,
    ) -> Result<Response<proto::ChangeMembershipResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
    async fn transfer_leader(
        &self,
        _: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
    async fn purge_history(
        &self,
        _: Request<proto::PurgeHistoryRequest>,
    ) -> Result<Response<proto::PurgeHistoryResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
    async fn repair_time(
        &self,
        _: Request<proto::RepairTimeRequest>,
    ) -> Result<Response<proto::RepairTimeResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
    async fn take_snapshot(
        &self,
        _: Request<proto::TakeSnapshotRequest>,
    ) -> Result<Response<proto::TakeSnapshotResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

fn identity(authority: &tls::CertificateAuthority) -> PeerIdentity {
    // A certificate of pods is valid for servers, too, so one is enough for both sides.
    let holder = tls::CertificateHolder::Pods;
    let now = k8s_openapi::jiff::Timestamp::now();
    let leaf = tls::issue_certificate(authority, "chat.team", holder, now).expect("a certificate");
    PeerIdentity { ca: authority.certificate.clone(), certificate: leaf.certificate, key: leaf.key }
}

fn authority() -> tls::CertificateAuthority {
    // The provider is already installed when the second test asks for it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tls::create_authority("team", k8s_openapi::jiff::Timestamp::now()).expect("an authority")
}

async fn serve_admin(identity: &PeerIdentity, said: watch::Receiver<StatusResponse>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = ServerTlsConfig::new()
        .identity(Identity::from_pem(&identity.certificate, &identity.key))
        .client_ca_root(Certificate::from_pem(&identity.ca));
    let mut server = Server::builder().tls_config(config).expect("TLS");
    let serving =
        server.add_service(AdminServer::new(ScriptedAdmin(said))).serve_with_incoming(TcpListenerStream::new(listener));
    (address, tokio::spawn(async move { drop(serving.await) }))
}

fn led_by(node: u64, leader: u64, term: u64) -> StatusResponse {
    let role = if node == leader { proto::Role::Leader } else { proto::Role::Follower };
    StatusResponse {
        identity: Some(proto::IdentityResponse { node_id: node, cluster_id: "c".into(), ..Default::default() }),
        role: role.into(),
        term,
        leader_node_id: leader,
        millis_since_quorum_ack: (node == leader).then_some(1),
        ready: true,
        ..Default::default()
    }
}

fn cluster() -> ObjectRef<ChatCluster> {
    ObjectRef::new("team").within("chat")
}

async fn change(changes: &mut mpsc::Receiver<ObjectRef<ChatCluster>>) -> bool {
    timeout(Duration::from_secs(20), changes.recv()).await.expect("a report in time").is_some()
}

#[tokio::test]
async fn a_change_of_leader_is_reported_and_a_lost_pod_too() {
    let identity = identity(&authority());
    let (say, said) = watch::channel(led_by(1, 2, 1));
    let (address, serving) = serve_admin(&identity, said).await;
    let (report, mut changes) = mpsc::channel(8);
    let hub = WatchHub::new(report);
    let target = WatchTarget { uid: "u".into(), address: address.to_string() };
    hub.watch(&cluster(), &[target], &identity).expect("an address");

    assert!(change(&mut changes).await);
    let answer = hub.answer("u").expect("an answer");
    assert_eq!((answer.node.id, answer.leader, answer.role), (1, 2, RaftRole::Follower));

    // The same status is not worth a reconcile; the change after it is the next report.
    say.send(led_by(1, 2, 1)).expect("somebody watches");
    say.send(led_by(1, 1, 2)).expect("somebody watches");
    assert!(change(&mut changes).await);
    let answer = hub.answer("u").expect("an answer");
    assert_eq!((answer.term, answer.role), (2, RaftRole::Leader));
    assert!(changes.try_recv().is_err(), "no report without a change");

    serving.abort();
    assert!(change(&mut changes).await);
    assert!(hub.answer("u").is_none(), "a lost pod has no answer");
}

#[tokio::test]
async fn after_listening_a_pod_that_answers_has_answered() {
    let identity = identity(&authority());
    let (_say, said) = watch::channel(led_by(1, 1, 1));
    let (address, _serving) = serve_admin(&identity, said).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let (report, _changes) = mpsc::channel(8);
    let hub = WatchHub::new(report);
    let targets = [
        WatchTarget { uid: "open".into(), address: address.to_string() },
        WatchTarget { uid: "closed".into(), address: closed.to_string() },
    ];
    hub.watch(&cluster(), &targets, &identity).expect("addresses");
    hub.listen(&cluster()).await;
    assert!(hub.answer("open").is_some());
    assert!(hub.answer("closed").is_none());
}

#[tokio::test]
async fn a_silent_pod_is_taken_for_lost() {
    let identity = identity(&authority());
    // Sends one status and then nothing, although the connection stays.
    let (_say, said) = watch::channel(led_by(1, 1, 1));
    let (address, _serving) = serve_admin(&identity, said).await;
    let (report, mut changes) = mpsc::channel(8);
    let hub = WatchHub::new(report);
    hub.watch(&cluster(), &[WatchTarget { uid: "u".into(), address: address.to_string() }], &identity)
        .expect("an address");
    assert!(change(&mut changes).await);
    assert!(change(&mut changes).await, "the silence is reported");
}

#[tokio::test]
async fn a_pod_of_another_authority_is_not_believed() {
    let (_say, said) = watch::channel(led_by(1, 1, 1));
    let (address, _serving) = serve_admin(&identity(&authority()), said.clone()).await;
    let ours = authority();
    let (own_address, _own) = serve_admin(&identity(&ours), said).await;
    let (report, mut changes) = mpsc::channel(8);
    let hub = WatchHub::new(report);
    let targets = [
        WatchTarget { uid: "foreign".into(), address: address.to_string() },
        WatchTarget { uid: "own".into(), address: own_address.to_string() },
    ];
    hub.watch(&cluster(), &targets, &identity(&ours)).expect("addresses");
    // Both were dialled at the same time; when ours has reported twice (its answer, then its silence), the other has
    // had all the time that it needs.
    assert!(change(&mut changes).await);
    assert!(hub.answer("own").is_some());
    assert!(change(&mut changes).await);
    assert!(hub.answer("foreign").is_none());
}

#[tokio::test]
async fn a_forgotten_cluster_is_watched_no_more() {
    let identity = identity(&authority());
    let (_say, said) = watch::channel(led_by(1, 1, 1));
    let (address, _serving) = serve_admin(&identity, said).await;
    let (report, mut changes) = mpsc::channel(8);
    let hub = WatchHub::new(report);
    hub.watch(&cluster(), &[WatchTarget { uid: "u".into(), address: address.to_string() }], &identity)
        .expect("an address");
    assert!(change(&mut changes).await);
    assert!(hub.channel("u").is_some());
    hub.forget(&cluster());
    assert!(hub.channel("u").is_none());
}
