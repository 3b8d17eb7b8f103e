//! Opening of the volume: log and state, and the check that they belong together and to this server.

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::raft::log::{LogError, LogStore, Options};
use crate::raft::machine::{Machine, StartFacts, start_check};
use crate::raft::snapshot::Shelf;
use crate::raft::volume::VolumeSizes;
use crate::store::{self, Fatal, RocksStore, Settings, StateStore, StoreError};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Opened data directory of a pod.
pub struct Volume {
    /// Raft log, which also holds the node's identity.
    pub log: LogStore,
    /// State that the log is applied to.
    pub store: RocksStore,
    /// Snapshots on the volume.
    pub shelf: Shelf,
    /// State machine, which applies the log to the state.
    pub machine: Machine<RocksStore>,
}

/// Opens log and state. Blocks, for seconds if the log is large.
///
/// # Errors
/// Returns a [`Failure`] for people: damage, a volume of another cluster, a directory that cannot be used.
pub fn volume(config: &Config, feed: &Feed, fatal: &Fatal, metrics: &Metrics) -> Result<Volume, Failure> {
    let (log_dir, state_dir) = (config.data_dir.join("log"), config.data_dir.join("state"));
    for dir in [&log_dir, &state_dir] {
        make(dir)?;
    }
    let sizes = sizes(&config.data_dir)?;
    let options = Options { observer: Arc::new(metrics.clone()), segment_bytes: sizes.segment, ..Options::default() };
    // The log comes first: its lock keeps a second process away from the state, too.
    let (log, _) = LogStore::open(&log_dir, options).map_err(|error| log_failure(&error, &log_dir))?;
    let settings = Settings::with_cache(config.state_cache_mebibytes).on_volume(sizes);
    let store = RocksStore::open(&state_dir, settings, fatal.clone()).map_err(|e| store_failure(&e))?;
    let shelf = Shelf::open(&state_dir).map_err(|e| Failure::caused(Exit::DataDir, &e))?;
    check(config, &log, &store, &shelf)?;
    let machine = Machine::start(store.clone(), shelf.clone(), feed.clone(), fatal.clone(), Arc::new(metrics.clone()))
        .map_err(|error| Failure::caused(Exit::Damaged, &error))?;
    Ok(Volume { log, store, shelf, machine })
}

/// Returns the sizes that suit the volume. Fails on a volume that is all but full, because opening writes and would
/// fail half way.
fn sizes(dir: &Path) -> Result<VolumeSizes, Failure> {
    // A file system that does not report its size imposes no limits.
    let Ok(space) = fs4::statvfs(dir) else { return Ok(VolumeSizes::of(0)) };
    let (free, total) = (space.available_space(), space.total_space());
    let needed = VolumeSizes::to_start(total);
    if free < needed {
        let sentence = format!(
            "no space left on the volume of {} (dataDir): {free} of {total} bytes are free, {needed} are needed to start. \
             Enlarge the volume, or delete files on it that are not chatd's; the pod then starts by itself",
            dir.display()
        );
        return Err(Failure::new(Exit::DataDir, sentence));
    }
    Ok(VolumeSizes::of(total))
}

fn make(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| {
        Failure::new(Exit::DataDir, format!("cannot create the directory {} (dataDir): {error}", dir.display()))
    })
}

fn log_failure(error: &LogError, dir: &Path) -> Failure {
    let exit = match error {
        LogError::Damaged { .. } | LogError::Version { .. } | LogError::Hole { .. } => Exit::Damaged,
        LogError::ForeignCluster { .. } => Exit::WrongCluster,
        LogError::Io { .. }
        | LogError::NoSpace { .. }
        | LogError::Busy { .. }
        | LogError::TooLarge { .. }
        | LogError::Closed => Exit::DataDir,
    };
    Failure::new(exit, format!("cannot open the log in {}: {error}", dir.display()))
}

fn store_failure(error: &StoreError) -> Failure {
    let exit = match error {
        StoreError::Damaged { .. } | StoreError::Newer { .. } | StoreError::Read(_) => Exit::Damaged,
        StoreError::Engine { .. } | StoreError::Io { .. } | StoreError::Worker => Exit::DataDir,
    };
    Failure::caused(exit, error)
}

fn check(config: &Config, log: &LogStore, store: &RocksStore, shelf: &Shelf) -> Result<(), Failure> {
    let cluster = store::cluster(&store.view()).map_err(|error| Failure::caused(Exit::Damaged, &error))?;
    if let Some(cluster) = cluster.as_ref().filter(|cluster| cluster.server_name != config.server_name) {
        let sentence = format!(
            "the data under {} (dataDir) belongs to server {}, but the configuration says {} (serverName): a server \
             cannot be renamed",
            config.data_dir.display(),
            cluster.server_name,
            config.server_name
        );
        return Err(Failure::new(Exit::WrongCluster, sentence));
    }
    let identity = log.identity();
    let facts = StartFacts {
        log_cluster: identity.cluster_id.as_deref(),
        state_cluster: cluster.as_ref().map(|cluster| cluster.cluster_id.as_str()),
        purged: log.purged(),
        applied: store.applied().index(),
        snapshot: shelf.newest_applied(),
    };
    start_check(&facts).map_err(|refused| {
        let exit = match refused {
            crate::raft::machine::StartRefused::Foreign { .. } => Exit::WrongCluster,
            crate::raft::machine::StartRefused::Hole { .. } => Exit::Damaged,
        };
        Failure::new(exit, format!("{}: {refused}", config.data_dir.display()))
    })
}
