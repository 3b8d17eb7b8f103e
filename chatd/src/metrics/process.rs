//! Metrics of the process and of its async runtime, read when somebody scrapes.

use super::catalogue::{ProcessMetrics, RuntimeMetrics};
use quorate_meter::{CatchUp as _, process};
use tokio::runtime::Handle;

impl ProcessMetrics {
    pub(super) fn read(&self) {
        if let Some(run) = process::process_usage() {
            self.cpu_seconds.catch_up(run.cpu_seconds);
            self.threads.set(run.threads);
            self.start_time.set(run.started_at);
        }
        if let Some(bytes) = process::resident_bytes() {
            self.resident.set(bytes);
        }
        if let Some(open) = process::open_fds() {
            self.open_fds.set(open);
        }
        self.max_fds.set(process::max_fds().unwrap_or(0));
        self.memory_limit.set(process::memory_limit_bytes().unwrap_or(0));
    }
}

impl RuntimeMetrics {
    /// Reads the metrics of the runtime that this is called in; outside of any, nothing is known.
    pub(super) fn read(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let runtime = runtime.metrics();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.workers.set(count(runtime.num_workers()));
        self.tasks.set(count(runtime.num_alive_tasks()));
        self.queue.set(count(runtime.global_queue_depth()));
        let busy = (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64());
        self.busy_seconds.catch_up(busy.sum::<f64>());
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::ChatMetrics;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_runtime_of_the_scrape_is_told() {
        let metrics = ChatMetrics::new().unwrap();
        tokio::spawn(async { std::hint::black_box((0..1_000_000_u64).sum::<u64>()) }).await.unwrap();
        let runtime = &metrics.all.runtime;
        // A worker books its time when it parks, which may be after the task has ended.
        let booked = async {
            while runtime.busy_seconds.get() <= 0.0 {
                metrics.render().unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), booked).await.expect("a worker books its time");
        assert_eq!(runtime.workers.get(), 2);
        assert!(runtime.tasks.get() >= 0 && runtime.queue.get() >= 0);
    }

    #[test]
    fn a_process_has_memory_descriptors_and_a_start() {
        let metrics = ChatMetrics::new().unwrap();
        metrics.render().unwrap();
        let process = &metrics.all.process;
        assert!(process.resident.get() > 1 << 20 && process.open_fds.get() >= 3 && process.threads.get() >= 1);
        assert!(process.start_time.get() > 1e9 && process.max_fds.get() >= 0 && process.memory_limit.get() >= 0);
    }
}
