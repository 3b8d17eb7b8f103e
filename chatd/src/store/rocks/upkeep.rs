//! Background upkeep: watches for background errors of the engine, and bounds how much a crash makes Raft re-apply.

use super::{LiveDatabase, RocksCore};
use crate::store::{FatalSignal, StoreError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Interval of the checks. The crate offers no event listener, so background errors are polled for. A write fails at
/// once anyway; polling finds errors of compaction, which may take minutes to have an effect.
const POLL: Duration = Duration::from_secs(1);

/// Longest wait for the message of a background error; the process ends with or without it.
const WORDS: Duration = Duration::from_secs(2);
const UNKNOWN: &str = "see the log above, and the disk";

/// Handle to the upkeep thread; dropping it ends the thread.
pub(super) struct UpkeepThread {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl UpkeepThread {
    pub(super) fn start(core: Arc<RocksCore>, fatal: FatalSignal) -> Result<Self, StoreError> {
        // Read before anything can be committed, so everything applied here came from the disk.
        let flushed = LastFlush { index: core.live().applied().index(), at: Instant::now() };
        // Nothing is ever sent: dropping the sender is the signal.
        let (stop, stopped) = sync_channel(0);
        let thread = thread::Builder::new()
            .name("state-upkeep".into())
            .spawn(move || run_upkeep(&core, flushed, &fatal, &stopped))
            .map_err(StoreError::io("starting a thread for", Path::new("state")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for UpkeepThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The panic message has been printed, and nothing else is left to report.
            let _ = thread.join();
        }
    }
}

/// Log position that is known to be on disk, and the time of the flush that put it there.
struct LastFlush {
    index: Option<u64>,
    at: Instant,
}

fn run_upkeep(core: &RocksCore, mut flushed: LastFlush, fatal: &FatalSignal, stopped: &Receiver<()>) {
    while stopped.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = check_once(core, &core.live(), &mut flushed) {
            fatal.raise(error);
            return;
        }
    }
}

fn check_once(core: &RocksCore, live: &Arc<LiveDatabase>, flushed: &mut LastFlush) -> Result<(), StoreError> {
    let errors = live.background_errors()?;
    if errors > 0 {
        return Err(background_error(live, errors));
    }
    // Read before the flush, which need not contain what is committed while it runs.
    let applied = live.applied().index();
    let behind = applied.unwrap_or(0).saturating_sub(flushed.index.unwrap_or(0));
    let settings = &core.engine.settings;
    let due = flushed.at.elapsed() >= settings.flush_interval;
    if applied != flushed.index && (due || behind >= settings.max_replay_entries) {
        flush_watched(live)?;
        *flushed = LastFlush { index: applied, at: Instant::now() };
    }
    Ok(())
}

/// Flushes, and looks for background errors meanwhile: a flush that waits until writes are not stalled may do so for
/// ever once the disk is full, and then nobody else would look.
fn flush_watched(live: &Arc<LiveDatabase>) -> Result<(), StoreError> {
    let flushing = Arc::clone(live);
    let told = run_apart("state-flush", move || flushing.flush())
        .map_err(StoreError::io("starting a thread for", live.dir()))?;
    loop {
        match told.recv_timeout(POLL) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Timeout) => {
                let errors = live.background_errors()?;
                if errors > 0 {
                    return Err(background_error(live, errors));
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                let what = "its thread has panicked".to_owned();
                return Err(StoreError::Engine { doing: "flushing", path: live.dir().to_owned(), what });
            }
        }
    }
}

/// Returns the cause of background errors. The engine counts its errors and keeps the first one: it refuses every later
/// flush with that message, so one is attempted.
fn background_error(live: &Arc<LiveDatabase>, errors: u64) -> StoreError {
    let asked = Arc::clone(live);
    let cause = run_within(WORDS, move || match asked.flush() {
        Err(StoreError::Engine { what, .. }) => what,
        Err(error) => error.to_string(),
        Ok(()) => UNKNOWN.to_owned(),
    });
    let what = format!("{errors} background errors: {}", cause.unwrap_or_else(|| UNKNOWN.to_owned()));
    StoreError::Engine { doing: "flushing or compacting", path: live.dir().to_owned(), what }
}

/// Runs `words` in a thread of its own and gives up after `time`. A write that waits for space and the engine's own
/// recovery, which waits for that write, can block each other and every flush for ever.
fn run_within(time: Duration, words: impl FnOnce() -> String + Send + 'static) -> Option<String> {
    run_apart("state-words", words).ok()?.recv_timeout(time).ok()
}

/// Starts `work` in a thread of its own, and returns where its result arrives. Nobody has to wait for it.
fn run_apart<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Receiver<T>> {
    let (tell, told) = sync_channel(1);
    thread::Builder::new().name(name.into()).spawn(move || {
        // Nobody receives it any more if it took too long.
        let _ = tell.send(work());
    })?;
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_do_not_come_hold_nobody_up() {
        let (end, never) = sync_channel::<()>(0);
        let silent = run_within(Duration::from_millis(20), move || {
            let _ = never.recv();
            "too late".to_owned()
        });
        assert_eq!(silent, None);
        drop(end);
        assert_eq!(run_within(Duration::from_secs(60), || "no space".to_owned()), Some("no space".to_owned()));
    }
}
