//! Crashes at any call to the disk, with any part of what was not synced lost. Afterwards everything acknowledged is
//! there, and the log is as it was after some prefix of the operations.

use super::lying::{Lie, Lying};
use super::model::{Atom, Model};
use super::support::{Flushed, entry, log_id, options, submit, vote};
use crate::raft::log::sim_disk::{DiskCall, SimDisk, SplitMix64};
use crate::raft::log::{LogOptions, LogStore};
use futures::FutureExt as _;
use openraft::storage::RaftLogStorage as _;
use std::io;
use std::sync::Arc;

const SEEDS: u64 = 300;
const LIVES: u64 = 5;

/// One life of the process.
struct Life {
    log: LogStore,
    chance: SplitMix64,
    /// Model of the log after all operations so far.
    now: Model,
    atoms: Vec<Atom>,
    /// Number of acknowledged atoms.
    acknowledged: usize,
    waiting: Vec<(usize, Flushed)>,
    committed: u64,
    term: u64,
}

impl Life {
    async fn step(&mut self) -> io::Result<()> {
        match self.chance.below(20) {
            0..=11 => self.append().await,
            12 => {
                self.term += 1 + self.chance.below(2);
                let vote = vote(self.term);
                self.atom(Atom::Vote(vote));
                let result = self.log.clone().save_vote(&vote).await;
                self.settle(result)
            }
            13 => self.truncate().await,
            14 => self.purge().await,
            15 => {
                let Some(last) = self.now.last() else { return Ok(()) };
                self.committed = self.committed.max(self.chance.below(last.index + 1));
                let id = self.now.id_at(self.committed);
                self.log.clone().save_committed(Some(id)).await
            }
            16 => self.wait_for_all().await,
            _ => {
                tokio::task::yield_now().await;
                Ok(())
            }
        }
    }

    fn atom(&mut self, atom: Atom) {
        self.now.apply(&atom);
        self.atoms.push(atom);
    }

    fn settle(&mut self, result: io::Result<()>) -> io::Result<()> {
        if result.is_ok() {
            self.acknowledged = self.atoms.len();
        }
        result
    }

    async fn append(&mut self) -> io::Result<()> {
        let next = self.now.last().map_or(0, |last| last.index + 1);
        let count = 1 + self.chance.below(4);
        let size = usize::try_from(self.chance.below(1500)).expect("small");
        let entries: Vec<_> = (next..next + count).map(|index| entry(self.term, index, size)).collect();
        entries.iter().for_each(|entry| self.atom(Atom::Entry(entry.clone())));
        let flushed = submit(&self.log, entries).await;
        self.waiting.push((self.atoms.len(), flushed));
        Ok(())
    }

    async fn truncate(&mut self) -> io::Result<()> {
        let purged = self.now.purged.map_or(0, |id| id.index);
        let (least, last) = (self.committed.max(purged), self.now.last().map_or(0, |id| id.index));
        if last <= least {
            return Ok(());
        }
        let after = self.now.id_at(least + self.chance.below(last - least));
        self.atom(Atom::Truncate(Some(after)));
        self.term += 1;
        let result = self.log.clone().truncate_after(Some(after)).await;
        self.settle(result)
    }

    async fn purge(&mut self) -> io::Result<()> {
        let Some(last) = self.now.last() else { return Ok(()) };
        let least = self.now.purged.map_or(0, |id| id.index + 1);
        let upto = if self.chance.below(8) == 0 {
            // A snapshot from the leader.
            log_id(self.term, last.index + 1 + self.chance.below(50))
        } else if last.index < least {
            return Ok(());
        } else {
            self.now.id_at(least + self.chance.below(last.index - least + 1))
        };
        self.committed = self.committed.max(upto.index);
        self.atom(Atom::Purge(upto));
        let result = self.log.clone().purge(upto).await;
        self.settle(result)
    }

    async fn wait_for_all(&mut self) -> io::Result<()> {
        for (upto, flushed) in std::mem::take(&mut self.waiting) {
            flushed.await.map_err(io::Error::other)??;
            self.acknowledged = self.acknowledged.max(upto);
        }
        Ok(())
    }

    /// Counts the appends that were acknowledged at the moment of the crash.
    fn count_what_was_acknowledged(&mut self) {
        for (upto, flushed) in std::mem::take(&mut self.waiting) {
            if matches!(flushed.now_or_never(), Some(Ok(Ok(())))) {
                self.acknowledged = self.acknowledged.max(upto);
            }
        }
    }
}

/// Knowledge carried from one life to the next.
#[derive(Default)]
struct Known {
    node_id: Option<u64>,
    model: Model,
    atoms: Vec<Atom>,
    acknowledged: usize,
    committed: u64,
}

impl Known {
    /// Checks that the log equals the state after some prefix of the atoms, which includes all acknowledged ones.
    fn check(&self, found: &Model) {
        let mut model = self.model.clone();
        let mut matches = Vec::new();
        for count in 0..=self.atoms.len() {
            if model == *found {
                matches.push(count);
            }
            if let Some(atom) = self.atoms.get(count) {
                model.apply(atom);
            }
        }
        let highest = matches.last().copied();
        assert!(
            highest >= Some(self.acknowledged),
            "acknowledged {} of {} atoms, found a log that equals the states after {matches:?}: {found:?}",
            self.acknowledged,
            self.atoms.len(),
        );
    }
}

