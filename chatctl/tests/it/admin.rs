//! `chatctl cluster` against a stand-in for the administrative API, with real mutual TLS.

use crate::moderation::FakeModeration;
use quorate_chatctl::admin::certificates;
use quorate_wire::admin::v1::{admin_server::Admin, admin_server::AdminServer, moderation_server::ModerationServer, *};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    pin::Pin,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

#[derive(Default)]
pub(crate) struct Cluster {
    id: String,
    voters: Vec<Node>,
    initialized: usize,
    purges: Vec<PurgeHistoryRequest>,
}

struct Service {
    node: Node,
    cluster: Arc<Mutex<Cluster>>,
}

impl Service {
    fn identity(&self) -> IdentityResponse {
        let cluster_id = self.cluster.lock().unwrap().id.clone();
        IdentityResponse {
            node_id: self.node.node_id,
            node: Some(self.node.clone()),
            empty: cluster_id.is_empty(),
            cluster_id,
            server_name: "test".into(),
            version: "0".into(),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Admin for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<StatusResponse, Status>> + Send>>;

    async fn identity(&self, _: Request<IdentityRequest>) -> Answer<IdentityResponse> {
        Ok(Response::new(Service::identity(self)))
    }

    async fn initialize(&self, request: Request<InitializeRequest>) -> Answer<InitializeResponse> {
        let request = request.into_inner();
        let mut cluster = self.cluster.lock().unwrap();
        if !cluster.id.is_empty() && cluster.id != request.cluster_id {
            return Err(Status::failed_precondition("another cluster"));
        }
        (cluster.id, cluster.voters) = (request.cluster_id, request.voters);
        cluster.initialized += 1;
        Ok(Response::new(InitializeResponse {}))
    }

    async fn add_learner(&self, _: Request<AddLearnerRequest>) -> Answer<AddLearnerResponse> {
        Err(Status::unimplemented(""))
    }

    async fn change_membership(&self, _: Request<ChangeMembershipRequest>) -> Answer<ChangeMembershipResponse> {
        Err(Status::unimplemented(""))
    }

    async fn transfer_leader(&self, request: Request<TransferLeaderRequest>) -> Answer<TransferLeaderResponse> {
        let leader_node_id = request.into_inner().to_node_id;
        Ok(Response::new(TransferLeaderResponse { leader_node_id, term: 2 }))
    }

    async fn purge_history(&self, request: Request<PurgeHistoryRequest>) -> Answer<PurgeHistoryResponse> {
        let mut cluster = self.cluster.lock().unwrap();
        cluster.purges.push(request.into_inner());
        // The first call leaves something to remove, the second one does not.
        Ok(Response::new(PurgeHistoryResponse { events: 3, more: cluster.purges.len() < 2 }))
    }

    async fn repair_time(&self, _: Request<RepairTimeRequest>) -> Answer<RepairTimeResponse> {
        Ok(Response::new(RepairTimeResponse { before_ms: 1_801_785_600_000, after_ms: 1_767_225_600_000 }))
    }

    async fn take_snapshot(&self, _: Request<TakeSnapshotRequest>) -> Answer<TakeSnapshotResponse> {
        Ok(Response::new(TakeSnapshotResponse { snapshot_id: "s".into(), applied_index: 7, size_bytes: 9 }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        let voters = self.cluster.lock().unwrap().voters.clone();
        let leader = voters.first().map_or(0, |node| node.node_id);
        let sets = vec![VoterSet { node_ids: voters.iter().map(|node| node.node_id).collect() }];
        let role = if leader == self.node.node_id { Role::Leader } else { Role::Follower };
        Ok(Response::new(StatusResponse {
            identity: Some(Service::identity(self)),
            role: role.into(),
            term: 1,
            leader_node_id: leader,
            membership: Some(Membership { voter_sets: sets, nodes: voters, ..Membership::default() }),
            ready: true,
            ..StatusResponse::default()
        }))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        Err(Status::unimplemented(""))
    }

    /// Returns an overview in which the other member does not answer.
    async fn overview(&self, _: Request<OverviewRequest>) -> Answer<OverviewResponse> {
        let own = self.status(Request::new(StatusRequest {})).await?.into_inner();
        let away = Node { node_id: 7, name: "away".into(), ..Node::default() };
        let seen = MemberOverview { node: Some(self.node.clone()), status: Some(own), ..MemberOverview::default() };
        let unseen =
            MemberOverview { node: Some(away), error: "connection refused".into(), ..MemberOverview::default() };
        let asked_node_id = self.node.node_id;
        let members = vec![seen, unseen];
        Ok(Response::new(OverviewResponse { asked_node_id, members, ..OverviewResponse::default() }))
    }
}

/// Starts two servers with the certificates of `directory`; returns their runtime, the value of `--nodes`, and their
/// state.
pub(crate) fn start(directory: &Path) -> (Runtime, String, Arc<Mutex<Cluster>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cluster = Arc::new(Mutex::new(Cluster::default()));
    let mut nodes = Vec::new();
    for (number, name) in ["a", "b"].into_iter().enumerate() {
        let read = |file: &str| std::fs::read(directory.join(name).join(file)).unwrap();
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(read("tls.crt"), read("tls.key")))
            .client_ca_root(Certificate::from_pem(read("ca.crt")));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let node_id = (1 << 62) + number as u64;
        let node = Node { node_id, peer_address: address.clone(), client_address: String::new(), name: name.into() };
        let service = Service { node, cluster: Arc::clone(&cluster) };
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            let moderation = ModerationServer::new(FakeModeration::default());
            let server = Server::builder()
                .tls_config(tls)
                .unwrap()
                .add_service(AdminServer::new(service))
                .add_service(moderation);
            server.serve_with_incoming(incoming).await
        });
        nodes.push(format!("{name}={address}"));
    }
    (runtime, nodes.join(","), cluster)
}

fn cluster(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    command.env("QUORATE_PROFILE_FILE", directory.join("p")).args(["--output", "json", "cluster"]).args(arguments);
    command.output().unwrap()
}

/// Returns the first lines that a watch prints to a pipe, and its exit code after it was told to stop.
fn watched(directory: &Path, arguments: &[&str], lines: usize) -> (Vec<String>, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    command.env("QUORATE_PROFILE_FILE", directory.join("p"));
    command.args(["cluster", "status", "--watch", "--interval", "200ms", "--tls-dir", directory.to_str().unwrap()]);
    command.args(arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(Result::unwrap).take(lines).collect();
    let told = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", child.id())).status().unwrap();
    assert!(told.success());
    // The pipe is closed while the watch still prints, which is an ordinary end, too.
    drop(child.stdout.take());
    (output, child.wait().unwrap().code())
}

#[test]
fn a_watch_prints_one_document_or_block_after_the_other_and_goes_on_without_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    certificates::make_missing(directory.path(), "c", &["a".into(), "b".into()], false).unwrap();
    let (_runtime, nodes, _) = start(directory.path());
    // Nothing listens at the first of the two addresses.
    let admin = nodes.split_once(',').unwrap().0.replace("a=", "127.0.0.1:1,");
    let (documents, code) = watched(directory.path(), &["--output", "json", "--admin", &admin], 2);
    assert_eq!(code, Some(0));
    for document in documents {
        let document: Value = serde_json::from_str(&document).unwrap();
        assert_eq!((&document["asked"]["name"], &document["members"][1]["reachable"]), (&"a".into(), &false.into()));
        assert_eq!((&document["leader"], document["at_ms"].is_u64()), (&Value::Null, true));
    }
    let (lines, code) = watched(directory.path(), &["--admin", &admin], 20);
    assert_eq!(code, Some(0));
    assert!(lines.iter().filter(|line| line.starts_with("away  unreachable")).count() >= 2, "{lines:?}");
    let (documents, _) = watched(directory.path(), &["--output", "json", "--admin", "127.0.0.1:1"], 2);
    let document: Value = serde_json::from_str(&documents[1]).unwrap();
    assert_eq!((&document["error"]["code"], document["at_ms"].is_u64()), (&"UNAVAILABLE".into(), true));
}

fn succeeded(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_cluster_is_made_once_and_can_be_looked_at_and_led() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().to_str().unwrap();
    let names = ["--nodes", "a=127.0.0.1:1,b=127.0.0.1:1", "--dir", dir, "--certificates-only"];
    let made = succeeded(&cluster(directory.path(), &[&["init"], names.as_slice()].concat()));
    assert_eq!((&made["certificates_made"][1], &made["cluster"]), (&"b".into(), &Value::Null));

    let (_runtime, nodes, state) = start(directory.path());
    let init = ["init", "--nodes", &nodes, "--dir", dir];
    let first = succeeded(&cluster(directory.path(), &init));
    let second = succeeded(&cluster(directory.path(), &init));
    assert_eq!(first["cluster"], second["cluster"]);
    assert_eq!(first["cluster"]["voters"][1]["node_id"], "4611686018427387905");
    assert_eq!(state.lock().unwrap().initialized, 2);

    let admin = nodes.replace("a=", "").replace("b=", "");
    let target = ["--admin", admin.as_str(), "--tls-dir", dir];
    let status = succeeded(&cluster(directory.path(), &[&["status"], target.as_slice()].concat()));
    assert_eq!(status["servers"][1]["status"]["role"], "follower");
    let members = succeeded(&cluster(directory.path(), &[&["members"], target.as_slice()].concat()));
    assert_eq!((&members["members"][0]["leader"], &members["members"][1]["vote"]), (&true.into(), &"voter".into()));
    let moved = succeeded(&cluster(directory.path(), &[&["transfer-leader", "--to", "b"], target.as_slice()].concat()));
    assert_eq!((&moved["leader_name"], &moved["term"]), (&"b".into(), &2.into()));
    let output = cluster(directory.path(), &[&["snapshot"], target.as_slice()].concat());
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);

