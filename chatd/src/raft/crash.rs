//! The process ends at every point of [`crate::failpoint`], is started again, and must have everything that it said.
//!
//! The process is this test binary itself, started with one test alone that does nothing unless it is told to: real
//! files, the real log, the real database. What is tested is a kill at the worst moment; what a power cut makes of pages
//! that were not synced is tested by `log::tests::crash`.

mod install;
mod serve;

use crate::failpoint::armed::CRASH_AT;
use crate::failpoint::{Area, Point};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Where a process that was told to work does so.
const WORK_IN: &str = "QUORATE_CRASH_WORK_IN";
/// A process with this in its environment acknowledges each command before it is written.
const LIE: &str = "QUORATE_CRASH_LIE";
/// Which passes of a point end the process: the first, while everything is made, and some in full work, as far as the
/// workload comes.
const NTH: [u64; 4] = [1, 3, 9, 40];
/// Longest wait for anything; a busy machine needs some of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// `abort` ends a process so.
const SIGABRT: i32 = 6;

/// The directory to work in, for a process that was started for this.
fn told_to() -> Option<PathBuf> {
    std::env::var_os(WORK_IN).map(PathBuf::from)
}

/// Whether this process says what is not so.
fn lies() -> bool {
    std::env::var_os(LIE).is_some()
}

/// What the process that started this one must know; it counts as said once it is out of this process.
fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "said: {word}").and_then(|()| out.flush()).expect("the parent listens");
}

/// What became of a process.
struct End {
    crashed: bool,
    said: Vec<String>,
}

impl End {
    fn said(&self, word: &str) -> bool {
        self.said.iter().any(|said| said == word)
    }
}

/// Runs a workload to its end or to the point.
fn run(area: Area, dir: &Path, point: Point, nth: u64) -> End {
    run_as(area, dir, point, nth, false)
}

/// The same; one that lies must be found out.
fn run_as(area: Area, dir: &Path, point: Point, nth: u64, lies: bool) -> End {
    let test = match area {
        Area::Serve => "raft::crash::serve::a_process_that_is_told_to_serves",
        Area::Install => "raft::crash::install::a_process_that_is_told_to_takes_a_snapshot_over",
    };
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    if lies {
        command.env(LIE, "1");
    }
    let output = command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(WORK_IN, dir)
        .env(CRASH_AT, format!("{point:?}:{nth}"))
        .stdin(Stdio::null())
        .output()
        .expect("starts");
    let crashed = output.status.signal() == Some(SIGABRT);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(crashed || output.status.success(), "{point:?}, {nth}. time: {}\n{errors}", output.status);
    assert_eq!(crashed, errors.contains(&format!("crash at {point:?}")), "an abort of another kind\n{errors}");
    let out = String::from_utf8_lossy(&output.stdout);
    // The test harness writes the test's name before the first word, in the same line.
    let said = out.lines().filter_map(|line| line.split_once("said: ")).map(|(_, word)| word.to_owned());
    End { crashed, said: said.collect() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// One point: the process ends there, and what it leaves is looked at. Whether it ended there at all.
fn try_out(area: Area, point: Point, nth: u64, template: &Path) -> bool {
    let dir = tempfile::tempdir().expect("a directory");
    let end = match area {
        Area::Serve => {
            let end = run(area, dir.path(), point, nth);
            runtime().block_on(serve::check(dir.path(), &end));
            end
        }
        Area::Install => {
            install::lay_out(template, dir.path());
            let end = run(area, dir.path(), point, nth);
            runtime().block_on(install::check(dir.path(), &end));
            end
        }
    };
    println!("{point:?}, {nth}. time: {}", if end.crashed { "crashed and recovered" } else { "not reached" });
    assert!(end.crashed || end.said("done"), "{point:?}: neither crashed nor done");
    end.crashed
}

#[test]
fn a_process_that_ends_at_any_point_has_everything_that_it_acknowledged() {
    let template = tempfile::tempdir().expect("a directory");
    runtime().block_on(install::prepare(template.path()));
    let (next, reached) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|threads| {
        // Each waits for its own process and disk most of the time.
        for _ in 0..3 {
            threads.spawn(|| {
                while let Some((point, area)) = Point::ALL.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let crashes = NTH.iter().take_while(|nth| try_out(*area, *point, **nth, template.path())).count();
                    assert!(crashes > 0, "no workload reaches {point:?}");
                    reached.fetch_add(crashes, Ordering::SeqCst);
                }
            });
        }
    });
    println!("{} points, {} crashes", Point::ALL.len(), reached.into_inner());
}

/// What the check says about a directory and what was said of it, when it finds fault.
fn fault(dir: &Path, end: &End) -> Option<String> {
    let checked = std::panic::catch_unwind(|| runtime().block_on(serve::check(dir, end)));
    let panic = checked.err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
}

#[test]
fn a_process_that_acknowledges_before_it_writes_is_found_out() {
    let told = NTH.iter().find_map(|nth| {
        let dir = tempfile::tempdir().expect("a directory");
        // On the way to a segment that a batch needs, which is not written yet.
        let end = run_as(Area::Serve, dir.path(), Point::SegmentMade, *nth, true);
        assert!(end.crashed, "not reached");
        fault(dir.path(), &end).filter(|fault| fault.contains("was acknowledged, and the state ends before"))
    });
    println!("{}", told.expect("what was acknowledged and not written was not missed"));
}

#[test]
fn a_log_that_lost_what_it_synced_is_found_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let end = run(Area::Serve, dir.path(), Point::LogAnswered, 30);
    assert!(end.crashed, "not reached");
    let acknowledged = serve::acknowledged(&end).map(|(_, index)| index).max().expect("something was acknowledged");
    let log = dir.path().join("log");
    // Which segment an entry is in depends on how the writes came together.
    while runtime().block_on(serve::last_entry(&log)) >= Some(acknowledged) {
        let segments = std::fs::read_dir(&log).expect("a directory").map(|entry| entry.expect("an entry").path());
        let newest = segments.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max();
        std::fs::remove_file(newest.expect("a segment")).expect("removed");
    }
    println!("{}", fault(dir.path(), &end).expect("the loss of a segment was not missed"));
}
