//! The clock that stamps log entries, and why a pod whose clock is off does not lead.
//!
//! Sessions, retention and `origin_server_ts` follow the time in the log, which only rises: what a wrong clock puts in
//! stays. A clock is therefore judged *before* anything is stamped with it ([`agreement`]): each voter reports its time
//! with every append stream that it accepts (twenty a second), and an entry is stamped only after a majority has
//! reported. The leader sends the time that it uses with every stream that it opens, so every pod knows the time by
//! which the log is judged ([`timekeeper`]), and whether its own clock is wrong.

mod agreement;
mod timekeeper;
mod watch;

pub use agreement::{ClockVerdict, TOLERANCE_MS};
pub(crate) use timekeeper::TimeStamp;
pub use timekeeper::{TimeStatus, Timekeeper};
pub(super) use watch::{keep_time, off_by};

use quorate_core::proto::log::TimeTrust;
use quorate_wire::whole_millis;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tonic::metadata::MetadataMap;

/// Source of the current time, in milliseconds since the Unix epoch.
pub type ClockSource = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Returns the clock of the machine.
#[must_use]
pub fn system_clock() -> ClockSource {
    Arc::new(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        whole_millis(since_epoch)
    })
}

/// Metadata key of an append stream, in milliseconds: the leader's time when it opens a stream, and the receiver's own
/// time in the answer.
const TIME_KEY: &str = "quorate-time-ms";
/// Metadata key that accompanies the leader's time: the number of its [`TimeTrust`].
const TRUST_KEY: &str = "quorate-time-trust";

/// Adds a time to the metadata for the other side.
pub(super) fn put_time(metadata: &mut MetadataMap, time_ms: u64) {
    metadata.insert(TIME_KEY, time_ms.into());
}

/// Returns the time that the other side sent.
pub(super) fn told_time(metadata: &MetadataMap) -> Option<u64> {
    metadata.get(TIME_KEY)?.to_str().ok()?.parse().ok()
}

/// Adds the time that this leader uses to the metadata, with its trust.
pub(super) fn put_stamp(metadata: &mut MetadataMap, stamp: TimeStamp) {
    put_time(metadata, stamp.time_ms);
    metadata.insert(TRUST_KEY, i32::from(stamp.trust).into());
}

/// Returns the time that the leader uses; `None` if the leader may not stamp entries yet.
pub(super) fn told_stamp(metadata: &MetadataMap) -> Option<TimeStamp> {
    let trust: i32 = metadata.get(TRUST_KEY)?.to_str().ok()?.parse().ok()?;
    match TimeTrust::try_from(trust).ok()? {
        TimeTrust::Unspecified => None,
        trust => Some(TimeStamp { time_ms: told_time(metadata)?, trust }),
    }
}
