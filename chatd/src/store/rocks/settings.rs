//! RocksDB options and the reasons for them.

use crate::raft::volume::VolumeSizes;
use crate::store::StoreError;
use crate::store::columns::DbColumn;
use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, InfoLogger, LogLevel, Options, SliceTransform, WriteBufferManager,
};
use std::path::Path;
use std::time::Duration;

/// Settings that depend on the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RocksSettings {
    /// Size of the block cache, in bytes. It holds blocks of table files with their indexes and filters, and memtables
    /// are charged to it: the database takes this and some tens of MiB of memory in all.
    pub cache_bytes: usize,
    /// Bytes of commits that are only in memory and that Raft re-applies after a crash. 64 MiB are about 50,000
    /// messages, which take about a second.
    pub write_buffer_bytes: usize,
    /// Number of log entries that a crash makes Raft re-apply: the same bound for small entries.
    pub max_replay_entries: u64,
    /// Longest time between flushes: the same bound for a quiet cluster. The log can only be purged up to what is on
    /// disk.
    pub flush_interval: Duration,
    /// Number of threads that flush and compact.
    pub background_jobs: i32,
    /// Size of a table file, in bytes. A compaction needs free space for about ten of them, at most 25.
    pub table_bytes: u64,
}

impl RocksSettings {
    /// Returns settings for a cache of `mebibytes` MiB, of which up to a quarter is for commits that are not flushed
    /// yet.
    #[must_use]
    pub fn with_cache(mebibytes: u64) -> Self {
        // A size beyond the address space means as much as possible.
        let cache_bytes = usize::try_from(mebibytes).unwrap_or(usize::MAX).saturating_mul(1 << 20);
        let write_buffer_bytes = (cache_bytes / 4).min(Self::default().write_buffer_bytes);
        Self { cache_bytes, write_buffer_bytes, ..Self::default() }
    }

    /// Reduces the settings to fit a volume, whose reserve must be enough for a flush and a compaction.
    #[must_use]
    pub fn on_volume(self, sizes: VolumeSizes) -> Self {
        let VolumeSizes { write_buffer, table, .. } = sizes;
        Self { write_buffer_bytes: self.write_buffer_bytes.min(write_buffer), table_bytes: table, ..self }
    }
}

impl Default for RocksSettings {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
            write_buffer_bytes: 64 << 20,
            max_replay_entries: 50_000,
            flush_interval: Duration::from_secs(60),
            background_jobs: 2,
            table_bytes: TABLE_FILE_BYTES,
        }
    }
}

/// Settings, and the caches shared by all databases of the process: there are two while a snapshot is installed.
pub(super) struct RocksEngine {
    pub(super) settings: RocksSettings,
    cache: Cache,
    write_buffers: WriteBufferManager,
}

/// Default size of a table file. It keeps the pieces of a snapshot transfer small enough to be sent again cheaply.
const TABLE_FILE_BYTES: u64 = 64 << 20;
/// Window and trigger of compaction on deletion: a file in which 2048 of 4096 consecutive rows are tombstones is
/// compacted soon, so that removed history releases its space and reads do not have to skip it. Ordinary overwrites
/// stay far below.
const REMOVALS: (usize, usize) = (4096, 2048);
/// Size of a memtable's bloom filter relative to the memtable: about 10 bits per transaction id.
const MEMTABLE_FILTER: f64 = 0.01;
/// Bits per key of the bloom filters of table files: about 1 % of lookups of absent keys read a block.
const FILTER_BITS_PER_KEY: f64 = 10.0;

impl RocksEngine {
    pub(super) fn new(settings: RocksSettings) -> Self {
        let cache = Cache::new_lru_cache(settings.cache_bytes);
        // Writers are never stalled (`false`), only flushes come earlier: a stalled apply would look like a dead pod.
        let write_buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(settings.write_buffer_bytes, false, cache.clone());
        Self { settings, cache, write_buffers }
    }

    pub(super) fn block_cache_bytes(&self) -> u64 {
        self.cache.get_usage() as u64
    }

    /// Returns the options of the database as a whole.
    pub(super) fn database(&self, create: bool) -> Result<Options, StoreError> {
        // Only available as a string. An engine that recovers from a failed write by itself would hide that failure.
        let mut options =
            Options::default().get_options_from_string("max_bgerror_resume_count=0").map_err(|error| {
                StoreError::Engine { doing: "setting up", path: Path::new("").into(), what: error.to_string() }
            })?;
        options.create_if_missing(create);
        options.set_error_if_exists(create);
        options.create_missing_column_families(create);
        options.set_atomic_flush(true);
        options.set_paranoid_checks(true);
        options.set_max_background_jobs(self.settings.background_jobs);
        options.set_write_buffer_manager(&self.write_buffers);
        // Data is written out in small steps instead of one long sync at the end of a file, which would delay syncs of
        // the Raft log.
        options.set_bytes_per_sync(1 << 20);
        // All table files are opened at start, so that a missing one is found then and not by a later read.
        options.set_max_open_files(-1);
        // Files are unlinked by background threads instead of the thread that drops the last view.
        options.set_avoid_unnecessary_blocking_io(true);
        options.set_stats_dump_period_sec(0);
        options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, forward_log));
        Ok(options)
    }

    /// Returns the options of one column family.
    pub(super) fn family(&self, column: DbColumn) -> Options {
        let mut options = Options::default();
        // The write buffer manager decides when to flush; this only keeps one family from taking all of the budget.
        options.set_write_buffer_size(self.settings.write_buffer_bytes / 2);
        // Leaves room for writes while flushes are running.
        options.set_max_write_buffer_number(4);
        options.set_target_file_size_base(self.settings.table_bytes);
        // Four files, the proportion of RocksDB's defaults.
        options.set_max_bytes_for_level_base(self.settings.table_bytes.saturating_mul(4));
        options.set_level_compaction_dynamic_level_bytes(true);
        // Recent data is cheap to write; old data, which is nearly all of it, is small to keep.
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
        options.set_block_based_table_factory(&self.blocks(column));
        options.add_compact_on_deletion_collector_factory(REMOVALS.0, REMOVALS.1, 0.0);
        if column == DbColumn::Dedup {
            // Looked up once per command and nearly always absent: a filter also saves the search of the memtable.
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER);
        }
        if let Some(len) = column.prefix_len() {
            options.set_prefix_extractor(SliceTransform::create_fixed_prefix(len));
        }
        options
    }

    fn blocks(&self, column: DbColumn) -> BlockBasedOptions {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        // A page of a timeline is some tens of events, so larger blocks compress better and are read as a whole anyway.
        blocks.set_block_size(if column == DbColumn::Timeline { 16 << 10 } else { 8 << 10 });
        blocks.set_bloom_filter(FILTER_BITS_PER_KEY, false);
        blocks.set_whole_key_filtering(true);
        blocks.set_optimize_filters_for_memory(true);
        // Charged to the cache, so that its size bounds the memory, but with priority over data blocks.
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        // The filter of a file with millions of small rows takes megabytes. Partitioned, only the part in question is
        // read and kept.
        blocks.set_index_type(rocksdb::BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_metadata_block_size(4096);
        blocks.set_pin_top_level_index_and_filter(true);
        blocks
    }
}

fn forward_log(level: LogLevel, message: &str) {
    match level {
        LogLevel::Error | LogLevel::Fatal => tracing::error!(target: "rocksdb", "{message}"),
        LogLevel::Warn => tracing::warn!(target: "rocksdb", "{message}"),
        LogLevel::Debug | LogLevel::Info | LogLevel::Header => tracing::debug!(target: "rocksdb", "{message}"),
    }
}
