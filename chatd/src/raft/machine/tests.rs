//! Tests of the machine below openraft: openraft's suite over the real log and state, and a single-node cluster.

pub(in crate::raft) mod support;

use super::*;
use crate::feed::FeedTopics;
use crate::raft::consensus::WriteReceiver;
use crate::raft::log::sim_disk::SimDisk;
use crate::raft::log::{LogOptions, LogStore};
use crate::raft::observe::AppliedBatch;
use crate::store::{AppliedMembership, CheckpointContents, MemStore, RocksSettings, RocksStore};
use futures::stream;
use openraft::StorageError;
use openraft::impls::ProgressResponder;
use openraft::testing::log::{StoreBuilder, Suite};
use quorate_core::invariant::state_digest;
use quorate_core::proto::log;
use quorate_core::table::ChangeSet;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use support::{Nowhere, commands, log_id, machine_over};
use tempfile::TempDir;
use tokio::sync::mpsc;

struct OnRocks;

impl StoreBuilder<TypeConfig, LogStore, StateMachine<RocksStore>, TempDir> for OnRocks {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine<RocksStore>), StorageError<TypeConfig>> {
        let dir = TempDir::new().unwrap();
        let (log, _) = LogStore::open(&dir.path().join("log"), LogOptions::default()).unwrap();
        let state = dir.path().join("state");
        let store = RocksStore::open(&state, RocksSettings::default(), FatalSignal::default()).unwrap();
        Ok((dir, log, machine_over(store, &state)))
    }
}

struct InMemory;

