//! Test clusters whose nodes can be killed, frozen and cut off.

use super::{certificates::Authority, proxy::Proxy};
use crate::{
    api::admin::{AdminApi, NoProcess},
    feed::ChangeFeed,
    raft::{
        clock::{ClockSource, system_clock},
        cluster::{ClusterMember, NodeReadiness, NodeStatus},
        log::{LogOptions, LogStore},
        machine::StateMachine,
        membership::CompactionOptions,
        node::{NodeHandle, NodeOptions, NodeParts, RaftTiming},
        peer::serve::serve_peers,
        propose::{NoObserver, ProposeError, RateLimit, RateLimits},
        read_index::ReadFreshness,
        snapshot::{ReceiveOptions, SendOptions, SnapshotShelf},
        threading::ThreadingModel,
        types,
        volume::{VolumeGauge, VolumeSpace},
    },
    store::{FatalSignal, MemStore},
};
use quorate_core::apply::KnownFormat;
use quorate_core::proto::log::{Envelope, Outcome};
use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub(super) const SERVER: &str = "chat.example.org";
pub(super) const CLUSTER: &str = "6f1c1c1e-0000-4000-8000-000000000001";
/// Longest wait for anything: everything takes far less, but a loaded machine may need more than its share.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Reserve of each volume, once a test reports its space.
pub(super) const RESERVE: u64 = 100 << 20;

/// Settings of a test's nodes.
#[derive(Clone, Copy, Default)]
pub(in crate::raft) struct Setup {
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) write_wait: Option<Duration>,
    pub(super) keep_entries: u64,
    pub(super) history_every: Option<Duration>,
    /// Interval of the search for unused devices; if set, devices are not kept longer than their sessions.
    pub(super) devices_every: Option<Duration>,
    /// Automatic checkpoints, from this many bytes of log on, or after this time.
    pub(super) compact: Option<(u64, Duration)>,
    /// Rate, in bytes per second, at which snapshots are sent.
    pub(super) send_rate: Option<u64>,
    /// Time for which a receiver of a snapshot waits for a silent sender.
    pub(super) receive_stall: Option<Duration>,
    /// Knowledge of nodes that are started from now on; that of this build if absent.
    pub(super) format: Option<KnownFormat>,
}

impl Setup {
    fn format(&self) -> KnownFormat {
        self.format.unwrap_or(KnownFormat::CURRENT)
    }
}

pub(in crate::raft) struct Cluster {
    pub(super) authority: Authority,
    pub(in crate::raft) nodes: Vec<TestNode>,
    pub(super) setup: Setup,
    proxies: Runtime,
}

/// A volume with an address, whose node runs or not.
pub(in crate::raft) struct TestNode {
    pub(super) name: String,
    pub(super) dir: TempDir,
    pub(super) listen: SocketAddr,
    held: Option<std::net::TcpListener>,
    pub(super) proxy: Proxy,
    /// Milliseconds by which the node's clock is ahead; may be set at any time.
    clock_ahead: Arc<AtomicI64>,
    running: Option<Running>,
}

struct Running {
    runtime: Runtime,
    node: NodeHandle,
    store: MemStore,
}

/// Worker threads of each node's runtime.
const WORKERS: usize = 2;

fn runtime(name: &str) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(WORKERS).thread_name(name).enable_all().build().expect("a runtime")
}

impl Cluster {
    /// Creates `count` running nodes with empty volumes, which belong to no cluster.
    pub(super) fn empty(count: usize, setup: Setup) -> Self {
        let authority = Authority::new();
        let mut cluster = Self { authority, nodes: Vec::new(), setup, proxies: runtime("proxies") };
        for _ in 0..count {
            cluster.add();
        }
        cluster
    }

    /// Creates an initialised cluster with a leader, in which all nodes are ready.
    pub(in crate::raft) fn started(count: usize, setup: Setup) -> Self {
        let cluster = Self::empty(count, setup);
        let voters = cluster.members();
        cluster.nodes[0]
            .run(|node| async move { node.administration.initialize(CLUSTER, SERVER, voters).await })
            .expect("initialises");
        for node in 0..count {
            cluster.wait(node, "ready", |status| status.readiness == NodeReadiness::Ready);
        }
        cluster
    }

    /// Adds a running node with an empty volume; returns its place in `nodes`.
    pub(super) fn add(&mut self) -> usize {
        let place = self.nodes.len();
        let dir = TempDir::new().expect("a directory");
        // Held until the node takes it: a free port could otherwise go to another test.
        let held = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let listen = held.local_addr().expect("bound");
        let proxy = Proxy::start(&self.proxies, listen);
        self.nodes.push(TestNode {
            name: format!("node-{place}"),
            dir,
            listen,
            held: Some(held),
            proxy,
            clock_ahead: Arc::default(),
            running: None,
        });
        self.start(place);
        place
    }

