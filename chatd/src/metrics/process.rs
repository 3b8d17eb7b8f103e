//! Figures of the process, from `/proc/self`; where there is none (not Linux) they stay zero.

use super::Instruments;
use std::fs;

/// `sysconf(_SC_CLK_TCK)`: 100 on every Linux that there is, part of its interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;
/// Fields of `/proc/self/stat` after the command's name, counted from 0 (proc(5): `utime` is the 14th of all).
const UTIME: usize = 11;
const STIME: usize = 12;
const THREADS: usize = 17;
const START: usize = 19;

pub(super) fn read(all: &Instruments) {
    if let Ok(stat) = fs::read_to_string("/proc/self/stat")
        && let Some(stat) = Stat::parse(&stat)
    {
        all.cpu_seconds.set(stat.cpu_seconds);
        all.threads.set(stat.threads);
        all.start_time.set(boot_time().unwrap_or_default() + stat.started_after_boot);
    }
    if let Some(bytes) = resident_bytes() {
        all.resident_bytes.set(bytes);
    }
    if let Ok(fds) = fs::read_dir("/proc/self/fd") {
        all.open_fds.set(i64::try_from(fds.count()).unwrap_or(i64::MAX));
    }
}

struct Stat {
    cpu_seconds: f64,
    threads: i64,
    started_after_boot: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The command's name is in parentheses and may hold spaces.
        let fields: Vec<f64> = text.rsplit_once(')')?.1.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
        let ticks = |n: usize| fields.get(n).map(|ticks| ticks / TICKS_PER_SECOND);
        // A thread count is small: nothing is lost.
        #[allow(clippy::cast_possible_truncation)]
        let threads = *fields.get(THREADS)? as i64;
        Some(Self { cpu_seconds: ticks(UTIME)? + ticks(STIME)?, threads, started_after_boot: ticks(START)? })
    }
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let text = "7 (a (b) c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1000 1 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_seconds, stat.threads, stat.started_after_boot), (3.0, 9, 10.0));
    }
}
