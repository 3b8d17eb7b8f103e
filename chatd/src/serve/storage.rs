//! Fill level of the data volume, sampled now and then, because walking over its files is too slow for every question.

mod level;
mod measure;

use crate::metrics::ChatMetrics;
use crate::metrics::scrape::disk_usage;
use level::SpaceLevel;
pub(super) use measure::{FsProbe, keep_measuring};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Interval between samples: a volume fills in hours, not in seconds.
const EVERY: Duration = Duration::from_secs(15);

/// Latest sample. Clones share it.
#[derive(Clone)]
pub(super) struct StorageWatch {
    last: Arc<LastSample>,
}

#[derive(Default)]
struct LastSample {
    used: AtomicU64,
    free: AtomicU64,
}

impl StorageWatch {
    /// Starts sampling, for as long as the process lives.
    pub(super) fn start(data_dir: PathBuf, metrics: ChatMetrics) -> Self {
        let watch = Self { last: Arc::default() };
        let looking = watch.clone();
        tokio::spawn(async move {
            let mut level = SpaceLevel::Plenty;
            loop {
                let look = looking.clone();
                let dir = data_dir.clone();
                let metrics = metrics.clone();
                // A sample that fails leaves the last figures.
                let total = tokio::task::spawn_blocking(move || look.look(&dir, &metrics)).await;
                if let Ok(Some(total)) = total {
                    level = level.after(looking.bytes().1, total);
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        watch
    }

    /// Returns the bytes used under the data directory and the bytes free on its file system.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.last.used.load(Relaxed), self.last.free.load(Relaxed))
    }

    /// Takes a sample. Returns the size of the file system, or `None` if it is unknown.
    fn look(&self, dir: &Path, metrics: &ChatMetrics) -> Option<u64> {
        self.last.used.store(disk_usage(dir), Relaxed);
        let free = fs4::available_space(dir).ok();
        if let Some(free) = free {
            self.last.free.store(free, Relaxed);
        }
        let (used, free) = self.bytes();
        metrics.storage(used, free);
        fs4::total_space(dir).ok()
    }
}
