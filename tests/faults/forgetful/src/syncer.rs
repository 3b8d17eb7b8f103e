//! The time that a sync takes. Without it nothing would ever be written and not yet synced when a process is killed.

use crate::{disk::Disk, inode::Ino};
use fuser::ReplyEmpty;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Syncs under way. Each has a thread of the tested process waiting for it, so that there are never so many.
const UNDER_WAY: usize = 1024;

/// Answers syncs after a while, in their order. Ends when dropped.
#[derive(Debug)]
pub struct Syncer {
    queue: SyncSender<(Instant, Ino, ReplyEmpty)>,
    takes: Duration,
}

impl Syncer {
    /// Starts its thread.
    #[must_use]
    pub fn start(disk: Arc<Mutex<Disk>>, takes: Duration) -> Self {
        let (queue, receiver) = sync_channel(UNDER_WAY);
        thread::spawn(move || run(&disk, &receiver));
        Self { queue, takes }
    }

    /// Syncs a file or directory, and then answers.
    pub fn sync(&self, ino: Ino, reply: ReplyEmpty) {
        // The thread lives as long as this sender; an unanswered reply answers EIO by itself.
        let _ = self.queue.send((Instant::now() + self.takes, ino, reply));
    }
}

fn run(disk: &Mutex<Disk>, queue: &Receiver<(Instant, Ino, ReplyEmpty)>) {
    while let Ok((due, ino, reply)) = queue.recv() {
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        let result = lock(disk).sync(ino);
        match result {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }
}

/// A panic elsewhere leaves plain values behind.
pub(crate) fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}