    /// Returns the status of a stopped node at the very moment at which it has started; the node is stopped again
    /// afterwards.
    pub(super) fn first_status(&self, place: usize) -> NodeStatus {
        let node = &self.nodes[place];
        let (dir, tls) = (node.dir.path().to_owned(), self.authority.tls(node.dir.path()));
        let (options, format) = (options(&node.name, node.proxy.address, self.setup), self.setup.format());
        // With one thread, all other tasks wait in the meantime.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let status = runtime.block_on(async move {
            let (parts, _store) = parts(dir, tls, format);
            NodeHandle::start(parts, options).await.expect("starts").cluster.status()
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        status
    }

    pub(super) fn start(&mut self, place: usize) {
        let setup = self.setup;
        let node = &mut self.nodes[place];
        node.start(&self.authority, setup);
    }

    /// Kills a node as `kill -9` does: nobody is told. The log's directory is free when this returns.
    pub(super) fn kill(&mut self, place: usize) {
        let Running { runtime, node, store } = self.nodes[place].running.take().expect("runs");
        drop((node, store));
        runtime.shutdown_timeout(Duration::from_secs(5));
    }

    /// Waits for a task of some node, which may have stopped in the meantime.
    pub(super) fn join<T>(&self, task: tokio::task::JoinHandle<T>) -> T {
        self.proxies.block_on(task).expect("no panic")
    }

    pub(super) fn members(&self) -> Vec<ClusterMember> {
        self.nodes.iter().map(TestNode::member).collect()
    }

    /// Waits until the status of a node satisfies `so`; returns the time that it took.
    pub(super) fn wait(&self, place: usize, what: &str, so: impl Fn(&NodeStatus) -> bool) -> Duration {
        let start = Instant::now();
        loop {
            let status = self.nodes[place].status();
            if so(&status) {
                return start.elapsed();
            }
            assert!(start.elapsed() < PATIENCE, "node {place} is not {what}: {status:?}");
            breathe();
        }
    }

    /// Returns the place of the node that reports that it leads, with a quorum.
    pub(super) fn leader(&self) -> usize {
        let start = Instant::now();
        loop {
            let leader = (0..self.nodes.len())
                .find(|place| self.nodes[*place].is_running() && self.nodes[*place].status().leads());
            if let Some(leader) = leader {
                return leader;
            }
            assert!(start.elapsed() < PATIENCE, "nobody leads");
            breathe();
        }
    }

    /// Returns the place of a running node that does not lead.
    pub(super) fn follower(&self) -> usize {
        let leader = self.leader();
        (0..self.nodes.len()).find(|p| *p != leader && self.nodes[*p].is_running()).expect("a follower")
    }
}

impl TestNode {
    fn start(&mut self, authority: &Authority, setup: Setup) {
        let runtime = runtime(&self.name);
        let tls = authority.tls(self.dir.path());
        let (dir, listen, held) = (self.dir.path().to_owned(), self.listen, self.held.take());
        let (options, format) = (options(&self.name, self.proxy.address, setup), setup.format());
        let (ahead, system) = (self.clock_ahead.clone(), system_clock());
        let clock: ClockSource = Arc::new(move || system().saturating_add_signed(ahead.load(Ordering::Relaxed)));
        let (node, store) = runtime.block_on(async move {
            let (parts, store) = parts(dir, tls.clone(), format);
            let node = NodeHandle::start_with_clock(parts, options, clock).await.expect("starts");
            let listener = match held {
                Some(held) => {
                    held.set_nonblocking(true).expect("can");
                    TcpListener::from_std(held).expect("listens")
                }
                None => TcpListener::bind(listen).await.expect("the former port"),
            };
            let admin = AdminApi::new(&node, "test", Arc::new(NoProcess), CancellationToken::new());
            let routes = Routes::new(node.peer_listener.clone().into_service()).add_service(admin.into_service());
            tokio::spawn(serve_peers(listener, tls, routes, CancellationToken::new(), Arc::new(())));
            (node, store)
        });
        self.running = Some(Running { runtime, node, store });
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("runs")
    }

    /// Enters the node's runtime, for objects that must be created inside it.
    pub(super) fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.running().runtime.enter()
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn node(&self) -> NodeHandle {
        self.running().node.clone()
    }

    /// Sets the node's clock.
    pub(super) fn set_clock_ahead(&self, ms: i64) {
        self.clock_ahead.store(ms, Ordering::Relaxed);
    }

    /// Transfers leadership to another node, without any checks.
    pub(super) fn force_leader(&self, to: u64) {
        self.run(move |node| async move { node.peer_listener.consensus.transfer_to(to).await }).expect("runs");
    }

    pub(super) fn store(&self) -> MemStore {
        self.running().store.clone()
    }

    pub(super) fn status(&self) -> NodeStatus {
        self.running().node.cluster.status()
    }

    pub(super) fn id(&self) -> u64 {
        self.running().node.own().node_id
    }

    pub(super) fn member(&self) -> ClusterMember {
        self.running().node.own().clone()
    }

    /// Runs a task to its end on the node's own runtime.
    pub(in crate::raft) fn run<T, F>(&self, task: impl FnOnce(NodeHandle) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let task = self.spawn(task);
        self.running().runtime.block_on(task).expect("no panic")
    }

