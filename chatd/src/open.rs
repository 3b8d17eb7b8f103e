//! Opening of the volume: log and state, and the check that they belong together and to this server.

use crate::config::Config;
use crate::exit::{ExitReason, ProcessFailure};
use crate::feed::ChangeFeed;
use crate::metrics::ChatMetrics;
use crate::raft::log::{LogError, LogOptions, LogStore};
use crate::raft::machine::{StartFacts, StateMachine, start_check};
use crate::raft::snapshot::SnapshotShelf;
use crate::raft::volume::VolumeSizes;
use crate::store::{self, FatalSignal, RocksSettings, RocksStore, StateStore, StoreError};
use quorate_core::apply::{KnownFormat, level_in_force};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Opened data directory of a pod.
pub struct OpenedVolume {
    /// Raft log, which also holds the node's identity.
    pub log: LogStore,
    /// State that the log is applied to.
    pub store: RocksStore,
    /// Snapshots on the volume.
    pub shelf: SnapshotShelf,
    /// State machine, which applies the log to the state.
    pub machine: StateMachine<RocksStore>,
}

/// Opens log and state. Blocks, for seconds if the log is large.
///
/// # Errors
/// Returns a [`ProcessFailure`] for people: damage, a volume of another cluster, a directory that cannot be used.
pub fn open_volume(
    config: &Config,
    feed: &ChangeFeed,
    fatal: &FatalSignal,
    metrics: &ChatMetrics,
) -> Result<OpenedVolume, ProcessFailure> {
    let log_dir = config.data_dir.join("log");
    let state_dir = config.data_dir.join("state");
    for dir in [&log_dir, &state_dir] {
        make_directory(dir)?;
    }
    let sizes = volume_sizes(&config.data_dir)?;
    let options =
        LogOptions { observer: Arc::new(metrics.clone()), segment_bytes: sizes.segment, ..LogOptions::default() };
    // The log comes first: its lock keeps a second process away from the state, too.
    let (log, _) = LogStore::open(&log_dir, options).map_err(|error| log_failure(&error, &log_dir))?;
    let settings = RocksSettings::with_cache(config.state_cache_mebibytes).on_volume(sizes);
    let store = RocksStore::open(&state_dir, settings, fatal.clone()).map_err(|e| store_failure(&e))?;
    let shelf = SnapshotShelf::open(&state_dir).map_err(|e| ProcessFailure::caused(ExitReason::DataDir, &e))?;
    check_ownership(config, &log, &store, &shelf)?;
    let machine =
        StateMachine::start(store.clone(), shelf.clone(), feed.clone(), fatal.clone(), Arc::new(metrics.clone()))
            .map_err(|error| ProcessFailure::caused(ExitReason::Damaged, &error))?;
    Ok(OpenedVolume { log, store, shelf, machine })
}

/// Returns the sizes that suit the volume. Fails on a volume that is all but full, because opening writes and would
/// fail half way.
fn volume_sizes(dir: &Path) -> Result<VolumeSizes, ProcessFailure> {
    // A file system that does not report its size imposes no limits.
    let Ok(space) = fs4::statvfs(dir) else { return Ok(VolumeSizes::of(0)) };
    let free = space.available_space();
    let total = space.total_space();
    let needed = VolumeSizes::to_start(total);
    if free < needed {
        let sentence = format!(
            "no space left on the volume of {} (dataDir): {free} of {total} bytes are free, {needed} are needed to start. \
             Enlarge the volume, or delete files on it that are not chatd's; the pod then starts by itself",
            dir.display()
        );
        return Err(ProcessFailure::new(ExitReason::DataDir, sentence));
    }
    Ok(VolumeSizes::of(total))
}

fn make_directory(dir: &Path) -> Result<(), ProcessFailure> {
    fs::create_dir_all(dir).map_err(|error| {
        ProcessFailure::new(
            ExitReason::DataDir,
            format!("cannot create the directory {} (dataDir): {error}", dir.display()),
        )
    })
}

fn log_failure(error: &LogError, dir: &Path) -> ProcessFailure {
    let exit = match error {
        LogError::Damaged { .. } | LogError::Version { .. } | LogError::Hole { .. } => ExitReason::Damaged,
        LogError::ForeignCluster { .. } => ExitReason::WrongCluster,
        LogError::Io { .. }
        | LogError::NoSpace { .. }
        | LogError::Busy { .. }
        | LogError::TooLarge { .. }
        | LogError::Closed => ExitReason::DataDir,
    };
    ProcessFailure::new(exit, format!("cannot open the log in {}: {error}", dir.display()))
}

fn store_failure(error: &StoreError) -> ProcessFailure {
    let exit = match error {
        StoreError::Damaged { .. } | StoreError::Newer { .. } | StoreError::Read(_) => ExitReason::Damaged,
        StoreError::Engine { .. } | StoreError::Io { .. } | StoreError::Worker => ExitReason::DataDir,
    };
    ProcessFailure::caused(exit, error)
}

fn check_ownership(
    config: &Config,
    log: &LogStore,
    store: &RocksStore,
    shelf: &SnapshotShelf,
) -> Result<(), ProcessFailure> {
    let cluster =
        store::cluster_row(&store.view()).map_err(|error| ProcessFailure::caused(ExitReason::Damaged, &error))?;
    if let Some(cluster) = cluster.as_ref().filter(|cluster| cluster.server_name != config.server_name) {
        let sentence = format!(
            "the data under {} (dataDir) belongs to server {}, but the configuration says {} (serverName): a server \
             cannot be renamed",
            config.data_dir.display(),
            cluster.server_name,
            config.server_name
        );
        return Err(ProcessFailure::new(ExitReason::WrongCluster, sentence));
    }
    let identity = log.identity();
    let facts = StartFacts {
        log_cluster: identity.cluster_id.as_deref(),
        state_cluster: cluster.as_ref().map(|cluster| cluster.cluster_id.as_str()),
        purged: log.purged(),
        applied: store.applied().index(),
        snapshot: shelf.newest_applied(),
        level: cluster.as_ref().map_or(0, level_in_force),
        known_level: KnownFormat::CURRENT.level,
    };
    start_check(&facts).map_err(|refused| {
        let exit = match refused {
            crate::raft::machine::StartRefused::Foreign { .. } => ExitReason::WrongCluster,
            crate::raft::machine::StartRefused::TooOld { .. } => ExitReason::TooOld,
            crate::raft::machine::StartRefused::Hole { .. } => ExitReason::Damaged,
        };
        ProcessFailure::new(exit, format!("{}: {refused}", config.data_dir.display()))
    })
}
