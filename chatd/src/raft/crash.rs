//! Crash tests: the process ends at every point of [`crate::failpoint`], is started again, and must still have
//! everything that it acknowledged.
//!
//! The process is this test binary itself, started with a single test that does nothing unless it is told to: real
//! files, the real log, the real database. These tests cover a kill at the worst moment. The effect of a power failure
//! on pages that were not synced is covered by `log::tests::crash`.

mod install;
mod serve;

use crate::failpoint::armed::CRASH_AT;
use crate::failpoint::{FailPoint, PointWorkload};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Environment variable with the directory in which a child process works.
const WORK_IN: &str = "QUORATE_CRASH_WORK_IN";
/// Environment variable that makes a child process acknowledge each command before it is written.
const LIE: &str = "QUORATE_CRASH_LIE";
/// Passes of a point at which the process ends: the first, while everything is created, and some in full operation, as
/// far as the workload reaches.
const NTH: [u64; 4] = [1, 3, 9, 40];
/// Longest wait for anything; a busy machine needs some of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Signal with which `abort` ends a process.
const SIGABRT: i32 = 6;

/// Returns the directory to work in, if this process was started as a child.
fn told_to() -> Option<PathBuf> {
    std::env::var_os(WORK_IN).map(PathBuf::from)
}

/// Returns `true` if this process is to acknowledge commands before they are written.
fn lies() -> bool {
    std::env::var_os(LIE).is_some()
}

/// Reports a fact to the parent process; it counts as reported once it has left this process.
fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "said: {word}").and_then(|()| out.flush()).expect("the parent listens");
}

/// Outcome of a child process.
struct End {
    crashed: bool,
    said: Vec<String>,
}

impl End {
    fn said(&self, word: &str) -> bool {
        self.said.iter().any(|said| said == word)
    }
}

/// Runs a workload to its end, or to the given pass of the point.
fn run(area: PointWorkload, dir: &Path, point: FailPoint, nth: u64) -> End {
    run_as(area, dir, point, nth, false)
}

/// Runs a workload like [`run`]; a process that lies must be detected.
fn run_as(area: PointWorkload, dir: &Path, point: FailPoint, nth: u64, lies: bool) -> End {
    let test = match area {
        PointWorkload::Serve => "raft::crash::serve::a_process_that_is_told_to_serves",
        PointWorkload::Install => "raft::crash::install::a_process_that_is_told_to_takes_a_snapshot_over",
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
    assert!(crashed || output.status.success(), "{point:?}, hit {nth}: {}\n{errors}", output.status);
    assert_eq!(crashed, errors.contains(&format!("crash at {point:?}")), "an abort of another kind\n{errors}");
    let out = String::from_utf8_lossy(&output.stdout);
    // The test harness writes the test's name before the first word, in the same line.
    let said = out.lines().filter_map(|line| line.split_once("said: ")).map(|(_, word)| word.to_owned());
    End { crashed, said: said.collect() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Tries one pass of one point: the process ends there, and the directory that it leaves behind is checked. Returns
/// `true` if the point was reached.
fn try_out(area: PointWorkload, point: FailPoint, nth: u64, template: &Path) -> bool {
    let dir = tempfile::tempdir().expect("a directory");
    let end = match area {
        PointWorkload::Serve => {
            let end = run(area, dir.path(), point, nth);
            runtime().block_on(serve::check(dir.path(), &end));
            end
        }
        PointWorkload::Install => {
            install::lay_out(template, dir.path());
            let end = run(area, dir.path(), point, nth);
            runtime().block_on(install::check(dir.path(), &end));
            end
        }
    };
    println!("{point:?}, hit {nth}: {}", if end.crashed { "crashed and recovered" } else { "not reached" });
    assert!(end.crashed || end.said("done"), "{point:?}: neither crashed nor done");
    end.crashed
}

#[test]
fn a_process_that_ends_at_any_point_has_everything_that_it_acknowledged() {
    let template = tempfile::tempdir().expect("a directory");
    runtime().block_on(install::prepare(template.path()));
    let next = AtomicUsize::new(0);
    let reached = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        // Each thread spends most of its time waiting for its own process and disk.
        for _ in 0..3 {
            threads.spawn(|| {
                while let Some((point, area)) = FailPoint::ALL.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let crashes = NTH.iter().take_while(|nth| try_out(*area, *point, **nth, template.path())).count();
                    assert!(crashes > 0, "no workload reaches {point:?}");
                    reached.fetch_add(crashes, Ordering::SeqCst);
                }
            });
        }
    });
    println!("{} points, {} crashes", FailPoint::ALL.len(), reached.into_inner());
}

/// Returns the fault that the check finds in a directory, given what its process reported.
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
        // Hit while a segment is created for a batch, which is not written yet.
        let end = run_as(PointWorkload::Serve, dir.path(), FailPoint::SegmentMade, *nth, true);
        assert!(end.crashed, "not reached");
        fault(dir.path(), &end).filter(|fault| fault.contains("was acknowledged, and the state ends before"))
    });
    println!("{}", told.expect("what was acknowledged and not written was not missed"));
}

#[test]
fn a_log_that_lost_what_it_synced_is_found_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let end = run(PointWorkload::Serve, dir.path(), FailPoint::LogAnswered, 30);
    assert!(end.crashed, "not reached");
    let acknowledged = serve::acknowledged(&end).map(|(_, index)| index).max().expect("something was acknowledged");
    let log = dir.path().join("log");
    // The segment that holds an entry depends on how writes were batched.
    while runtime().block_on(serve::last_entry(&log)) >= Some(acknowledged) {
        let segments = std::fs::read_dir(&log).expect("a directory").map(|entry| entry.expect("an entry").path());
        let newest = segments.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max();
        std::fs::remove_file(newest.expect("a segment")).expect("removed");
    }
    println!("{}", fault(dir.path(), &end).expect("the loss of a segment was not missed"));
}
