//! A disk in memory that fails and loses power on command. Tests and the simulation must lose what was not fsynced (a
//! killed process alone does not), and must lose the same for the same seed.

use super::disk::{DirLock, LogDisk, LogFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Unit, in bytes, that a disk writes completely or not at all.
const SECTOR: usize = 512;

/// Kind of call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskCall {
    /// Creation of a file.
    Create,
    /// Write to a file.
    Write,
    /// Change of the length of a file, or allocation.
    Resize,
    /// Sync of a file: fsync or fdatasync.
    Sync,
    /// Rename or removal of a file.
    Name,
    /// Sync of the directory.
    SyncNames,
}

/// Numbers of calls so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Number of writes to files.
    pub writes: u64,
    /// Number of syncs of files.
    pub syncs: u64,
    /// Number of calls of all kinds that change something or make it durable.
    pub changes: u64,
}

/// The simulated disk; clones share its state.
#[derive(Clone, Default)]
pub struct SimDisk {
    world: Arc<Mutex<DiskState>>,
}

#[derive(Default)]
struct DiskState {
    files: BTreeMap<u64, FileContents>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Names after each change since the directory was synced.
    pending_names: Vec<BTreeMap<String, u64>>,
    counts: CallCounts,
    power_off_at: Option<u64>,
    faults: Vec<InjectedFault>,
    locked: bool,
}

struct InjectedFault {
    call: DiskCall,
    skip: u64,
    kind: io::ErrorKind,
}

#[derive(Clone, Default)]
struct FileContents {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<FileChange>,
}

#[derive(Clone)]
enum FileChange {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl SimDisk {
    /// Creates an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns the power off after this many more calls that change something: the last one is cut short, and all later
    /// ones fail.
    pub fn power_off_after(&self, calls: u64) {
        let mut world = self.world();
        world.power_off_at = Some(world.counts.changes.saturating_add(calls));
    }

    /// Makes one call fail, after `skip` calls of its kind that succeed. A failed sync drops what it should have
    /// synced, as on Linux: the data reads as if it were on disk, and a second sync succeeds.
    pub fn fail(&self, call: DiskCall, skip: u64, kind: io::ErrorKind) {
        self.world().faults.push(InjectedFault { call, skip, kind });
    }

    /// Returns the numbers of calls so far.
    #[must_use]
    pub fn counts(&self) -> CallCounts {
        self.world().counts
    }

    /// Returns the disk as it is found after a loss of power at this moment. Of the data that was not synced, any
    /// subset of the sectors is there, and of the changes of names, any prefix. The same seed loses the same.
    #[must_use]
    pub fn after_power_loss(&self, seed: u64) -> Self {
        let world = self.world();
        let mut chance = SplitMix64(seed);
        let kept = chance.below(world.pending_names.len() as u64 + 1);
        let names = kept
            .checked_sub(1)
            .and_then(|last| world.pending_names.get(usize::try_from(last).ok()?))
            .unwrap_or(&world.durable_names)
            .clone();
        let files = world.files.iter().map(|(&id, contents)| (id, contents.after_power_loss(&mut chance))).collect();
        let found = DiskState { files, durable_names: names.clone(), names, ..DiskState::default() };
        Self { world: Arc::new(Mutex::new(found)) }
    }

    /// Returns the disk as the next process finds it after this one was killed: what was written can be read, though it
    /// is no more durable than before. Open files still belong to the old disk.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let world = self.world();
        let found = DiskState {
            files: world.files.clone(),
            names: world.names.clone(),
            durable_names: world.durable_names.clone(),
            pending_names: world.pending_names.clone(),
            ..DiskState::default()
        };
        Self { world: Arc::new(Mutex::new(found)) }
    }

    /// Returns the bytes of a file; `None` if it does not exist.
    #[must_use]
    pub fn bytes_of(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        Some(world.files.get(world.names.get(name)?)?.now.clone())
    }

    /// Damages a file: changes its bytes durably, without a call to the disk.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let Some(id) = world.names.get(name).copied() else { return };
        if let Some(contents) = world.files.get_mut(&id) {
            change(&mut contents.now);
            contents.durable.clone_from(&contents.now);
            contents.pending.clear();
        }
    }

    fn world(&self) -> MutexGuard<'_, DiskState> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskState {
    /// Counts a call, and returns its error if it fails, with `true` if it still has its effect.
    fn attempt(&mut self, call: DiskCall) -> Result<(), (io::Error, bool)> {
        let off = |at| self.counts.changes >= at;
        if self.power_off_at.is_some_and(off) {
            return Err((io::Error::other("the power is off"), false));
        }
        self.counts.changes = self.counts.changes.saturating_add(1);
        match call {
            DiskCall::Write => self.counts.writes = self.counts.writes.saturating_add(1),
            DiskCall::Sync => self.counts.syncs = self.counts.syncs.saturating_add(1),
            _ => {}
        }
        if self.power_off_at == Some(self.counts.changes) {
            return Err((io::Error::other("the power goes off"), call == DiskCall::Write));
        }
        for (place, fault) in self.faults.iter_mut().enumerate().filter(|(_, fault)| fault.call == call) {
            if fault.skip == 0 {
                let fault = self.faults.remove(place);
                return Err((fault.kind.into(), call == DiskCall::Sync));
            }
            fault.skip = fault.skip.saturating_sub(1);
        }
        Ok(())
    }

    fn change_names(&mut self, call: DiskCall, change: impl FnOnce(&mut BTreeMap<String, u64>)) -> io::Result<()> {
        self.attempt(call).map_err(|(error, _)| error)?;
        change(&mut self.names);
        self.pending_names.push(self.names.clone());
        Ok(())
    }
}

