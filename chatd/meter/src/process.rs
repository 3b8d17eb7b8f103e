//! Figures of this process, from `/proc/self`. On systems other than Linux, there are none.

use std::fs;
use std::path::{Component, Path};

/// Clock ticks per second, `sysconf(_SC_CLK_TCK)`: 100 on every Linux, as part of its interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;
/// Indexes into the fields of `/proc/self/stat` after the command name (proc(5): `utime` is the 14th field of all).
const UTIME: usize = 11;
const STIME: usize = 12;
const THREADS: usize = 17;
const START: usize = 19;
/// Mount point of the cgroup hierarchy (version 2).
const GROUPS: &str = "/sys/fs/cgroup";

/// CPU time, threads and start of a process, from `/proc/self/stat`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessUsage {
    /// CPU time in user and kernel mode, in seconds.
    pub cpu_seconds: f64,
    /// Number of threads of the process.
    pub threads: i64,
    /// Start of the process, in seconds since the epoch.
    pub started_at: f64,
}

/// Returns CPU time, threads and start of this process, or `None` if `/proc` is not available.
#[must_use]
pub fn process_usage() -> Option<ProcessUsage> {
    let run = parse_stat(&fs::read_to_string("/proc/self/stat").ok()?)?;
    Some(ProcessUsage { started_at: boot_time().unwrap_or_default() + run.started_at, ..run })
}

/// Parses `/proc/self/stat`. The start in the result is in seconds since boot.
fn parse_stat(stat: &str) -> Option<ProcessUsage> {
    // The command name is in parentheses and may contain spaces.
    let fields: Vec<f64> = stat.rsplit_once(')')?.1.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    let ticks = |n: usize| fields.get(n).map(|ticks| ticks / TICKS_PER_SECOND);
    // The number of threads is small, so the cast is exact.
    #[allow(clippy::cast_possible_truncation)]
    let threads = *fields.get(THREADS)? as i64;
    Some(ProcessUsage { cpu_seconds: ticks(UTIME)? + ticks(STIME)?, threads, started_at: ticks(START)? })
}

/// Returns the resident memory of this process, in bytes.
#[must_use]
pub fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns the number of open file descriptors.
#[must_use]
pub fn open_fds() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

/// Returns the soft limit on open file descriptors; `None` if there is no limit, or if it is unknown.
#[must_use]
pub fn max_fds() -> Option<i64> {
    soft_limit(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")
}

fn soft_limit(limits: &str, name: &str) -> Option<i64> {
    limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Returns the smallest memory limit of the control groups that contain this process; `None` if there is no limit.
#[must_use]
pub fn memory_limit_bytes() -> Option<i64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    smallest_limit(Path::new(GROUPS), groups.lines().find_map(|line| line.strip_prefix("0::"))?)
}

fn smallest_limit(root: &Path, own: &str) -> Option<i64> {
    let own = Path::new(own.trim_start_matches('/'));
    // The group may lie outside the part of the hierarchy that this container sees; then only the top of that part has
    // a meaning.
    let seen = own.components().all(|part| matches!(part, Component::Normal(_)));
    let own = if seen { own } else { Path::new("") };
    let limit = |group: &Path| fs::read_to_string(root.join(group).join("memory.max")).ok()?.trim().parse().ok();
    own.ancestors().filter_map(limit).min()
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
        assert_eq!(parse_stat(text).unwrap(), ProcessUsage { cpu_seconds: 3.0, threads: 9, started_at: 10.0 });
    }

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        assert!(process_usage().unwrap().threads >= 1);
        assert!(resident_bytes().unwrap() > 1 << 16);
        assert!(open_fds().unwrap() >= 1);
    }

    #[test]
    fn the_soft_limit_counts_and_unlimited_is_none() {
        let text = "Limit        Soft Limit  Hard Limit  Units\nMax open files   1024    4096   files\n";
        assert_eq!(soft_limit(text, "Max open files"), Some(1024));
        assert_eq!(soft_limit("Max open files   unlimited  unlimited  files\n", "Max open files"), None);
    }

    #[test]
    fn the_smallest_limit_of_the_groups_around_holds() {
        let root = tempfile::tempdir().unwrap();
        let set = |group: &str, limit: &str| {
            fs::create_dir_all(root.path().join(group)).unwrap();
            fs::write(root.path().join(group).join("memory.max"), format!("{limit}\n")).unwrap();
        };
        set("pods/a", "max");
        assert_eq!(smallest_limit(root.path(), "/pods/a"), None);
        set("pods", "1000");
        assert_eq!(smallest_limit(root.path(), "/pods/a"), Some(1000));
        set("pods/a", "400");
        assert_eq!(smallest_limit(root.path(), "/pods/a"), Some(400));
        // In a container, the group's own directory is the root.
        set("", "700");
        assert_eq!(smallest_limit(root.path(), "/"), Some(700));
        assert_eq!(smallest_limit(root.path(), "/../other"), Some(700));
    }
}
