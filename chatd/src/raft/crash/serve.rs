//! Workload of a single-node cluster on a real disk: writes, flushes, snapshots, purges.

use super::{End, PATIENCE, lies, say, told_to};
use crate::feed::ChangeFeed;
use crate::raft::log::{LogOptions, LogStore};
use crate::raft::machine::tests::support::{Nowhere, batch, commands, until};
use crate::raft::machine::{StartFacts, StateMachine, start_check};
use crate::raft::snapshot::SnapshotShelf;
use crate::raft::snapshot::tests::crash::is_whole;
use crate::raft::types::{LeaderId, LogEntry, LogId, NodeAddresses, TypeConfig};
use crate::store::{self, FatalSignal, MemStore, RocksSettings, RocksStore, StateStore as _};
use futures::future::join_all;
use futures::stream;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::storage::{RaftLogStorage as _, RaftStateMachine as _};
use openraft::{EntryPayload, Raft, SnapshotPolicy};
use quorate_core::invariant::{check_all, state_digest};
use quorate_core::proto::log;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::time::timeout;

/// Commands written at once, so that a batch holds more than one.
const TOGETHER: u64 = 4;
const ROUNDS: u64 = 40;
/// Entries that a purge leaves.
const KEPT: u64 = 7;
/// Index of the first command: the log begins with the membership and the leader's blank entry.
const FIRST: u64 = 2;

struct Pod {
    raft: Raft<TypeConfig, StateMachine<RocksStore>>,
    log: LogStore,
    store: RocksStore,
    shelf: SnapshotShelf,
    /// Last indexes of state and log before Raft reconciled them.
    ends: Ends,
}

struct Ends {
    state: Option<u64>,
    log: Option<u64>,
}

impl Pod {
    async fn start(dir: &Path) -> Self {
        // Small segments, so that the log goes through many of them.
        let options = LogOptions { segment_bytes: 4 << 10, cache_bytes: 4 << 10, ..LogOptions::default() };
        let (mut log, _) = LogStore::open(&dir.join("log"), options).expect("the log opens");
        let logged = log.get_log_state().await.expect("the log is read");
        say(&format!("node {}", log.identity().node_id));
        let settings = RocksSettings { cache_bytes: 4 << 20, write_buffer_bytes: 1 << 20, ..RocksSettings::default() };
        let store = RocksStore::open(&dir.join("state"), settings, FatalSignal::default()).expect("the state opens");
        let shelf = SnapshotShelf::open(&dir.join("state")).expect("the shelf opens");
        let ends = Ends { state: store.applied().index(), log: logged.last_log_id.map(|id| id.index) };
        let facts = StartFacts {
            purged: log.purged(),
            applied: ends.state,
            snapshot: shelf.newest_applied(),
            ..StartFacts::default()
        };
        start_check(&facts).expect("log and state belong together");
        let feed = ChangeFeed::new();
        let observer = Arc::new(());
        let machine =
            StateMachine::start(store.clone(), shelf.clone(), feed, FatalSignal::default(), observer).expect("starts");
        let config = openraft::Config {
            heartbeat_interval: 10,
            election_timeout_min: 20,
            election_timeout_max: 40,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            purge_batch_size: 1,
            ..openraft::Config::default()
        };
        let config = Arc::new(config.validate().expect("valid"));
        let id = log.identity().node_id;
        let raft = Raft::new(id, config, Nowhere, log.clone(), machine).await.expect("Raft starts");
        // Refused if the node has a log already.
        let _ = raft.initialize(BTreeMap::from([(id, NodeAddresses::default())])).await;
        raft.wait(Some(PATIENCE)).current_leader(id, "it elects itself").await.expect("a leader");
        Self { raft, log, store, shelf, ends }
    }

    /// Writes the commands with these numbers, in order, and reports each one when it is acknowledged.
    async fn write(&self, numbers: std::ops::Range<u64>) {
        let writes = numbers.map(|number| async move {
            if lies() {
                say(&format!("ack {number} {}", number + FIRST));
            }
            let answer = self.raft.client_write(batch(&commands(number))).await.expect("written");
            let refused = |outcome: &log::Outcome| matches!(outcome.kind, Some(log::outcome::Kind::Rejected(_)));
            assert!(!answer.data.0.iter().any(refused), "{:?}", answer.data);
            say(&format!("ack {number} {}", answer.log_id.index));
        });
        timeout(PATIENCE, join_all(writes)).await.expect("in time");
    }

    /// Takes a snapshot of all that is applied, and purges the log except for a few entries.
    async fn compact(&self) {
        let applied = self.store.applied().index();
        self.raft.trigger().snapshot().await.expect("Raft runs");
        let made = |metrics: &openraft::RaftMetrics<TypeConfig>| metrics.snapshot.map(|id| id.index) >= applied;
        self.raft.wait(Some(PATIENCE)).metrics(made, "a snapshot").await.expect("made");
        let upto = self.shelf.newest_applied().unwrap_or(0).saturating_sub(KEPT);
        self.raft.trigger().purge_log(upto).await.expect("Raft runs");
        let purged = |metrics: &openraft::RaftMetrics<TypeConfig>| metrics.purged.map(|id| id.index) >= Some(upto);
        self.raft.wait(Some(PATIENCE)).metrics(purged, "purged").await.expect("purged");
    }