    pub(super) fn spawn<T, F>(&self, task: impl FnOnce(NodeHandle) -> F) -> tokio::task::JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.running().runtime.spawn(task(self.node()))
    }

    /// Freezes the node as SIGSTOP does: nothing of it runs until the guard is dropped, while its connections stay
    /// open.
    pub(super) fn freeze(&self) -> FrozenNode {
        let gate = Arc::new(Gate::default());
        for _ in 0..WORKERS {
            let gate = gate.clone();
            self.running().runtime.spawn(async move { gate.hold_a_worker() });
        }
        until("all of its threads stand still", || gate.state().0 == WORKERS);
        FrozenNode(gate)
    }

    /// Reports how full the node's volume is.
    pub(super) fn has_free(&self, free: u64) {
        self.node().peer_listener.volume.measured(VolumeSpace { free, total: 10 * RESERVE });
    }

    pub(super) fn propose(&self, envelope: Envelope) -> Result<Outcome, ProposeError> {
        self.run(|node| async move { node.proposer.propose(envelope).await })
    }

    pub(super) fn read(&self) -> ReadFreshness {
        self.run(|node| async move { node.reads.linearizable().await }).expect("the gate is open")
    }
}

/// Gate at which the threads of a frozen node wait: the number of waiting threads, and `true` once it is open.
#[derive(Default)]
struct Gate(Mutex<(usize, bool)>, Condvar);

impl Gate {
    fn state(&self) -> MutexGuard<'_, (usize, bool)> {
        self.0.lock().expect("no panic")
    }

    fn hold_a_worker(&self) {
        let mut state = self.state();
        state.0 += 1;
        drop(self.1.wait_while(state, |state| !state.1).expect("no panic"));
    }
}

/// A frozen node, which continues when this guard is dropped.
pub(super) struct FrozenNode(Arc<Gate>);

impl Drop for FrozenNode {
    fn drop(&mut self) {
        self.0.state().1 = true;
        self.0.1.notify_all();
    }
}

fn parts(dir: PathBuf, tls: crate::tls::PeerTls, format: KnownFormat) -> (NodeParts<MemStore>, MemStore) {
    let state = dir.join("state");
    std::fs::create_dir_all(&state).expect("a directory");
    let log_options = LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() };
    let (log, _) = LogStore::open(&dir.join("log"), log_options).expect("opens");
    let (store, feed) = (MemStore::new(), ChangeFeed::new());
    let shelf = SnapshotShelf::open(&state).expect("opens");
    let (threads, fatal) = (ThreadingModel::Threads, FatalSignal::default());
    let machine =
        StateMachine::start_on(threads, format, store.clone(), shelf.clone(), feed.clone(), fatal, Arc::new(()))
            .expect("starts");
    (NodeParts { log, machine, store: store.clone(), shelf, feed, tls }, store)
}

fn options(name: &str, address: SocketAddr, setup: Setup) -> NodeOptions {
    let (send, receive) = (SendOptions::default(), ReceiveOptions::default());
    NodeOptions {
        own: types::NodeAddresses {
            peer_address: address.to_string(),
            client_address: format!("{name}:7400"),
            name: name.to_owned(),
        },
        server_name: SERVER.to_owned(),
        timing: RaftTiming::default(),
        write_wait: setup.write_wait.unwrap_or(Duration::from_secs(10)),
        read_wait: Duration::from_secs(3),
        rate_limits: setup.rate_limit.map(RateLimits::of_messages),
        compaction: compaction(setup),
        send: SendOptions { bytes_per_second: setup.send_rate.unwrap_or(send.bytes_per_second), ..send },
        receive: ReceiveOptions { stall: setup.receive_stall.unwrap_or(receive.stall), ..receive },
        observer: Arc::new(NoObserver),
        volume: VolumeGauge::with_reserve(Some(RESERVE)),
        format: setup.format(),
    }
}

fn compaction(setup: Setup) -> CompactionOptions {
    let defaults = CompactionOptions::default();
    let Setup { keep_entries, history_every, devices_every, compact, .. } = setup;
    let (bytes, age) = compact.unwrap_or((defaults.bytes, defaults.age));
    let every = if compact.is_some() { Duration::from_millis(20) } else { defaults.every };
    let history_every = history_every.unwrap_or(defaults.history_every);
    let devices_kept = devices_every.map_or(defaults.devices_kept, |_| Duration::ZERO);
    let devices_every = devices_every.unwrap_or(defaults.devices_every);
    CompactionOptions { keep_entries, history_every, devices_every, devices_kept, bytes, age, every, ..defaults }
}

/// Waits for a condition that no status reports.
pub(super) fn until(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        breathe();
    }
}

/// Pauses between two checks of a condition, on the test's own thread.
#[expect(clippy::disallowed_methods, reason = "no runtime runs on this thread")]
pub(super) fn breathe() {
    std::thread::sleep(Duration::from_millis(2));
}
