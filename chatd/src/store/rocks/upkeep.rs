//! Background upkeep: watches for background errors of the engine, and bounds how much a crash makes Raft re-apply.

use super::{Core, Live};
use crate::store::{Fatal, StoreError};
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
pub(super) struct Upkeep {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upkeep {
    pub(super) fn start(core: Arc<Core>, fatal: Fatal) -> Result<Self, StoreError> {
        // Read before anything can be committed, so everything applied here came from the disk.
        let flushed = Flushed { index: core.live().applied().index(), at: Instant::now() };
        // Nothing is ever sent: dropping the sender is the signal.
        let (stop, stopped) = sync_channel(0);
        let thread = thread::Builder::new()
            .name("state-upkeep".into())
            .spawn(move || run(&core, flushed, &fatal, &stopped))
            .map_err(StoreError::io("starting a thread for", Path::new("state")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The panic message has been printed, and nothing else is left to report.
            let _ = thread.join();
        }
    }
}

/// Log position that is known to be on disk, and the time of the flush that put it there.
struct Flushed {
    index: Option<u64>,
    at: Instant,
}

fn run(core: &Core, mut flushed: Flushed, fatal: &Fatal, stopped: &Receiver<()>) {
    while stopped.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = once(core, &core.live(), &mut flushed) {
            fatal.raise(error);
            return;
        }
    }
}

fn once(core: &Core, live: &Arc<Live>, flushed: &mut Flushed) -> Result<(), StoreError> {
    let errors = live.background_errors()?;
    if errors > 0 {
        return Err(background(live, errors));
    }
    let applied = live.applied().index();
    let behind = applied.unwrap_or(0).saturating_sub(flushed.index.unwrap_or(0));
    let settings = &core.engine.settings;
    let due = flushed.at.elapsed() >= settings.flush_interval;
    if applied != flushed.index && (due || behind >= settings.max_replay_entries) {
        live.flush()?;
        *flushed = Flushed { index: applied, at: Instant::now() };
    }
    Ok(())
}

/// Returns the cause of background errors. The engine counts its errors and keeps the first one: it refuses every later
/// flush with that message, so one is attempted.
fn background(live: &Arc<Live>, errors: u64) -> StoreError {
    let asked = Arc::clone(live);
    let cause = within(WORDS, move || match asked.flush() {
        Err(StoreError::Engine { what, .. }) => what,
        Err(error) => error.to_string(),
        Ok(()) => UNKNOWN.to_owned(),
    });
    let what = format!("{errors} background errors: {}", cause.unwrap_or_else(|| UNKNOWN.to_owned()));
    StoreError::Engine { doing: "flushing or compacting", path: live.dir().to_owned(), what }
}

/// Runs `words` in a thread of its own and gives up after `time`. A write that waits for space and the engine's own
/// recovery, which waits for that write, can block each other and every flush for ever.
fn within(time: Duration, words: impl FnOnce() -> String + Send + 'static) -> Option<String> {
    let (tell, told) = sync_channel(1);
    let asking = thread::Builder::new().name("state-words".into()).spawn(move || {
        // Nobody receives it any more if it took too long.
        let _ = tell.send(words());
    });
    asking.ok()?;
    told.recv_timeout(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_do_not_come_hold_nobody_up() {
        let (end, never) = sync_channel::<()>(0);
        let silent = within(Duration::from_millis(20), move || {
            let _ = never.recv();
            "too late".to_owned()
        });
        assert_eq!(silent, None);
        drop(end);
        assert_eq!(within(Duration::from_secs(60), || "no space".to_owned()), Some("no space".to_owned()));
    }
}
