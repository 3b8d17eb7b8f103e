//! What RocksDB tells about itself: properties of the live database, and counters of all that were open.

use super::settings::Engine;
use super::{Core, Live};
use crate::store::Figures;
use crate::store::columns::Column;
use rocksdb::properties::{self, PropName};
use rocksdb::statistics::Ticker;
use std::time::Duration;

pub(super) fn figures(core: &Core) -> Figures {
    let (live, engine) = (core.live(), &core.engine);
    let sum = |property: &PropName| each(&live, property).sum();
    let all = |property: &PropName| whole(&live, property);
    Figures {
        disk_bytes: sum(properties::TOTAL_SST_FILES_SIZE),
        memtable_bytes: sum(properties::CUR_SIZE_ALL_MEM_TABLES),
        immutable_memtables: sum(properties::NUM_IMMUTABLE_MEM_TABLE),
        pending_compaction_bytes: sum(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
        table_readers_bytes: sum(properties::ESTIMATE_TABLE_READERS_MEM),
        level0_files: each(&live, &properties::num_files_at_level(0)).max().unwrap_or(0),
        running_compactions: all(properties::NUM_RUNNING_COMPACTIONS),
        running_flushes: all(properties::NUM_RUNNING_FLUSHES),
        write_stopped: all(properties::IS_WRITE_STOPPED) != 0,
        background_errors: all(properties::BACKGROUND_ERRORS),
        block_cache_bytes: engine.block_cache_bytes(),
        block_cache_capacity_bytes: engine.settings.cache_bytes as u64,
        ..counted(engine)
    }
}

/// Since the process began: the databases share the counters, as they share the cache.
fn counted(engine: &Engine) -> Figures {
    Figures {
        block_cache_hits: engine.counted(Ticker::BlockCacheHit),
        block_cache_misses: engine.counted(Ticker::BlockCacheMiss),
        stalled: Duration::from_micros(engine.counted(Ticker::StallMicros)),
        compaction_read_bytes: engine.counted(Ticker::CompactReadBytes),
        compaction_written_bytes: engine.counted(Ticker::CompactWriteBytes),
        flush_written_bytes: engine.counted(Ticker::FlushWriteBytes),
        ..Figures::default()
    }
}

/// A property of each column family; a family that has none of it is left out.
fn each(live: &Live, property: &PropName) -> impl Iterator<Item = u64> {
    Column::ALL
        .iter()
        .filter_map(move |column| live.db().property_int_value_cf(live.family(*column).ok()?, property).ok()?)
}

/// A property of the database.
fn whole(live: &Live, property: &PropName) -> u64 {
    live.db().property_int_value(property).ok().flatten().unwrap_or(0)
}
