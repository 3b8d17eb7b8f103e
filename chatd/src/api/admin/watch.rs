//! Stream of statuses: the first at once, then one after each change, and one after each interval as a sign of life.

use super::AdminApi;
use futures::{StreamExt as _, stream, stream::BoxStream};
use quorate_wire::admin::v1 as pb;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Status;

const DEFAULT: Duration = Duration::from_secs(10);
/// Minimum interval, also for a caller that asks for a shorter one: a status costs a look at the file system.
const SHORTEST: Duration = Duration::from_millis(100);

/// Returns the longest silence that a caller asked for; 0 means the default.
pub(super) fn watch_interval(millis: u32) -> Duration {
    match millis {
        0 => DEFAULT,
        millis => Duration::from_millis(millis.into()).max(SHORTEST),
    }
}

/// Streams states, not deltas: a slow caller misses some and loses nothing.
pub(super) fn status_stream(
    api: AdminApi,
    interval: Duration,
    stop: CancellationToken,
) -> BoxStream<'static, Result<pb::StatusResponse, Status>> {
    let changes = api.administration().cluster().watch();
    let state = (api, changes, true);
    let all = stream::unfold(state, move |(api, mut changes, first)| async move {
        if first {
            // The first status is of now, and so covers all changes before it.
            changes.mark_unchanged();
        } else if let Ok(Err(_)) = timeout(interval, changes.changed()).await {
            // Raft has stopped.
            return None;
        }
        Some((Ok(api.status_now()), (api, changes, false)))
    });
    all.take_until(async move { stop.cancelled().await }).boxed()
}
