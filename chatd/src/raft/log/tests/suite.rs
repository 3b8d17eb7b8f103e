//! openraft's own test suite for log stores.

use super::machine::Machine;
use crate::raft::log::sim_disk::SimDisk;
use crate::raft::log::{LogOptions, LogStore};
use crate::raft::types::TypeConfig;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use std::sync::Arc;

/// A log on a real disk, as in production.
struct OnDisk;

impl StoreBuilder<TypeConfig, LogStore, Machine, tempfile::TempDir> for OnDisk {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, Machine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().expect("a directory");
        let (log, _) = LogStore::open(directory.path(), LogOptions::default()).expect("opens");
        Ok((directory, log, Machine::default()))
    }
}

/// A log without any cache and with the smallest segments, so that each read is from a file.
struct WithoutMemory;

impl StoreBuilder<TypeConfig, LogStore, Machine> for WithoutMemory {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<TypeConfig>> {
        let options = LogOptions { segment_bytes: 0, cache_bytes: 0, ..super::support::options() };
        let (log, _) = LogStore::open_on(Arc::new(SimDisk::new()), options).expect("opens");
        Ok(((), log, Machine::default()))
    }
}

#[tokio::test]
async fn openrafts_suite_passes_on_a_real_disk() {
    Suite::test_all(OnDisk).await.expect("passes");
}

#[tokio::test]
async fn openrafts_suite_passes_with_every_read_from_a_file() {
    Suite::test_all(WithoutMemory).await.expect("passes");
}
