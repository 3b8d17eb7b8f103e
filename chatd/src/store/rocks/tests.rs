use super::*;
use crate::store::{MemStore, cluster_row};
use quorate_core::invariant::state_digest;
use quorate_core::proto::store as rows;
use quorate_core::table::{
    self, Overlay, ScanControl, ScanDirection, ScanRange, Table, TableRead, TableWrite as _, key,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

mod faults;
mod figures;
mod space;

/// Returns settings so small that the data of a test goes through flushes and compactions.
fn settings() -> RocksSettings {
    RocksSettings { cache_bytes: 4 << 20, write_buffer_bytes: 256 << 10, ..RocksSettings::default() }
}

impl RocksStore {
    fn flushes(&self) -> (u64, u64) {
        super::figures::flushes(&self.core)
    }
}

fn open(dir: &Path) -> Result<RocksStore, StoreError> {
    RocksStore::open(dir, settings(), FatalSignal::default())
}

fn log_id(index: u64) -> log::LogId {
    log::LogId { term: 2, node_id: 7, index }
}

fn members(index: u64) -> AppliedMembership {
    let members = log::Membership { voter_sets: vec![log::VoterSet { node_ids: vec![index] }], nodes: vec![] };
    AppliedMembership { log_id: Some(log_id(index)), members }
}

/// Returns a key out of few, so that rows are overwritten and removed, with few rooms, so that scans cross them.
fn random_key(random: &mut StdRng, table: Table) -> Vec<u8> {
    let room = random.random_range(1_u64..6).to_be_bytes();
    let tail = random.random_range(0_u32..200).to_be_bytes();
    match table {
        Table::Room | Table::PublicRoom => room.to_vec(),
        _ => [room.as_slice(), tail.as_slice()].concat(),
    }
}

fn random_table(random: &mut StdRng) -> Table {
    // `Meta` holds a row that must decode, so it gets no random ones.
    let tables = &Table::ALL[1..];
    tables[random.random_range(0..tables.len())]
}

fn random_changes(random: &mut StdRng, view: &dyn TableRead, index: u64) -> ChangeSet {
    let mut overlay = Overlay::new(view);
    for _ in 0..random.random_range(1..60) {
        let table = random_table(random);
        let key = random_key(random, table);
        if random.random_bool(0.2) {
            overlay.delete(table, key);
        } else {
            let len = random.random_range(0..400);
            let value: Vec<u8> = (0..len).map(|_| random.random()).collect();
            overlay.put(table, key, value.into());
        }
    }
    let row = rows::Cluster { cluster_id: "c1".into(), index, ..rows::Cluster::default() };
    overlay.put(Table::Meta, key::CLUSTER.to_vec(), table::encode_value(&row));
    overlay.into_changes()
}

/// Commits the entries of a range, the same for the same seed and index.
fn fill(store: &impl StateStore, seed: u64, entries: std::ops::Range<u64>) {
    for index in entries {
        let mut random = StdRng::seed_from_u64(seed ^ index);
        let changes = random_changes(&mut random, &store.view(), index);
        let membership = index.is_multiple_of(50).then(|| members(index));
        store.commit(changes, log_id(index), membership).unwrap();
    }
}

fn all(
    view: &dyn TableRead,
    table: Table,
    from: &[u8],
    to: &[u8],
    direction: ScanDirection,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    view.scan(&ScanRange::between(table, from, to).in_direction(direction), &mut |(key, value)| {
        found.push((key.to_vec(), value.to_vec()));
        Ok(if found.len() == 50 { ScanControl::Stop } else { ScanControl::More })
    })
    .unwrap();
    found
}

/// Returns the only live directory.
fn live_dir(root: &Path) -> PathBuf {
    root.join(fs::read_to_string(root.join("CURRENT")).unwrap().trim_end())
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Returns a copy of what a kill at this moment would leave. The files that name the tables are copied before the
/// tables, and no table that they name vanishes during the copy. Any other file may.
fn killed(store: &RocksStore, root: &Path) -> TempDir {
    let left = TempDir::new().unwrap();
    let live = store.core.live();
    live.db().disable_file_deletions().unwrap();
    let dir = live_dir(root);
    let target = left.path().join(dir.file_name().unwrap());
    fs::create_dir(&target).unwrap();
    fs::copy(root.join("CURRENT"), left.path().join("CURRENT")).unwrap();
    for tables in [false, true] {
        let of_this_kind = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sst") == tables;
        let paths = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        for path in paths.filter(of_this_kind) {
            let copied = fs::copy(&path, target.join(path.file_name().unwrap()));
            assert!(copied.is_ok() || !path.exists(), "{copied:?}");
        }
    }
    live.db().enable_file_deletions().unwrap();
    left
}

#[test]
fn what_is_not_flushed_is_a_part_of_the_memory_that_is_given() {
    assert_eq!(RocksSettings::with_cache(256), RocksSettings::default());
    let small = RocksSettings::with_cache(16);
    assert_eq!((small.cache_bytes, small.write_buffer_bytes), (16 << 20, 4 << 20));
    assert_eq!(
        RocksSettings::with_cache(4096).write_buffer_bytes,
        RocksSettings::default().write_buffer_bytes,
        "a crash costs no more"
    );
}

#[test]
fn it_answers_as_the_model_does_on_random_histories() {
    let dir = TempDir::new().unwrap();
    let (model, store) = (MemStore::new(), open(dir.path()).unwrap());
    let mut random = StdRng::seed_from_u64(99);
    for round in 0..20 {
        fill(&model, 1, round * 20..(round + 1) * 20);
        fill(&store, 1, round * 20..(round + 1) * 20);
        if round % 5 == 2 {
            store.flush().unwrap();
        }
        let (left, right) = (model.view(), store.view());
        assert_eq!(state_digest(&left).unwrap(), state_digest(&right).unwrap(), "round {round}");
        for _ in 0..200 {
            let table = random_table(&mut random);
            let (a, b) = (random_key(&mut random, table), random_key(&mut random, table));
            assert_eq!(left.get(table, &a).unwrap(), right.get(table, &a).unwrap());
            // Within a room, across rooms, a whole room, to the end of the table.
            let ranges = [
                (a.clone(), [&a[..8], &[0xff; 9]].concat()),
                (a.clone(), b),
                (a[..8].to_vec(), key::after_prefix(&a[..8])),
                (a, vec![]),
            ];
            for (from, to) in ranges {
                for direction in [ScanDirection::Forward, ScanDirection::Backward] {
                    let (expected, found) =
                        (all(&left, table, &from, &to, direction), all(&right, table, &from, &to, direction));
                    assert_eq!(expected, found, "{table:?} {from:?}..{to:?} {direction:?}");
                }
            }
        }
    }
    assert_eq!(model.applied(), store.applied());
}

#[test]
fn a_view_does_not_change() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    fill(&store, 1, 1..50);
    let view = store.view();
    let before = state_digest(&view).unwrap();
    fill(&store, 1, 50..300);
    store.flush().unwrap();
    assert_eq!(state_digest(&view).unwrap(), before);
    assert_ne!(state_digest(&store.view()).unwrap(), before);
}

#[test]
fn a_closed_state_is_found_again_as_it_was() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    fill(&store, 1, 1..120);
    let (applied, rows) = (store.applied(), state_digest(&store.view()).unwrap());
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!((store.applied(), state_digest(&store.view()).unwrap()), (applied.clone(), rows));
    assert_eq!((applied.index(), applied.membership.log_id), (Some(119), Some(log_id(100))));
    assert_eq!(cluster_row(&store.view()).unwrap().unwrap().cluster_id, "c1");
}

