//! Figures of RocksDB, taken from its properties. Its statistics, which would include block cache misses, are off: they
//! cost 5 % of the CPU time of writes and lookups, and more than 1 % of that of a message. Some counters are therefore
//! only available as rounded numbers in text, which is parsed here.

use super::{LiveDatabase, RocksCore};
use crate::store::EngineFigures;
use crate::store::columns::DbColumn;
use rocksdb::properties::{self, PropName};
use std::time::Duration;

pub(super) fn read_figures(core: &RocksCore) -> EngineFigures {
    let live = core.live();
    let engine = &core.engine;
    let sum = |property: &PropName| family_values(&live, property).sum();
    let all = |property: &PropName| database_value(&live, property);
    EngineFigures {
        disk_bytes: sum(properties::TOTAL_SST_FILES_SIZE),
        memtable_bytes: sum(properties::CUR_SIZE_ALL_MEM_TABLES),
        immutable_memtables: sum(properties::NUM_IMMUTABLE_MEM_TABLE),
        pending_compaction_bytes: sum(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
        table_readers_bytes: sum(properties::ESTIMATE_TABLE_READERS_MEM),
        level0_files: family_values(&live, &properties::num_files_at_level(0)).max().unwrap_or(0),
        running_compactions: all(properties::NUM_RUNNING_COMPACTIONS),
        running_flushes: all(properties::NUM_RUNNING_FLUSHES),
        write_stopped: all(properties::IS_WRITE_STOPPED) != 0,
        background_errors: all(properties::BACKGROUND_ERRORS),
        block_cache_bytes: engine.block_cache_bytes(),
        block_cache_capacity_bytes: engine.settings.cache_bytes as u64,
        ..counted_figures(&live)
    }
}

/// Returns the number of background errors, and of flushes that are running or pending. Cheap, unlike all figures
/// together.
#[cfg(test)]
pub(super) fn flushes(core: &RocksCore) -> (u64, u64) {
    let live = core.live();
    let waiting: u64 = family_values(&live, properties::NUM_IMMUTABLE_MEM_TABLE).sum();
    (
        database_value(&live, properties::BACKGROUND_ERRORS),
        waiting + database_value(&live, properties::NUM_RUNNING_FLUSHES),
    )
}

/// Returns the figures that RocksDB counts from the opening of the database.
fn counted_figures(live: &LiveDatabase) -> EngineFigures {
    let mut figures = EngineFigures::default();
    if let Ok(Some(text)) = live.db().property_value(properties::DBSTATS) {
        figures.stalled = stall_time(&text).unwrap_or_default();
    }
    for column in DbColumn::ALL.iter().copied() {
        let Ok(family) = live.family(column) else { continue };
        let text = live.db().property_value_cf(family, properties::CFSTATS_NO_FILE_HISTOGRAM);
        let Ok(Some(text)) = text else { continue };
        figures.flush_written_bytes += bytes_from_gib(&text, "Flush(GB): cumulative ", 0);
        figures.written_bytes += bytes_from_gib(&text, "Cumulative compaction: ", 0);
        figures.compaction_read_bytes += bytes_from_gib(&text, "Cumulative compaction: ", 2);
    }
    figures
}

/// Parses the line `Cumulative stall: 00:01:2.500 H:M:S, 0.0 percent`.
fn stall_time(text: &str) -> Option<Duration> {
    let time = rest_after(text, "Cumulative stall: ")?.split_whitespace().next()?;
    let parts: Vec<f64> = time.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let seconds = parts.iter().fold(0.0, |sum, part| sum * 60.0 + part);
    Duration::try_from_secs_f64(seconds).ok()
}

/// Returns the number at position `place` of the comma-separated rest of the line that begins with `label`, converted
/// from GiB to bytes; 0 if there is none.
fn bytes_from_gib(text: &str, label: &str, place: usize) -> u64 {
    let number = || rest_after(text, label)?.split(',').nth(place)?.split_whitespace().next()?.parse::<f64>().ok();
    // The numbers are rounded anyway, and never negative.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let bytes = (number().unwrap_or(0.0) * f64::from(1 << 30)) as u64;
    bytes
}

fn rest_after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(label))
}

/// Returns a property of each column family, leaving out families that do not have it.
fn family_values(live: &LiveDatabase, property: &PropName) -> impl Iterator<Item = u64> {
    DbColumn::ALL
        .iter()
        .filter_map(move |column| live.db().property_int_value_cf(live.family(*column).ok()?, property).ok()?)
}

/// Returns a property of the database as a whole; 0 if it has none.
fn database_value(live: &LiveDatabase, property: &PropName) -> u64 {
    live.db().property_int_value(property).ok().flatten().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_in_words_is_read() {
        let text = "Uptime(secs): 0.5 total\nCumulative stall: 01:01:2.500 H:M:S, 0.0 percent\n\
                    Flush(GB): cumulative 0.125, interval 0.001\n\
                    Cumulative compaction: 2.50 GB write, 1.20 MB/s write, 0.50 GB read, 0.00 MB/s read, 0.0 seconds\n";
        assert_eq!(stall_time(text), Some(Duration::from_millis(3_662_500)));
        assert_eq!(bytes_from_gib(text, "Flush(GB): cumulative ", 0), 128 << 20);
        assert_eq!(bytes_from_gib(text, "Cumulative compaction: ", 0), 2560 << 20);
        assert_eq!(bytes_from_gib(text, "Cumulative compaction: ", 2), 512 << 20);
        assert_eq!((stall_time(""), bytes_from_gib("", "Flush(GB): cumulative ", 0)), (None, 0));
    }
}