impl StoreBuilder<TypeConfig, LogStore, StateMachine<MemStore>, TempDir> for InMemory {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine<MemStore>), StorageError<TypeConfig>> {
        let dir = TempDir::new().unwrap();
        let (log, _) = LogStore::open_on(Arc::new(SimDisk::new()), LogOptions::default()).unwrap();
        let (shelf, feed, fatal) =
            (SnapshotShelf::open(dir.path()).unwrap(), ChangeFeed::new(), FatalSignal::default());
        let machine = StateMachine::start_on(
            ThreadingModel::Task,
            KnownFormat::CURRENT,
            MemStore::new(),
            shelf,
            feed,
            fatal,
            Arc::new(()),
        );
        Ok((dir, log, machine.unwrap()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_passes_with_the_real_log_and_state() {
    Suite::test_all(OnRocks).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_passes_in_memory_and_without_threads() {
    Suite::test_all(InMemory).await.unwrap();
}

type OneNode<S> = openraft::Raft<TypeConfig, StateMachine<S>>;

/// A single-node cluster that has elected itself.
async fn one_node<S: StateStore>(machine: StateMachine<S>) -> OneNode<S> {
    let (log, _) = LogStore::open_on(Arc::new(SimDisk::new()), LogOptions::default()).unwrap();
    let config = openraft::Config { snapshot_policy: openraft::SnapshotPolicy::Never, ..Default::default() };
    let config = Arc::new(config.validate().unwrap());
    let raft = openraft::Raft::new(1, config, Nowhere, log, machine).await.unwrap();
    raft.initialize(std::collections::BTreeMap::from([(1, crate::raft::types::NodeAddresses::default())]))
        .await
        .unwrap();
    raft.wait(Some(Duration::from_secs(10))).current_leader(1, "it elects itself").await.unwrap();
    raft
}

#[derive(Default)]
struct Counted {
    commands: AtomicU64,
    last: AtomicU64,
}

impl MachineObserver for Counted {
    fn applied(&self, batch: &AppliedBatch) {
        self.commands.fetch_add(batch.commands as u64, Ordering::SeqCst);
        self.last.store(batch.last_index, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committed_command_is_answered_once_its_rows_can_be_read_and_readers_are_woken() {
    let dir = TempDir::new().unwrap();
    let (store, feed, counted) = (MemStore::new(), ChangeFeed::new(), Arc::new(Counted::default()));
    let shelf = SnapshotShelf::open(dir.path()).unwrap();
    let machine =
        StateMachine::start(store.clone(), shelf, feed.clone(), FatalSignal::default(), counted.clone()).unwrap();
    let raft = one_node(machine).await;
    let alice = FeedTopics { users: ["user1".to_owned()].into(), ..FeedTopics::default() };
    let (mut reader, applied) = (feed.subscribe(alice), feed.applied());
    for entry in 0..3 {
        let answer = raft.client_write(support::batch(&commands(entry))).await.unwrap();
        assert_eq!(answer.data.0.len(), commands(entry).len());
        assert!(answer.data.0.iter().all(|outcome| !matches!(outcome.kind, Some(log::outcome::Kind::Rejected(_)))));
        assert!(store.applied().index() >= Some(answer.log_id.index), "the rows come before the answer");
        assert!(applied.borrow().index >= answer.log_id.index, "and so does the position up to which it was applied");
    }
    tokio::time::timeout(Duration::from_secs(10), reader.changed()).await.unwrap();
    let sum: usize = (0..3).map(|entry| commands(entry).len()).sum();
    // Ends the apply thread, which counts after it has answered.
    raft.shutdown().await.unwrap();
    drop(raft);
    support::until("all are counted", || counted.commands.load(Ordering::SeqCst) == sum as u64);
}

/// Waker of a caller, which notes how far the feed has got when it is called: on the apply thread, by the answer.
struct FeedAtAnswer {
    feed: ChangeFeed,
    found: mpsc::Sender<Position>,
}

impl Wake for FeedAtAnswer {
    fn wake(self: Arc<Self>) {
        // The answer is one call, for which there is room.
        let _ = self.found.try_send(*self.feed.applied().borrow());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_command_is_in_the_feed_before_its_caller_is_woken() {
    let dir = TempDir::new().unwrap();
    let (shelf, feed) = (SnapshotShelf::open(dir.path()).unwrap(), ChangeFeed::new());
    let machine =
        StateMachine::start(MemStore::new(), shelf, feed.clone(), FatalSignal::default(), Arc::new(())).unwrap();
    let raft = one_node(machine).await;
    let (found, mut finds) = mpsc::channel(1);
    let waker = Waker::from(Arc::new(FeedAtAnswer { feed, found }));
    let (responder, written): (ProgressResponder<TypeConfig, _>, WriteReceiver) = ProgressResponder::complete_only();
    let mut written = pin!(written);
    // Before the command is on its way: the answer cannot be there before the waker is.
    assert!(written.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    raft.client_write_ff(support::batch(&commands(0)), Some(responder)).await.unwrap();
    let at_answer = tokio::time::timeout(Duration::from_secs(10), finds.recv()).await.unwrap().unwrap();
    let answer = written.await.unwrap().unwrap();
    assert!(at_answer.index >= answer.log_id.index, "{at_answer:?}: {:?}", answer.log_id);
    raft.shutdown().await.unwrap();
}

/// A store whose commits fail from some moment on.
#[derive(Clone, Default)]
struct Failing {
    inner: MemStore,
    failed: Arc<AtomicBool>,
}

impl StateStore for Failing {
    type View = <MemStore as StateStore>::View;

    fn view(&self) -> Self::View {
        self.inner.view()
    }

    fn applied(&self) -> AppliedState {
        self.inner.applied()
    }

    fn commit(
        &self,
        changes: ChangeSet,
        last: log::LogId,
        membership: Option<AppliedMembership>,
    ) -> Result<(), StoreError> {
        if self.failed.load(Ordering::SeqCst) {
            let source = io::Error::from(io::ErrorKind::StorageFull);
            return Err(StoreError::Io { doing: "writing", path: "state".into(), source });
        }
        self.inner.commit(changes, last, membership)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }

    fn checkpoint(&self, target: &Path) -> Result<(), StoreError> {
        self.inner.checkpoint(target)
    }

    fn inspect(&self, checkpoint: &Path) -> Result<CheckpointContents, StoreError> {
        self.inner.inspect(checkpoint)
    }

    fn replace(&self, checkpoint: &Path) -> Result<(), StoreError> {
        self.inner.replace(checkpoint)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_ends_the_process_and_leaves_no_caller_waiting() {
    let dir = TempDir::new().unwrap();
    let (store, fatal) = (Failing::default(), FatalSignal::default());
    let shelf = SnapshotShelf::open(dir.path()).unwrap();
    let machine = StateMachine::start(store.clone(), shelf, ChangeFeed::new(), fatal.clone(), Arc::new(())).unwrap();
    let raft = one_node(machine).await;
    raft.client_write(support::batch(&commands(0))).await.unwrap();
    let rows = state_digest(&store.view()).unwrap();
    store.failed.store(true, Ordering::SeqCst);
    let writes = (0..8).map(|_| raft.client_write(support::batch(&commands(1))));
    let answers = tokio::time::timeout(Duration::from_secs(10), futures::future::join_all(writes)).await.unwrap();
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    let cause = tokio::time::timeout(Duration::from_secs(10), fatal.raised()).await.unwrap().text;
    assert!(cause.contains("writing state failed"), "{cause}");
    assert_eq!(state_digest(&store.view()).unwrap(), rows, "nothing of it is seen");
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_fatal_and_named() {
    for drive in [ThreadingModel::Threads, ThreadingModel::Task] {
        cannot_be_read(drive).await;
    }
}

async fn cannot_be_read(drive: ThreadingModel) {
    let dir = TempDir::new().unwrap();
    let fatal = FatalSignal::default();
    let shelf = SnapshotShelf::open(dir.path()).unwrap();
    let observer = Arc::new(());
    let machine = StateMachine::start_on(
        drive,
        KnownFormat::CURRENT,
        MemStore::new(),
        shelf,
        ChangeFeed::new(),
        fatal.clone(),
        observer,
    );
    let mut machine = machine.unwrap();
    let payload = openraft::EntryPayload::Normal(bytes::Bytes::from_static(b"\xff\xff").into());
    let entry = crate::raft::types::LogEntry { log_id: log_id(17), payload };
    let error = machine.apply(stream::iter([Ok((entry, None))])).await.unwrap_err();
    assert!(error.to_string().contains("log entry 17"), "{error}");
    assert!(fatal.cause().unwrap().contains("log entry 17"));
    let next = machine.apply(stream::iter([Ok((support::blank(18), None))])).await;
    assert!(next.is_err(), "it does not go on after it");
}

#[tokio::test]
async fn an_error_of_the_log_leaves_what_came_before_it_unapplied_or_whole() {
    let dir = TempDir::new().unwrap();
    let store = MemStore::new();
    let mut machine = machine_over(store.clone(), dir.path());
    let entries = [Ok((support::entry(1), None)), Err(io::Error::other("torn")), Ok((support::entry(2), None))];
    assert!(machine.apply(stream::iter(entries)).await.is_err());
    assert!(store.applied().index() < Some(2));
}

#[tokio::test]
async fn two_machines_that_get_the_same_entries_in_other_batches_agree() {
    let (left_dir, right_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let left = RocksStore::open(left_dir.path(), RocksSettings::default(), FatalSignal::default()).unwrap();
    let right = MemStore::new();
    let mut one = machine_over(left.clone(), left_dir.path());
    let mut other = machine_over(right.clone(), right_dir.path());
    support::feed(&mut one, 1..1500).await;
    for start in (1..1500).step_by(7) {
        support::feed(&mut other, start..(start + 7).min(1500)).await;
    }
    assert_eq!(left.applied(), right.applied());
    assert_eq!(state_digest(&left.view()).unwrap(), state_digest(&right.view()).unwrap());
    quorate_core::invariant::check_all(&left.view()).unwrap();
}

#[tokio::test]
async fn an_entry_of_a_level_that_is_not_known_ends_the_process_with_a_code_of_its_own_and_writes_nothing() {
    let dir = TempDir::new().unwrap();
    let (store, fatal) = (MemStore::new(), FatalSignal::default());
    let shelf = SnapshotShelf::open(dir.path()).unwrap();
    let (feed, observer) = (ChangeFeed::new(), Arc::new(()));
    let mut machine = StateMachine::start(store.clone(), shelf, feed, fatal.clone(), observer).unwrap();
    let batch = log::Batch { time_ms: 1, level: KnownFormat::CURRENT.level + 1, ..log::Batch::default() };
    let payload = openraft::EntryPayload::Normal(bytes::Bytes::from(prost::Message::encode_to_vec(&batch)).into());
    let entry = crate::raft::types::LogEntry { log_id: log_id(17), payload };
    let error = machine.apply(stream::iter([Ok((entry, None))])).await.unwrap_err();
    assert!(error.to_string().contains("log entry 17"), "{error}");
    let cause = fatal.raised().await;
    assert_eq!(cause.exit, crate::exit::ExitReason::TooOld);
    assert!(cause.text.contains("upgrade this pod"), "{}", cause.text);
    assert_eq!(store.applied().index(), None);
}