    async fn stop(self) {
        self.raft.shutdown().await.expect("stops");
        self.log.close().await.expect("closes");
    }
}

/// Workload of the process that crashes; tests nothing by itself.
#[test]
fn a_process_that_is_told_to_serves() {
    let Some(dir) = told_to() else { return };
    super::runtime().block_on(async {
        let pod = Pod::start(&dir).await;
        for round in 0..ROUNDS {
            pod.write(round * TOGETHER..(round + 1) * TOGETHER).await;
            match round % 4 {
                1 => pod.store.flush().expect("flushes"),
                3 => pod.compact().await,
                _ => {}
            }
        }
        pod.stop().await;
        say("done");
    });
}

/// Returns number and index of each command that was reported as acknowledged.
pub(super) fn acknowledged(end: &End) -> impl Iterator<Item = (u64, u64)> {
    end.said.iter().filter_map(|said| said.strip_prefix("ack ")).map(|ack| {
        let (number, index) = ack.split_once(' ').expect("two numbers");
        let [number, index] = [number, index].map(|number| number.parse().expect("a number"));
        (number, index)
    })
}

/// Returns the index of the last entry of a log that no process has open.
pub(super) async fn last_entry(dir: &Path) -> Option<u64> {
    let (mut log, _) = LogStore::open(dir, LogOptions::default()).expect("the log opens");
    let last = log.get_log_state().await.expect("the log is read").last_log_id;
    log.close().await.expect("closes");
    last.map(|id| id.index)
}

/// Starts a pod on the directory that was left behind, and checks it.
pub(super) async fn check(dir: &Path, end: &End) {
    let pod = Pod::start(dir).await;
    if let Some(node) = end.said.iter().find_map(|said| said.strip_prefix("node ")) {
        assert_eq!(pod.log.identity().node_id.to_string(), node, "a node id that was given out is kept");
    }
    let Ends { state, log } = pod.ends;
    assert!(state <= log, "the state was applied up to {state:?}, the log ended at {log:?}");
    let last = pod.raft.metrics().borrow_watched().last_log_index;
    let applied = |metrics: &openraft::RaftMetrics<TypeConfig>| metrics.last_applied.map(|id| id.index) >= last;
    pod.raft.wait(Some(PATIENCE)).metrics(applied, "all of the log is applied").await.expect("applied");
    let next = has_what_was_acknowledged(&pod.store, end).await;
    let purged = pod.log.purged();
    assert!(purged <= pod.shelf.newest_applied(), "purged to {purged:?}, a snapshot holds less");
    assert!(pod.shelf.newest().is_none_or(|newest| is_whole(&newest)), "a snapshot with a damaged file");
    nothing_is_left_over(dir);
    // The pod must also keep working.
    pod.write(next..next + TOGETHER).await;
    pod.compact().await;
    check_all(&pod.store.view()).expect("the invariants hold");
    pod.stop().await;
}

/// Checks that the state results from the commands in order up to some number, with all that were acknowledged. Returns
/// the number after it.
async fn has_what_was_acknowledged(store: &RocksStore, end: &End) -> u64 {
    let view = store.view();
    check_all(&view).expect("the invariants hold");
    let found = store::cluster_row(&view).expect("reads").map(|row| row.index);
    let next = found.map_or(0, |index| index + 1 - FIRST);
    for (number, index) in acknowledged(end) {
        assert_eq!(index, number + FIRST, "the model counts otherwise");
        assert!(number < next, "command {number} was acknowledged, and the state ends before {next}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let model = MemStore::new();
    let shelf = SnapshotShelf::open(dir.path()).expect("opens");
    let mut machine =
        StateMachine::start(model.clone(), shelf, ChangeFeed::new(), FatalSignal::default(), Arc::new(()))
            .expect("starts");
    let entries = (0..next).map(|number| {
        let log_id = LogId::new(LeaderId { term: 1, node_id: 1 }, number + FIRST);
        Ok((LogEntry { log_id, payload: EntryPayload::Normal(batch(&commands(number))) }, None))
    });
    machine.apply(stream::iter(entries)).await.expect("applies");
    assert_eq!(
        state_digest(&view).expect("reads"),
        state_digest(&model.view()).expect("reads"),
        "another state than the model's"
    );
    next
}

/// Checks that nothing is left of operations that a crash cut short.
fn nothing_is_left_over(dir: &Path) {
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
        entries.map(|name| name.to_string_lossy().into_owned()).collect()
    };
    let log = names(&dir.join("log"));
    let state = names(&dir.join("state"));
    assert!(!log.iter().any(|name| name.ends_with(".new")), "{log:?}");
    assert_eq!(state.iter().filter(|name| name.starts_with("live-")).count(), 1, "{state:?}");
    let snapshots = || names(&dir.join("state/snapshots"));
    assert!(!snapshots().iter().any(|name| name.ends_with(".tmp")), "{:?}", snapshots());
    // A separate thread removes the older one.
    until("one snapshot is left", || snapshots().len() <= 1);
}
