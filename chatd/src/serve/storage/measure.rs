//! Continuous measurement of the volume, by one cheap system call, because its result decides whether writes are
//! refused.

use crate::raft::volume::{VolumeGauge, VolumeSpace};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Interval between measurements. Bytes written in between are counted (`VolumeGauge::spend`), so this only bounds the
/// age of a figure.
const EVERY: Duration = Duration::from_millis(200);

/// Source of the free and total space of a volume. Blocks.
pub(in crate::serve) trait SpaceProbe: Send + Sync + 'static {
    /// Returns the current space.
    fn measure(&self) -> io::Result<VolumeSpace>;
}

/// Probe of the file system that holds a directory.
pub(in crate::serve) struct FsProbe(PathBuf);

impl FsProbe {
    pub(in crate::serve) fn new(dir: PathBuf) -> Self {
        Self(dir)
    }
}

impl SpaceProbe for FsProbe {
    fn measure(&self) -> io::Result<VolumeSpace> {
        let found = fs4::statvfs(&self.0)?;
        // Free space that is reserved for root is not available to chatd.
        Ok(VolumeSpace { free: found.available_space(), total: found.total_space() })
    }
}

/// Measures for as long as the process lives. A measurement that fails leaves the last figures.
pub(in crate::serve) async fn keep_measuring(probe: Arc<dyn SpaceProbe>, gauge: VolumeGauge) {
    loop {
        let looking = Arc::clone(&probe);
        // A file system that hangs blocks one thread instead of the runtime.
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