/// The directory at any moment is what a killed process would leave: memtables are lost, and rows and applied id must
/// still be of one commit.
#[test]
fn a_killed_process_leaves_the_state_of_exactly_one_commit() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    let mut lost_some = false;
    for round in 0..12 {
        let end = (round + 1) * 60;
        fill(&store, 5, (round * 60).max(1)..end);
        if round % 4 == 1 {
            store.flush().unwrap();
        }
        let left = killed(&store, dir.path());
        let found = open(left.path()).unwrap();
        let applied = found.applied().index();
        assert!(applied < Some(end));
        lost_some |= applied < Some(end - 1);
        // Re-applying from there restores what was lost.
        let model = MemStore::new();
        fill(&model, 5, 1..applied.map_or(1, |index| index + 1));
        assert_eq!(
            state_digest(&found.view()).unwrap(),
            state_digest(&model.view()).unwrap(),
            "round {round}, at {applied:?}"
        );
        fill(&found, 5, applied.map_or(1, |index| index + 1)..end);
        assert_eq!(state_digest(&found.view()).unwrap(), state_digest(&store.view()).unwrap());
        assert_eq!(found.applied(), store.applied());
    }
    assert!(lost_some, "no round tested a loss");
}

#[test]
fn a_checkpoint_made_during_commits_is_of_exactly_one_of_them() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    fill(&store, 3, 1..100);
    let target = dir.path().join("checkpoint");
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| fill(&store, 3, 100..600));
        store.checkpoint(&target).unwrap();
        writer.join().unwrap();
    });
    let names = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(&target);
    let contents = store.inspect(&target).unwrap();
    assert_eq!(names(&target), before, "looking changes nothing");
    let index = contents.applied.index().unwrap();
    assert!((99..600).contains(&index) && contents.cluster_id.as_deref() == Some("c1"));
    let model = MemStore::new();
    fill(&model, 3, 1..index + 1);
    store.replace(&target).unwrap();
    assert_eq!(state_digest(&store.view()).unwrap(), state_digest(&model.view()).unwrap());
}

