//! Other work on the same machine: processes that keep all cores busy at low priority, as a compiler does.

use crate::process::{ProcessSpec, ServerProcess};
use anyhow::Context as _;
use std::collections::HashMap;
use std::path::Path;
use std::thread;

/// Processes that keep all cores busy until this is dropped.
#[derive(Debug)]
pub(crate) struct CpuBurner {
    _processes: Vec<ServerProcess>,
}

impl CpuBurner {
    /// Starts one process per core, at nice 10.
    ///
    /// # Errors
    /// Fails if a process cannot be started.
    pub(crate) fn start(dir: &Path) -> anyhow::Result<Self> {
        let cores = thread::available_parallelism().context("cannot determine the number of cores")?.get();
        let program = std::env::current_exe().context("cannot determine the path of this program")?;
        let start = |n| {
            ProcessSpec::new(&format!("burn-{n}"), "nice", dir).args(["-n", "10"]).arg(&program).arg("burn").start()
        };
        Ok(Self { _processes: (0..cores).map(start).collect::<Result<_, _>>()? })
    }
}

/// Keeps a core busy until the process is killed: hashes, allocates and walks memory, as a compiler does.
pub(crate) fn burn_core() {
    let mut names: HashMap<String, Vec<u64>> = HashMap::new();
    for n in 0_u64.. {
        let name = format!("symbol{}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 200_000);
        let uses = names.entry(name).or_default();
        uses.push(n);
        if uses.len() > 16 {
            uses.sort_unstable_by_key(|n| std::cmp::Reverse(*n));
            uses.truncate(4);
        }
    }
}