fn cut_power_or_break(disk: &SimDisk, chance: &mut SplitMix64) {
    let after = chance.below(120);
    match chance.below(8) {
        0 => disk.fail(DiskCall::Sync, after / 4, io::ErrorKind::Other),
        1 => disk.fail(DiskCall::Write, after / 4, io::ErrorKind::StorageFull),
        2 => disk.fail(DiskCall::Resize, after / 32, io::ErrorKind::StorageFull),
        3 => disk.fail(DiskCall::SyncNames, after / 32, io::ErrorKind::Other),
        _ => disk.power_off_after(after),
    }
}

async fn live(disk: &SimDisk, lie: Lie, seed: u64, known: &mut Known) {
    let mut chance = SplitMix64(seed);
    let salt = chance.below(u64::MAX);
    let entropy = Arc::new(std::sync::Mutex::new(SplitMix64(salt)));
    let entropy = Arc::new(move || entropy.lock().expect("no panic").below(u64::MAX));
    // Small batches, so that the queue holds more than one.
    let options = LogOptions { entropy, batch_bytes: 3000, ..options() };
    let opened = LogStore::open_on(Arc::new(Lying { disk: disk.clone(), lie }), options.clone());
    let (log, _) = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let node_id = log.identity().node_id;
    assert_eq!(*known.node_id.get_or_insert(node_id), node_id);
    let found = Model::of(&log).await;
    known.check(&found);
    let committed = log.clone().read_committed().await.expect("reads").map_or(0, |id| id.index);
    assert!(committed <= known.committed && Some(committed) <= found.last().map(|id| id.index).or(Some(0)));

    cut_power_or_break(disk, &mut chance);
    known.committed = committed.max(found.purged.map_or(0, |id| id.index));
    let (now, term) = (found.clone(), found.vote.map_or(1, |vote| vote.leader_id.term));
    let term = term.max(found.last().map_or(1, |id| id.leader_id.term)) + 1;
    let mut life = Life {
        log,
        chance,
        now,
        atoms: Vec::new(),
        acknowledged: 0,
        waiting: Vec::new(),
        committed: known.committed,
        term,
    };
    for _ in 0..120 {
        if life.step().await.is_err() {
            break;
        }
    }
    life.count_what_was_acknowledged();
    (known.model, known.atoms, known.acknowledged) = (found, life.atoms, life.acknowledged);
    known.committed = life.committed;
}

#[test]
fn a_crash_at_any_point_loses_nothing_acknowledged_and_leaves_a_first_part_of_the_operations() {
    for seed in 0..SEEDS {
        lives(seed, Lie::None);
    }
}

/// Runs several lives of one log, each ended by a crash.
fn lives(seed: u64, lie: Lie) {
    let mut disk = SimDisk::new();
    let mut known = Known::default();
    for life in 0..LIVES {
        // Each life has its own runtime: dropping it ends the writer between two steps, as a kill does.
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(live(&disk, lie, seed * LIVES + life, &mut known));
        let survivor = if (seed + life).is_multiple_of(4) {
            disk.after_kill()
        } else {
            disk.after_power_loss(seed * LIVES + life)
        };
        drop(runtime);
        disk = survivor;
    }
}

#[test]
fn a_disk_that_does_less_than_it_says_is_found_out_by_what_is_missing() {
    for lie in Lie::ALL {
        let told = |seed| {
            let panic = std::panic::catch_unwind(|| lives(seed, lie)).err()?;
            panic.downcast_ref::<String>().filter(|said| said.starts_with("acknowledged ")).cloned()
        };
        let found = (0..SEEDS).find_map(|seed| told(seed).map(|said| (seed, said)));
        let (seed, said) = found.unwrap_or_else(|| panic!("{lie:?}: nothing that was acknowledged was missed"));
        println!("{lie:?}, seed {seed}: {}", said.split(", found").next().unwrap_or_default());
    }
}

#[tokio::test]
async fn power_lost_while_opening_is_no_worse_than_before() {
    let disk = SimDisk::new();
    let (log, _) = super::support::reopen(&disk);
    super::support::fill(&log, 1, 0, 30, 700).await;
    let _unfinished = submit(&log, (30..40).map(|index| entry(1, index, 300)).collect()).await;
    disk.power_off_after(1);
    while disk.counts().writes < 31 {
        tokio::task::yield_now().await;
    }
    for seed in 0..100 {
        let mut disk = disk.after_power_loss(seed);
        for calls in 0..6 {
            disk.power_off_after(calls);
            let _ = super::support::open(&disk);
            disk = disk.after_power_loss(seed);
        }
        let (log, _) = super::support::reopen(&disk);
        let entries = super::support::all(&log).await;
        assert!(entries.len() >= 30, "seed {seed}: {}", entries.len());
        assert!(entries.iter().zip(0..).all(|(entry, index)| entry.log_id.index == index));
    }
}
