//! Fuzz target for what other pods tell about typing and presence; see [`crate::fuzzing`].

use super::frame::entries_of;
use super::record::LifeId;
use super::state::{EphemeralState, EphemeralTimes};
use quorate_wire::raft::v1 as pb;
use std::time::Duration;

const OWN_LIFE: LifeId = 1;
/// Time without a sign of life after which a pod's entries are dropped.
const SILENCE: Duration = Duration::from_secs(30);

/// Takes a frame over twice, at different times, and checks that no more is kept than it contains.
pub(crate) fn check_heard_frame(frame: &pb::GossipResponse) {
    let mut state = EphemeralState::new(OWN_LIFE, EphemeralTimes::of(SILENCE));
    for now_ms in [0, 1_000_000] {
        let entries = entries_of(frame.clone(), now_ms);
        state.hear(frame.life, frame.through, entries, now_ms);
        let (typing, present) = state.counts();
        assert!(typing <= frame.typing.len() && present <= frame.presence.len(), "{typing}, {present}: {frame:?}");
    }
}
