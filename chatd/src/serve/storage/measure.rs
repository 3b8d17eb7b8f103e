//! Looking at the volume all the time: one cheap system call, because writes are refused by what it says.

use crate::raft::volume::{VolumeGauge, VolumeSpace};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What is written meanwhile is counted (`VolumeGauge::spend`), so this only bounds how old a figure is.
const EVERY: Duration = Duration::from_millis(200);

/// Tells how full a volume is. Blocks.
pub(in crate::serve) trait SpaceProbe: Send + Sync + 'static {
    /// As of now.
    fn measure(&self) -> io::Result<VolumeSpace>;
}

/// A directory's file system.
pub(in crate::serve) struct FsProbe(PathBuf);

impl FsProbe {
    pub(in crate::serve) fn new(dir: PathBuf) -> Self {
        Self(dir)
    }
}

impl SpaceProbe for FsProbe {
    fn measure(&self) -> io::Result<VolumeSpace> {
        let found = fs4::statvfs(&self.0)?;
        // What is free for root alone is not for us.
        Ok(VolumeSpace { free: found.available_space(), total: found.total_space() })
    }
}

/// Looks for as long as the process lives; a look that fails leaves the last figures.
pub(in crate::serve) async fn keep_measuring(probe: Arc<dyn SpaceProbe>, gauge: VolumeGauge) {
    loop {
        let looking = Arc::clone(&probe);
        // A file system that hangs holds up one thread, and not the runtime.
        if let Ok(Ok(space)) = tokio::task::spawn_blocking(move || looking.measure()).await {
            gauge.measured(space);
        }
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::volume::VolumeLevel;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Told(AtomicU64);

    impl SpaceProbe for Told {
        fn measure(&self) -> io::Result<VolumeSpace> {
            match self.0.load(Ordering::SeqCst) {
                0 => Err(io::Error::other("the file system is gone")),
                free => Ok(VolumeSpace { free, total: 1000 << 20 }),
            }
        }
    }

    async fn until(gauge: &VolumeGauge, level: VolumeLevel) {
        let reached = async {
            while gauge.own().level != level {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reached).await.unwrap_or_else(|_| panic!("not {level:?}"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_volume_is_followed_down_and_up_and_a_failed_look_changes_nothing() {
        let gauge = VolumeGauge::default();
        let probe = Arc::new(Told(AtomicU64::new(500 << 20)));
        let looking = tokio::spawn(keep_measuring(probe.clone(), gauge.clone()));
        for (free, level) in [(50, VolumeLevel::Short), (5, VolumeLevel::Exhausted), (0, VolumeLevel::Exhausted)] {
            probe.0.store(free << 20, Ordering::SeqCst);
            until(&gauge, level).await;
        }
        probe.0.store(400 << 20, Ordering::SeqCst);
        until(&gauge, VolumeLevel::Enough).await;
        assert_eq!(gauge.reserve(), 100 << 20);
        looking.abort();
    }

    #[test]
    fn a_real_file_system_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let space = FsProbe::new(dir.path().to_owned()).measure().unwrap();
        assert!(space.total > 0 && space.free <= space.total, "{space:?}");
    }
}