impl FileContents {
    fn apply(bytes: &mut Vec<u8>, change: &FileChange) {
        match change {
            FileChange::Len(len) => bytes.resize(*len, 0),
            FileChange::Write(offset, written) => {
                let end = offset.saturating_add(written.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                if let Some(place) = bytes.get_mut(*offset..end) {
                    place.copy_from_slice(written);
                }
            }
        }
    }

    fn change(&mut self, change: FileChange) {
        Self::apply(&mut self.now, &change);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            Self::apply(&mut self.durable, &change);
        }
    }

    fn after_power_loss(&self, chance: &mut SplitMix64) -> Self {
        let mut found = self.durable.clone();
        // Keeps nothing, everything, or about half of it.
        let luck = chance.below(3);
        let lucky = |chance: &mut SplitMix64| luck == 1 || (luck == 2 && chance.below(2) == 0);
        for change in &self.pending {
            match change {
                FileChange::Len(_) => {
                    if lucky(chance) {
                        Self::apply(&mut found, change);
                    }
                }
                FileChange::Write(offset, bytes) => {
                    let mut at = *offset;
                    let mut rest = bytes.as_slice();
                    while !rest.is_empty() {
                        let sector = SECTOR.saturating_sub(at % SECTOR).min(rest.len());
                        let (now, later) = rest.split_at(sector);
                        if lucky(chance) {
                            Self::apply(&mut found, &FileChange::Write(at, now.to_vec()));
                        }
                        (at, rest) = (at.saturating_add(sector), later);
                    }
                }
            }
        }
        Self { now: found.clone(), durable: found, pending: Vec::new() }
    }
}

/// A splitmix64 generator: good enough to choose sectors, and the same on every machine.
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

struct SimFile {
    disk: SimDisk,
    id: u64,
}

impl SimFile {
    fn with<T>(&self, call: DiskCall, effect: impl FnOnce(&mut FileContents, bool) -> T) -> io::Result<T> {
        let mut world = self.disk.world();
        let attempt = world.attempt(call);
        let contents = world.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        match attempt {
            Ok(()) => Ok(effect(contents, true)),
            Err((error, even_so)) => {
                if even_so {
                    effect(contents, false);
                }
                Err(error)
            }
        }
    }
}

impl LogFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.world().files.get(&self.id).map_or(0, |contents| contents.now.len() as u64))
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let world = self.disk.world();
        let contents = world.files.get(&self.id).ok_or(io::ErrorKind::NotFound)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = contents.now.get(start..start.saturating_add(into.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.with(DiskCall::Write, |contents, _| contents.change(FileChange::Write(offset, bytes.to_vec())))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.with(DiskCall::Resize, |contents, _| contents.change(FileChange::Len(len)))
    }

    fn allocate(&self, _from: u64, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.with(DiskCall::Resize, |contents, _| {
            if contents.now.len() < len {
                contents.change(FileChange::Len(len));
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(
            DiskCall::Sync,
            |contents, succeeds| if succeeds { contents.sync() } else { contents.pending.clear() },
        )
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

struct SimLock(SimDisk);

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.world().locked = false;
    }
}

impl LogDisk for SimDisk {
    fn name(&self) -> String {
        "simulated disk".to_owned()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.world().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let mut world = self.world();
        let id = world.files.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        world.change_names(DiskCall::Create, |names| {
            names.insert(name.to_owned(), id);
        })?;
        world.files.insert(id, FileContents::default());
        Ok(Arc::new(SimFile { disk: self.clone(), id }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let id = *self.world().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        let id = *world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        world.change_names(DiskCall::Name, |names| {
            names.remove(from);
            names.insert(to.to_owned(), id);
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.world().change_names(DiskCall::Name, |names| {
            names.remove(name);
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world();
        world.attempt(DiskCall::SyncNames).map_err(|(error, _)| error)?;
        world.pending_names.clear();
        world.durable_names = world.names.clone();
        Ok(())
    }

    fn try_lock(&self) -> io::Result<Option<Box<dyn DirLock>>> {
        let mut world = self.world();
        if std::mem::replace(&mut world.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock(self.clone()))))
    }
}
