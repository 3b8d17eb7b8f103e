//! Posting as fast as acknowledgements come: a fixed number of posts is always in flight.

use super::clock::{LoadClock, LoadTiming};
use super::latency::LatencyRecorder;
use crate::process;
use crate::system::RunningSystem;
use std::time::Instant;
use tokio::task::JoinSet;

/// Number of connections that unary callers share; the same for every system.
pub(crate) const CONNECTIONS: usize = 4;

/// Way in which posts are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PostMode {
    /// The fastest way that a system offers one client, with `in_flight` posts unacknowledged at any time.
    Stream { in_flight: usize },
    /// Unary calls by `callers` callers, each of which waits for every answer.
    Unary { callers: usize },
}

/// A caller that makes one post at a time, acknowledged when the call returns.
pub(crate) trait PostCaller: Send + 'static {
    /// Posts one message.
    ///
    /// # Errors
    /// Fails if the message is not known to be durable.
    fn post(&mut self, number: u64) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Runs all callers until the clock's end.
///
/// # Errors
/// Returns the error of the first failed post.
pub(crate) async fn run_callers<C: PostCaller>(callers: Vec<C>, clock: LoadClock) -> anyhow::Result<LatencyRecorder> {
    let mut all = LatencyRecorder::new(clock)?;
    let mut calling = JoinSet::new();
    for mut caller in callers {
        let mut own = all.clone();
        calling.spawn(async move {
            while !clock.ended() {
                let sent = Instant::now();
                caller.post(crate::payload::next_number()).await?;
                own.acknowledged(sent);
            }
            anyhow::Ok(own)
        });
    }
    while let Some(own) = calling.join_next().await {
        all.add(&own??)?;
    }
    Ok(all)
}

/// Figures of one measurement of posts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PostFigures {
    /// Acknowledged posts per second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU time of all server processes per post, in microseconds.
    pub(crate) cpu_micros: f64,
}

/// Posts, and measures the servers' CPU time over the steady part.
///
/// # Errors
/// Fails if a post fails, a server ends, or nothing is acknowledged.
pub(crate) async fn measure_posts(
    running: &RunningSystem,
    posting: PostMode,
    timing: LoadTiming,
) -> anyhow::Result<PostFigures> {
    measure_load(running.pids(), timing, |clock| running.post(posting, clock)).await
}

/// Runs a load that posts until the clock's end, and measures the servers' CPU time over the steady part.
///
/// # Errors
/// Fails as the load does, or if a server ends or nothing is acknowledged.
pub(crate) async fn measure_load<F: Future<Output = anyhow::Result<LatencyRecorder>>>(
    pids: Vec<u32>,
    timing: LoadTiming,
    load: impl FnOnce(LoadClock) -> F,
) -> anyhow::Result<PostFigures> {
    let clock = timing.start();
    let used = tokio::spawn(async move {
        tokio::time::sleep_until(clock.steady.into()).await;
        let before = process::cpu_micros(&pids)?;
        tokio::time::sleep_until(clock.end.into()).await;
        anyhow::Ok(process::cpu_micros(&pids)? - before)
    });
    let recorder = load(clock).await?;
    let used = used.await??;
    anyhow::ensure!(recorder.count() > 0, "no post was acknowledged");
    Ok(PostFigures {
        rate: recorder.rate(),
        p50_ms: recorder.millis(0.5),
        p99_ms: recorder.millis(0.99),
        cpu_micros: used / recorder.count() as f64,
    })
}