#[test]
fn a_replaced_state_keeps_old_views_and_then_frees_their_files() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    fill(&store, 1, 1..30);
    let target = dir.path().join("checkpoint");
    store.checkpoint(&target).unwrap();
    let then = state_digest(&store.view()).unwrap();
    fill(&store, 1, 30..200);
    let (old_dir, view) = (live_dir(dir.path()), store.view());
    let now = state_digest(&view).unwrap();
    store.replace(&target).unwrap();
    assert_eq!(state_digest(&view).unwrap(), now);
    assert_eq!((state_digest(&store.view()).unwrap(), store.applied().index()), (then, Some(29)));
    assert!(old_dir.exists());
    drop(view);
    assert!(!old_dir.exists(), "nothing uses it any more");
    // The state can be written to, and the checkpoint can be used again because nothing has written into it.
    fill(&store, 1, 30..60);
    store.replace(&target).unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!((state_digest(&store.view()).unwrap(), store.applied().index()), (then, Some(29)));
}

#[test]
fn a_crash_while_a_state_is_replaced_leaves_the_old_or_the_new_one() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    fill(&store, 1, 1..30);
    let target = dir.path().join("checkpoint");
    store.checkpoint(&target).unwrap();
    fill(&store, 1, 30..40);
    drop(store);
    let engine = RocksEngine::new(settings());
    let reopened = |step: &str, expected: u64| {
        let left = TempDir::new().unwrap();
        copy_dir(dir.path(), left.path());
        let store = open(left.path()).unwrap();
        assert_eq!(store.applied().index(), Some(expected), "{step}");
        let live = |name: &str| name.starts_with("live-");
        let names = fs::read_dir(left.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| live(name)).count(), 1, "{step}: what was half done is removed");
    };
    let (layout, old) = StateLayout::open(dir.path(), &engine).unwrap();
    let next = layout.prepare_next(&target).unwrap();
    // Half filled.
    let half = next.with_file_name("live-000003.tmp");
    copy_dir(&next, &half);
    fs::remove_file(half.join("CURRENT")).unwrap();
    reopened("a half-filled directory", 39);
    fs::remove_dir_all(&half).unwrap();
    reopened("a filled directory that is not current", 39);
    drop(LiveDatabase::open(&next, &engine, live::OpenMode::Existing).unwrap());
    reopened("one that was opened", 39);
    fs::write(dir.path().join("CURRENT.tmp"), "live-0").unwrap();
    reopened("a half-written name", 39);
    layout.make_current(&next).unwrap();
    reopened("one that is current, beside the old one", 29);
    fs::remove_dir_all(old).unwrap();
    reopened("one that is alone", 29);
}

