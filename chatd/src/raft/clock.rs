//! The clock that stamps entries, and why a pod whose clock is off does not lead.
//!
//! Sessions, retention and `origin_server_ts` go by the time in the log, which only rises: what a wrong clock puts in
//! stays. So a clock is judged *before* anything is stamped with it ([`agreement`]): each voter tells its time with every
//! append stream that it accepts (twenty a second), and without a majority's word there is no stamp. The leader tells what
//! it goes by with every stream that it opens; so every pod knows the time by which the log judges ([`timekeeper`]), and
//! whether its own clock is wrong.

mod agreement;
mod timekeeper;
mod watch;

pub use agreement::{TOLERANCE_MS, Verdict};
pub(crate) use timekeeper::TimeStamp;
pub use timekeeper::{TimeStatus, Timekeeper};
pub(super) use watch::{keep_time, off_by};

use quorate_core::proto::log::TimeTrust;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tonic::metadata::MetadataMap;

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The machine's.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Metadata of an append stream: what the leader goes by when it opens one, the receiver's own time in the answer; in
/// milliseconds.
const TIME_KEY: &str = "quorate-time-ms";
/// With the leader's: [`TimeTrust`] by its number.
const TRUST_KEY: &str = "quorate-time-trust";

/// Tells a time to the other side.
pub(super) fn put_time(metadata: &mut MetadataMap, time_ms: u64) {
    metadata.insert(TIME_KEY, time_ms.into());
}

/// The time that the other side told.
pub(super) fn told_time(metadata: &MetadataMap) -> Option<u64> {
    metadata.get(TIME_KEY)?.to_str().ok()?.parse().ok()
}

/// Tells what this leader goes by.
pub(super) fn put_stamp(metadata: &mut MetadataMap, stamp: TimeStamp) {
    put_time(metadata, stamp.time_ms);
    metadata.insert(TRUST_KEY, i32::from(stamp.trust).into());
}

/// What the leader goes by; `None` from one that may stamp nothing yet.
pub(super) fn told_stamp(metadata: &MetadataMap) -> Option<TimeStamp> {
    let trust: i32 = metadata.get(TRUST_KEY)?.to_str().ok()?.parse().ok()?;
    match TimeTrust::try_from(trust).ok()? {
        TimeTrust::Unspecified => None,
        trust => Some(TimeStamp { time_ms: told_time(metadata)?, trust }),
    }
}
