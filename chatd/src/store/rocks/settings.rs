//! How RocksDB is set up, and why.

use crate::raft::volume::VolumeSizes;
use crate::store::StoreError;
use crate::store::columns::Column;
use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, InfoLogger, LogLevel, Options, SliceTransform, WriteBufferManager,
};
use std::path::Path;
use std::time::Duration;

/// What may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Blocks of table files kept in memory, with their indexes and filters, and charged with the memtables: this and
    /// some tens of MiB are all the memory that the database takes.
    pub cache_bytes: usize,
    /// Commits that are only in memory: what a crash makes Raft re-apply. 64 MiB are some 50,000 messages, re-applied
    /// in about a second.
    pub write_buffer_bytes: usize,
    /// The same bound in log entries, for small ones.
    pub max_replay_entries: u64,
    /// The same bound in time, for a quiet cluster: the log can be purged only below what is on disk.
    pub flush_interval: Duration,
    /// Threads that flush and compact.
    pub background_jobs: i32,
    /// Bytes of a table file: a compaction needs free space for some ten of them, at most 25.
    pub table_bytes: u64,
}

impl Settings {
    /// With so much memory, a quarter of it for commits that are not yet flushed.
    #[must_use]
    pub fn with_cache(mebibytes: u64) -> Self {
        // More than there are addresses is as good as all of them.
        let cache_bytes = usize::try_from(mebibytes).unwrap_or(usize::MAX).saturating_mul(1 << 20);
        let write_buffer_bytes = (cache_bytes / 4).min(Self::default().write_buffer_bytes);
        Self { cache_bytes, write_buffer_bytes, ..Self::default() }
    }

    /// Cut to a volume: its reserve must be enough for a flush and a compaction.
    #[must_use]
    pub fn on_volume(self, sizes: VolumeSizes) -> Self {
        let VolumeSizes { write_buffer, table, .. } = sizes;
        Self { write_buffer_bytes: self.write_buffer_bytes.min(write_buffer), table_bytes: table, ..self }
    }
}

impl Default for Settings {
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

/// The settings with what all databases of the process share: there are two while a snapshot is installed.
pub(super) struct Engine {
    pub(super) settings: Settings,
    cache: Cache,
    write_buffers: WriteBufferManager,
}

/// Table files of this size keep a snapshot's transfer in pieces that are cheap to send again.
const TABLE_FILE_BYTES: u64 = 64 << 20;
/// A file in which so many of so many rows in a row are removals is compacted soon, so that removed history gives its
/// space back and is not walked over by reads. What is merely overwritten here and there stays far below.
const REMOVALS: (usize, usize) = (4096, 2048);
/// Of a memtable's size: some 10 bits for each transaction id in it.
const MEMTABLE_FILTER: f64 = 0.01;
/// About 1 % of lookups of absent keys read a block.
const FILTER_BITS_PER_KEY: f64 = 10.0;

impl Engine {
    pub(super) fn new(settings: Settings) -> Self {
        let cache = Cache::new_lru_cache(settings.cache_bytes);
        // Never stalls writers: a stalled apply would look like a dead pod. It only flushes earlier.
        let write_buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(settings.write_buffer_bytes, false, cache.clone());
        Self { settings, cache, write_buffers }
    }

    pub(super) fn block_cache_bytes(&self) -> u64 {
        self.cache.get_usage() as u64
    }

    /// Options of the database as a whole.
    pub(super) fn database(&self, create: bool) -> Result<Options, StoreError> {
        // Only by this string: an engine that resumes by itself after a failed write would hide it from us.
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
        // Writes go out in small steps instead of one long sync at a file's end, which would delay the Raft log's.
        options.set_bytes_per_sync(1 << 20);
        // All table files are opened at start: a missing one is found then and not by some later read.
        options.set_max_open_files(-1);
        // Files are unlinked by background threads and not by whoever drops the last view.
        options.set_avoid_unnecessary_blocking_io(true);
        options.set_stats_dump_period_sec(0);
        options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, forward_log));
        Ok(options)
    }

    /// Options of one column family.
    pub(super) fn family(&self, column: Column) -> Options {
        let mut options = Options::default();
        // The manager above decides when; this only keeps one family from taking all of it.
        options.set_write_buffer_size(self.settings.write_buffer_bytes / 2);
        // Room for writes while flushes are under way.
        options.set_max_write_buffer_number(4);
        options.set_target_file_size_base(self.settings.table_bytes);
        // RocksDB's own proportion.
        options.set_max_bytes_for_level_base(self.settings.table_bytes.saturating_mul(4));
        options.set_level_compaction_dynamic_level_bytes(true);
        // Young data is cheap to write, old data, which is nearly all of it, small to keep.
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
        options.set_block_based_table_factory(&self.blocks(column));
        options.add_compact_on_deletion_collector_factory(REMOVALS.0, REMOVALS.1, 0.0);
        if column == Column::Dedup {
            // Looked for once per command and nearly never there: a filter spares the walk through the memtable, too.
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER);
        }
        if let Some(len) = column.prefix_len() {
            options.set_prefix_extractor(SliceTransform::create_fixed_prefix(len));
        }
        options
    }

    fn blocks(&self, column: Column) -> BlockBasedOptions {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        // A page of a timeline is some tens of events: bigger blocks compress better and are read as a whole anyway.
        blocks.set_block_size(if column == Column::Timeline { 16 << 10 } else { 8 << 10 });
        blocks.set_bloom_filter(FILTER_BITS_PER_KEY, false);
        blocks.set_whole_key_filtering(true);
        blocks.set_optimize_filters_for_memory(true);
        // Counted in the cache, so that its size bounds the memory, but not pushed out of it by data.
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        // A file of millions of small rows has a filter of megabytes: in parts, only the part that is asked is read and kept.
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