#[test]
fn a_damaged_name_of_the_live_directory_is_refused_with_its_path() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()).unwrap());
    for content in ["", "live-", "live-000001", "../x\n", "live-000009\n", "\u{0}"] {
        fs::write(dir.path().join("CURRENT"), content).unwrap();
        let error = open(dir.path()).err().unwrap().to_string();
        assert!(error.contains(&*dir.path().join("CURRENT").to_string_lossy()), "{content:?}: {error}");
        assert!(error.contains("damaged"), "{content:?}: {error}");
    }
}

#[test]
fn a_lost_name_is_refused_unless_the_state_is_empty() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()).unwrap());
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    let store = open(dir.path()).unwrap();
    fill(&store, 1, 1..2);
    drop(store);
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_missing_or_damaged_table_file_is_refused_with_its_path() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    fill(&store, 1, 1..100);
    drop(store);
    let live = live_dir(dir.path());
    let is_table = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sst");
    let table = fs::read_dir(&live).unwrap().map(|entry| entry.unwrap().path()).find(is_table).unwrap();
    let content = fs::read(&table).unwrap();
    fs::write(&table, &content[..content.len() / 2]).unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == live), "{error}");
    fs::remove_file(&table).unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == live), "{error}");
    assert!(error.to_string().contains(&*live.to_string_lossy()), "{error}");
}

#[test]
fn a_damaged_block_fails_the_read_and_names_its_file() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    fill(&store, 1, 1..100);
    drop(store);
    let live = live_dir(dir.path());
    let tables = fs::read_dir(&live).unwrap().map(|entry| entry.unwrap().path());
    for table in tables.filter(|path| path.extension().is_some_and(|ending| ending == "sst")) {
        let mut content = fs::read(&table).unwrap();
        // The first block holds data.
        content[10] ^= 0xff;
        fs::write(&table, content).unwrap();
    }
    let refused = match open(dir.path()) {
        // The damage hit the row of the applied id.
        Err(error) => error.to_string(),
        Ok(store) => state_digest(&store.view()).map_err(|error| format!("{error:?}")).unwrap_err(),
    };
    assert!(refused.contains(".sst"), "{refused}");
}

#[test]
fn a_state_that_another_process_has_open_is_not_called_damaged() {
    let dir = TempDir::new().unwrap();
    let _first = open(dir.path()).unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(matches!(error, StoreError::Engine { doing: "opening", .. }), "{error}");
    assert!(error.to_string().contains("lock"), "{error}");
}

#[test]
fn a_state_of_a_newer_format_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()).unwrap());
    let engine = RocksEngine::new(settings());
    let live = LiveDatabase::open(&live_dir(dir.path()), &engine, live::OpenMode::Existing).unwrap();
    let own = live.family(crate::store::columns::DbColumn::Own).unwrap();
    live.db().put_cf(own, crate::store::row::FORMAT, 9_u32.to_be_bytes()).unwrap();
    drop(live);
    assert!(matches!(open(dir.path()), Err(StoreError::Newer { found: 9, .. })));
}

#[test]
fn the_upkeep_flushes_what_a_crash_would_lose() {
    let dir = TempDir::new().unwrap();
    let settings = RocksSettings { max_replay_entries: 10, ..settings() };
    let store = RocksStore::open(dir.path(), settings, FatalSignal::default()).unwrap();
    fill(&store, 1, 1..30);
    let started = std::time::Instant::now();
    let mut found = None;
    while found != Some(29) {
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "nothing was flushed");
        found = open(killed(&store, dir.path()).path()).unwrap().applied().index();
    }
}
