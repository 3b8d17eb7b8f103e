//! Posting as fast as acknowledgements come: a fixed number of posts is always in flight.

use super::clock::{Clock, Timing};
use super::latency::Recorder;
use crate::process;
use crate::system::Running;
use std::time::Instant;
use tokio::task::JoinSet;

/// Connections that unary callers share; the same for every system.
pub(crate) const CONNECTIONS: usize = 4;

/// How posts are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Posting {
    /// By the fastest way that a system has for one client: so many on their way at once.
    Stream { in_flight: usize },
    /// By so many callers who wait for each answer.
    Unary { callers: usize },
}

/// What one caller does: one post, acknowledged when it returns.
pub(crate) trait Caller: Send + 'static {
    /// # Errors
    /// It is not known to be durable.
    fn post(&mut self, number: u64) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// All callers until the clock's end.
///
/// # Errors
/// The first failed post.
pub(crate) async fn unary<C: Caller>(callers: Vec<C>, clock: Clock) -> anyhow::Result<Recorder> {
    let mut all = Recorder::new(clock)?;
    let mut calling = JoinSet::new();
    for mut caller in callers {
        let mut own = all.clone();
        calling.spawn(async move {
            while !clock.ended() {
                let sent = Instant::now();
                caller.post(crate::payload::next()).await?;
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

/// What posting showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posted {
    /// Acknowledged a second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU time of all server processes for each, in microseconds.
    pub(crate) cpu_micros: f64,
}

/// Posts, and watches the servers' CPU time over the steady part.
///
/// # Errors
/// A post failed, or a server ended.
pub(crate) async fn measure(running: &Running, posting: Posting, timing: Timing) -> anyhow::Result<Posted> {
    let pids: Vec<u32> = running.servers().iter().map(process::Server::pid).collect();
    let clock = timing.start();
    let used = tokio::spawn(async move {
        tokio::time::sleep_until(clock.steady.into()).await;
        let before = process::cpu_micros(&pids)?;
        tokio::time::sleep_until(clock.end.into()).await;
        anyhow::Ok(process::cpu_micros(&pids)? - before)
    });
    let recorder = running.post(posting, clock).await?;
    let used = used.await??;
    anyhow::ensure!(recorder.count() > 0, "nothing was acknowledged");
    Ok(Posted {
        rate: recorder.rate(),
        p50_ms: recorder.millis(0.5),
        p99_ms: recorder.millis(0.99),
        cpu_micros: used / recorder.count() as f64,
    })
}
