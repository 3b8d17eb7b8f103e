//! Sender and receiver over a real connection.

use super::*;
use crate::metrics::ChatMetrics;
use crate::raft::network::snapshot::{ReceiveSnapshot, SendSnapshot as _, SendSnapshotError, SnapshotResponses};
use crate::raft::observe::RaftObserver as _;
use crate::raft::propose::NoObserver;
use crate::raft::volume::{VolumeGauge, VolumeSpace};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quorate_wire::raft::v1::raft_client::RaftClient;
use quorate_wire::raft::v1::raft_server::{Raft, RaftServer};
use quorate_wire::raft::v1::{self as pb, snapshot_request::Part};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, Streaming};

/// A peer service that only receives snapshots.
struct SnapshotService(SnapshotReceiver<RocksStore>);

type Answers<T> = futures::stream::Empty<Result<T, Status>>;

#[tonic::async_trait]
impl Raft for SnapshotService {
    type AppendStream = Answers<pb::AppendResponse>;
    type ForwardStream = Answers<pb::ForwardResponse>;
    type GossipStream = Answers<pb::GossipResponse>;
    type InstallSnapshotStream = SnapshotResponses;

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotRequest>>,
    ) -> Result<Response<SnapshotResponses>, Status> {
        let mut rest = request.into_inner();
        match rest.message().await?.and_then(|message| message.part) {
            Some(Part::Manifest(manifest)) => Ok(Response::new(self.0.receive(manifest, rest).await?)),
            _ => Err(Status::invalid_argument("no manifest")),
        }
    }

    async fn vote(&self, _: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn pre_vote(&self, _: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn append(&self, _: Request<Streaming<pb::AppendRequest>>) -> Result<Response<Self::AppendStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn gossip(&self, _: Request<pb::GossipRequest>) -> Result<Response<Self::GossipStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn announce(&self, _: Request<pb::AnnounceRequest>) -> Result<Response<pb::AnnounceResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn transfer_leader(
        &self,
        _: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn read_index(&self, _: Request<pb::ReadIndexRequest>) -> Result<Response<pb::ReadIndexResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn forward(
        &self,
        _: Request<Streaming<pb::ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

fn target(cluster: &str) -> pb::Target {
    pb::Target { cluster_id: cluster.into(), node_id: 2, from_node_id: 1 }
}

fn vote(term: u64) -> Vote {
    Vote { leader_id: LeaderId { term, node_id: 1 }, committed: true }
}

/// Stand-in for openraft: a machine and a vote.
struct Follower {
    machine: Mutex<StateMachine<RocksStore>>,
    vote: Vote,
}

impl SnapshotInstaller for Follower {
    fn vote(&self) -> Vote {
        self.vote
    }

    fn install(&self, leader: Vote, snapshot: RaftSnapshot) -> BoxFuture<'_, Result<Vote, String>> {
        async move {
            let mut machine = self.machine.lock().await;
            let installed = machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await;
            installed.map(|()| leader).map_err(|error| error.to_string())
        }
        .boxed()
    }
}

struct Pod {
    dir: TempDir,
    follower: Arc<Follower>,
    client: RaftClient<Channel>,
    turn: Arc<Mutex<()>>,
    volume: VolumeGauge,
    /// Metrics of both sides.
    metrics: ChatMetrics,
}

impl Pod {
    async fn start(own_vote: Vote) -> Self {
        Self::start_patient(own_vote, Duration::from_secs(2)).await
    }

    async fn start_patient(own_vote: Vote, stall: Duration) -> Self {
        let dir = TempDir::new().unwrap();
        let store = rocks(dir.path());
        let shelf = SnapshotShelf::open(dir.path()).unwrap();
        let machine = StateMachine::start(
            store.clone(),
            shelf.clone(),
            crate::feed::ChangeFeed::new(),
            FatalSignal::default(),
            Arc::new(()),
        );
        let follower = Arc::new(Follower { machine: Mutex::new(machine.unwrap()), vote: own_vote });
        let options = ReceiveOptions { stall, ..ReceiveOptions::default() };
        let metrics = ChatMetrics::new().unwrap();
        let volume = VolumeGauge::default();
        let receiver = SnapshotReceiver::new(store, shelf, follower.clone(), options)
            .observed(Arc::new(metrics.clone()))
            .on_volume(volume.clone());
        let turn = receiver.turn.files.clone();
        let service = SnapshotService(receiver);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = Server::builder().add_service(RaftServer::new(service));
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        let client = RaftClient::connect(address).await.unwrap();
        Self { dir, follower, client, turn, volume, metrics }
    }

    async fn send(&self, snapshot: &SnapshotData, options: SendOptions) -> Result<Vote, SendSnapshotError> {
        self.send_until(snapshot, options, futures::future::pending().boxed()).await
    }

    async fn send_until(
        &self,
        snapshot: &SnapshotData,
        options: SendOptions,
        cancel: BoxFuture<'static, ()>,
    ) -> Result<Vote, SendSnapshotError> {
        let snapshot = snapshot.clone().into_snapshot().unwrap();
        let peer = self.metrics.peer("follower");
        SnapshotSender::new(options).send(self.client.clone(), target("c1"), vote(5), snapshot, &*peer, cancel).await
    }

    /// Waits until the receiver has noticed that a transfer broke.
    async fn idle(&self) {
        drop(self.turn.lock().await);
    }

    async fn digest(&self) -> u32 {
        state_digest(&self.follower.machine.lock().await.store().view()).unwrap()
    }

    fn data(&self, id: &str) -> PathBuf {
        self.dir.path().join("incoming").join(id).join(DATA)
    }

    fn whole_files(&self, id: &str) -> usize {
        let Ok(paths) = files::sorted_paths(&self.data(id)) else { return 0 };
        paths.iter().filter(|path| path.extension().is_none_or(|ending| ending != "part")).count()
    }
}

fn slow() -> SendOptions {
    SendOptions { bytes_per_second: 200 << 10, ..SendOptions::default() }
}

/// Creates a leader with several table files.
async fn source() -> (TempDir, StateMachine<RocksStore>, SnapshotData) {
    let dir = TempDir::new().unwrap();
    let mut machine = machine_over(rocks(dir.path()), dir.path());
    for round in 0..3 {
        feed(&mut machine, (round * 400).max(1)..(round + 1) * 400).await;
        machine.store().flush().unwrap();
    }
    let snapshot = build_newest(machine.store(), &SnapshotShelf::open(dir.path()).unwrap()).unwrap();
    (dir, machine, snapshot)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sent_snapshot_becomes_the_receivers_state_and_snapshot() {
    let (_dir, machine, snapshot) = source().await;
    let pod = Pod::start(vote(5)).await;
    assert_eq!(pod.send(&snapshot, SendOptions::default()).await.unwrap(), vote(5));
    assert_eq!(pod.digest().await, state_digest(&machine.store().view()).unwrap());
    let raft = &pod.metrics.all.raft;
    assert_eq!(
        (raft.snapshot_sent.get(), raft.snapshot_received.get()),
        (snapshot.size_bytes(), snapshot.size_bytes())
    );
    assert!(!pod.metrics.render().unwrap().contains("quorate_raft_snapshot_sending"), "nothing is under way");
    let mut follower = pod.follower.machine.lock().await;
    assert_eq!(follower.store().applied(), machine.store().applied());
    let current = follower.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!((current.snapshot.id(), current.meta), (snapshot.id(), snapshot.manifest().meta().unwrap()));
    assert_eq!(files::sorted_paths(&pod.dir.path().join("incoming")).unwrap(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_transfer_goes_on_with_the_files_that_are_missing() {
    let (_dir, machine, snapshot) = source().await;
    let pod = Pod::start(vote(5)).await;
    let (data, id) = (pod.data(snapshot.id()), snapshot.id().to_owned());
    let some_arrived = async move {
        while files::sorted_paths(&data).map_or(0, |paths| paths.len()) < 4 {
            tokio::task::yield_now().await;
        }
    };
    let broken = pod.send_until(&snapshot, slow(), some_arrived.boxed()).await;
    assert!(matches!(broken, Err(SendSnapshotError::Cancelled)), "{broken:?}");
    pod.idle().await;
    let before = pod.whole_files(&id);
    assert!(before >= 1 && before < snapshot.manifest().files().len(), "{before} files");

    // Files that arrived are not requested again: the sender may not even have them any more.
    let shelf = SnapshotShelf::open(pod.dir.path()).unwrap();
    let wanted = incoming::IncomingSnapshot::open(&shelf, snapshot.manifest().clone()).unwrap().wanted();
    assert_eq!(wanted.len() + before, snapshot.manifest().files().len());
    let here = |name: &str| !wanted.iter().any(|wanted| wanted == name);
    let present = snapshot.manifest().files().iter().find(|file| here(&file.name)).unwrap();
    let hidden = snapshot.data_dir().join(&present.name);
    let kept = hidden.with_extension("kept");
    fs::rename(&hidden, &kept).unwrap();
    assert_eq!(pod.send(&snapshot, SendOptions::default()).await.unwrap(), vote(5));
    fs::rename(&kept, &hidden).unwrap();
    assert_eq!(pod.digest().await, state_digest(&machine.store().view()).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broken_transfer_left_goes_when_the_pod_has_come_so_far_by_itself() {
    let (_dir, _machine, snapshot) = source().await;
    let pod = Pod::start(vote(5)).await;
    let data = pod.data(snapshot.id());
    let begun = async move {
        while files::sorted_paths(&data).map_or(0, |paths| paths.len()) < 2 {
            tokio::task::yield_now().await;
        }
    };
    pod.send_until(&snapshot, slow(), begun.boxed()).await.unwrap_err();
    pod.idle().await;
    let shelf = SnapshotShelf::open(pod.dir.path()).unwrap();
    let mut follower = pod.follower.machine.lock().await;
    feed(&mut follower, 1..600).await;
    build_newest(follower.store(), &shelf).unwrap();
    assert!(pod.data(snapshot.id()).exists(), "it may still be wanted");
    feed(&mut follower, 600..1300).await;
    build_newest(follower.store(), &shelf).unwrap();
    assert_eq!(files::sorted_paths(&pod.dir.path().join("incoming")).unwrap(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_snapshot_brings_only_files_that_are_new() {
    let (dir, mut machine, first) = source().await;
    let pod = Pod::start(vote(5)).await;
    pod.send(&first, SendOptions::default()).await.unwrap();
    feed(&mut machine, 1200..1300).await;
    let second = build_newest(machine.store(), &SnapshotShelf::open(dir.path()).unwrap()).unwrap();
    let shelf = SnapshotShelf::open(pod.dir.path()).unwrap();
    let wanted = incoming::IncomingSnapshot::open(&shelf, second.manifest().clone()).unwrap().wanted();
    let of_first =
        |name: &String| first.manifest().files().iter().any(|file| file.name == *name && name.ends_with(".sst"));
    assert!(!wanted.iter().any(of_first), "{wanted:?}");
    pod.send(&second, SendOptions::default()).await.unwrap();
    assert_eq!(pod.digest().await, state_digest(&machine.store().view()).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_damaged_at_the_sender_is_not_installed() {
    let (_dir, _machine, snapshot) = source().await;
    let pod = Pod::start(vote(5)).await;
    let before = pod.digest().await;
    let file = snapshot.manifest().files().iter().find(|file| file.name.ends_with(".sst")).unwrap();
    let path = snapshot.data_dir().join(&file.name);
    let mut content = fs::read(&path).unwrap();
    content[20] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, content).unwrap();
    let error = pod.send(&snapshot, SendOptions::default()).await.unwrap_err();
    assert!(matches!(&error, SendSnapshotError::Receiver(status) if status.code() == Code::DataLoss), "{error:?}");
    assert!(error.to_string().contains(&file.name), "{error}");
    assert_eq!(pod.digest().await, before);
    assert!(!pod.data(snapshot.id()).join(&file.name).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_with_an_old_vote_is_told_before_it_sends_anything() {
    let (_dir, _machine, snapshot) = source().await;
    let pod = Pod::start(vote(6)).await;
    assert_eq!(pod.send(&snapshot, SendOptions::default()).await.unwrap(), vote(6));
    assert_eq!(files::sorted_paths(&pod.dir.path().join("incoming")).unwrap(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_another_cluster_is_refused() {
    let (_dir, _machine, snapshot) = source().await;
    let pod = Pod::start(vote(5)).await;
    let other = target("c2");
    let cancel = futures::future::pending().boxed();
    let sent = SnapshotSender::default()
        .send(pod.client.clone(), other, vote(5), snapshot.clone().into_snapshot().unwrap(), &NoObserver, cancel)
        .await;
    let refused = |status: &Status| status.code() == Code::FailedPrecondition;
    assert!(matches!(&sent, Err(SendSnapshotError::Receiver(status)) if refused(status)), "{sent:?}");
}

/// Begins a transfer in the name of this leader, and sends nothing more.
async fn silent(pod: &Pod, snapshot: &SnapshotData, term: u64) -> Streaming<pb::SnapshotResponse> {
    let first = pb::SnapshotManifest {
        target: Some(target("c1")),
        vote: Some(crate::raft::network::convert::vote_to_pb(&vote(term))),
        manifest: snapshot.manifest().encoded(),
    };
    let first = pb::SnapshotRequest { part: Some(Part::Manifest(first)) };
    let silent = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
    let mut answers = pod.client.clone().install_snapshot(silent).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some(), "it has the turn");
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_of_a_later_leader_does_not_wait_for_a_frozen_one() {
    let (_dir, machine, snapshot) = source().await;
    // A stall timeout that is never reached in this test.
    let pod = Pod::start_patient(vote(4), Duration::from_secs(3600)).await;
    let mut frozen = silent(&pod, &snapshot, 4).await;
    assert_eq!(pod.send(&snapshot, SendOptions::default()).await.unwrap(), vote(5));
    assert_eq!(frozen.message().await.unwrap_err().code(), Code::Aborted);
    assert_eq!(pod.digest().await, state_digest(&machine.store().view()).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_of_an_earlier_leader_does_not_end_a_later_one() {
    let (_dir, machine, snapshot) = source().await;
    let pod = Pod::start(vote(5)).await;
    let mut later = silent(&pod, &snapshot, 6).await;
    let earlier = pod.send(&snapshot, SendOptions::default()).await;
    let busy = |status: &Status| status.code() == Code::Unavailable;
    assert!(matches!(&earlier, Err(SendSnapshotError::Receiver(status)) if busy(status)), "{earlier:?}");
    // A silent sender loses its turn.
    assert_eq!(later.message().await.unwrap_err().code(), Code::DeadlineExceeded);
    pod.send(&snapshot, SendOptions::default()).await.unwrap();
    assert_eq!(pod.digest().await, state_digest(&machine.store().view()).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_arrived_is_not_read_again_before_the_transfer_goes_on() {
    let (dir, mut machine, snapshot) = source().await;
    let pod = Pod::start(vote(5)).await;
    let (shelf, tables) = (SnapshotShelf::open(pod.dir.path()).unwrap(), |name: &str| name.ends_with(".sst"));
    let manifest = snapshot.manifest().clone();
    let mut incoming = incoming::IncomingSnapshot::open(&shelf, manifest.clone()).unwrap();
    for name in incoming.wanted() {
        let bytes = fs::read(snapshot.data_dir().join(&name)).unwrap();
        incoming.write(&name, 0, &bytes.into()).unwrap();
    }
    drop(incoming);
    let size = |wanted: bool| {
        let files = manifest.files().iter().filter(|file| tables(&file.name) == wanted);
        files.map(|file| file.size).sum::<u64>()
    };
    let again = incoming::IncomingSnapshot::open(&shelf, manifest.clone()).unwrap();
    assert_eq!((again.wanted(), again.reread()), (Vec::new(), size(false)), "only what is small is read");
    assert!(size(true) > 0);
    drop(again);
    // The same holds if a later snapshot is sent instead, which has most of the tables as well.
    feed(&mut machine, 1200..1210).await;
    let later = build_newest(machine.store(), &SnapshotShelf::open(dir.path()).unwrap()).unwrap();
    let tables_read = |incoming: &incoming::IncomingSnapshot| {
        let small = later.manifest().files().iter().filter(|file| !tables(&file.name)).map(|file| file.size);
        incoming.reread().saturating_sub(small.sum())
    };
    let next = incoming::IncomingSnapshot::open(&shelf, later.manifest().clone()).unwrap();
    assert_eq!(tables_read(&next), 0);
    assert!(next.wanted().len() < later.manifest().files().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_would_fill_the_volume_is_not_begun() {
    let (_dir, machine, snapshot) = source().await;
    let pod = Pod::start(vote(5)).await;
    let total = 32 * snapshot.size_bytes();
    pod.volume.measured(VolumeSpace { free: snapshot.size_bytes(), total });
    let refused = pod.send(&snapshot, SendOptions::default()).await;
    let full = |status: &Status| status.code() == Code::Unavailable && status.message().contains("enlarge");
    assert!(matches!(&refused, Err(SendSnapshotError::Receiver(status)) if full(status)), "{refused:?}");
    pod.volume.measured(VolumeSpace { free: 3 * snapshot.size_bytes(), total });
    pod.send(&snapshot, SendOptions::default()).await.unwrap();
    assert_eq!(pod.digest().await, state_digest(&machine.store().view()).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_stops_answering_is_given_up() {
    let (_dir, _machine, snapshot) = source().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    // Accepts connections and never answers.
    let client = RaftClient::new(tonic::transport::Endpoint::from_shared(address).unwrap().connect_lazy());
    let options = SendOptions { stall: Duration::from_millis(300), ..SendOptions::default() };
    let cancel = futures::future::pending().boxed();
    let sent = SnapshotSender::new(options)
        .send(client, target("c1"), vote(5), snapshot.clone().into_snapshot().unwrap(), &NoObserver, cancel)
        .await;
    assert!(matches!(sent, Err(SendSnapshotError::Receiver(_))), "{sent:?}");
    drop(listener);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_is_kept_on_average() {
    let (_dir, _machine, snapshot) = source().await;
    let pod = Pod::start(vote(5)).await;
    let bytes_per_second = snapshot.size_bytes() * 2;
    let started = Instant::now();
    pod.send(&snapshot, SendOptions { bytes_per_second, ..SendOptions::default() }).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(450), "{:?}", started.elapsed());
}
