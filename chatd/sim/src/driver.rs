//! Runs many seeds, each in a process of its own. A seed alone then decides what happens, down to the counters that
//! libraries keep for the life of a process, and a seed that hangs or aborts affects no other.

use crate::mutation::Mutation;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Longest time that a seed may take. It takes half a second; a loaded machine may need many times that.
const PATIENCE: Duration = Duration::from_secs(120);
const BREATH: Duration = Duration::from_millis(2);

/// Result of running one seed.
#[derive(Clone, Debug)]
pub struct SeedResult {
    pub seed: u64,
    /// `true` if the process exited successfully, that is, if nothing was broken.
    pub sound: bool,
    /// Line that the process printed, with the violation or the figures; made up by the driver if there is none.
    pub line: String,
}

impl SeedResult {
    /// Returns the digest of everything that happened; empty if the line has none.
    #[must_use]
    pub fn trace(&self) -> &str {
        self.field("trace=")
    }

    /// Returns the name of the invariant that was broken; empty if none was.
    #[must_use]
    pub fn invariant(&self) -> &str {
        self.field("broke=")
    }

    /// Returns the figure called `name`, or `None` if the line does not have it.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<u64> {
        self.field(&format!("{name}=")).parse().ok()
    }

    fn field(&self, name: &str) -> &str {
        let mut words = self.line.split_whitespace();
        words.find_map(|word| word.strip_prefix(name)).unwrap_or_default()
    }
}

/// Runs one seed in a process of its own; `program` is the path of `quorate-sim`.
///
/// # Panics
/// Panics if the program cannot be started.
#[must_use]
pub fn run_seed(program: &Path, seed: u64, mutation: Option<Mutation>) -> SeedResult {
    let mut command = Command::new(program);
    command.args(["one", &seed.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(mutation) = mutation {
        command.arg(mutation.to_string());
    }
    let mut child = command.spawn().unwrap();
    let status = wait_for_exit(&mut child);
    let mut line = String::new();
    // The line is short and fits the pipe, so that reading it after the end of the process cannot block.
    let _ = child.stdout.take().unwrap().read_to_string(&mut line);
    let line = line.trim().to_owned();
    match status {
        Some(true) => SeedResult { seed, sound: true, line },
        Some(false) if !line.is_empty() => SeedResult { seed, sound: false, line },
        Some(false) => SeedResult { seed, sound: false, line: format!("seed {seed} broke=the_process_ends_well") },
        None => {
            SeedResult { seed, sound: false, line: format!("seed {seed} broke=ends_within_{}_s", PATIENCE.as_secs()) }
        }
    }
}

/// Waits for a child process. Returns `true` if it exited successfully, and `None` if it was killed after [`PATIENCE`].
#[expect(clippy::disallowed_methods, reason = "no runtime runs on this thread")]
fn wait_for_exit(child: &mut Child) -> Option<bool> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.success());
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(BREATH);
    }
}

/// Runs `seeds`, as many at a time as there are processors. `each` is called with every result as it comes in; once it
/// returns `false`, no further seed is started.
///
/// # Panics
/// Panics if the program cannot be started.
pub fn run_seeds(
    program: &Path,
    seeds: std::ops::Range<u64>,
    mutation: Option<Mutation>,
    each: impl FnMut(&SeedResult) -> bool + Send,
) {
    let next = AtomicU64::new(seeds.start);
    let each = Mutex::new(each);
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return;
        }
        let ended = run_seed(program, seed, mutation);
        if !(each.lock().unwrap())(&ended) {
            next.store(u64::MAX / 2, Ordering::Relaxed);
            return;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
}