    let purge = ["purge-history", "!r:a.org", "--older-than", "720h"];
    let purged = succeeded(&cluster(directory.path(), &[purge.as_slice(), target.as_slice()].concat()));
    assert_eq!((&purged["events"], &purged["room_id"]), (&6.into(), &"!r:a.org".into()));
    let repaired = succeeded(&cluster(directory.path(), &[&["repair-time"], target.as_slice()].concat()));
    assert_eq!(
        (&repaired["before_ms"], &repaired["after_ms"]),
        (&1_801_785_600_000_u64.into(), &1_767_225_600_000_u64.into())
    );
    let asked = state.lock().unwrap().purges.clone();
    assert!(asked.len() == 2 && asked[0] == asked[1], "the same time for all parts: {asked:?}");

    state.lock().unwrap().id = "11111111-1111-1111-1111-111111111111".into();
    let output = cluster(directory.path(), &init);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("belongs to cluster"));
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for place in [&directory, &other] {
        certificates::make_missing(place.path(), "c", &["a".into(), "b".into()], false).unwrap();
    }
    let (_runtime, nodes, _) = start(directory.path());
    let admin = nodes.split_once(',').unwrap().0.replace("a=", "");
    let output = cluster(directory.path(), &["status", "--admin", &admin, "--tls-dir", other.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
}
