//! Entries on their way between pods. Times are sent as durations, so that pods need not agree on the time of day.

use super::news::GONE;
use super::record::{EntryContent, EntryVersion, EphemeralEntry, EphemeralKey, LifeId, PresenceEntry, PresenceLevel};
use super::state::EphemeralState;
use quorate_core::id::RoomNumber;
use quorate_wire::raft::v1 as pb;
use std::sync::Arc;

/// Maximum number of entries in a frame. With one frame in 200 ms, the full state of ten thousand users takes a second.
pub(super) const MOST_ENTRIES: usize = 4096;
/// Number of bytes after which no further entry is added; far below the limit of a message between pods.
pub(super) const MOST_BYTES: usize = 1 << 20;
/// Maximum length of a text in a frame; one that a pod of another version has sent and that is longer is not taken over.
const MOST_TEXT: usize = 1024;

/// Entry as it was received.
pub(super) type ReceivedEntry = (EphemeralKey, EntryVersion, EntryContent);

impl EphemeralState {
    /// Returns the own entries that changed after the number `after`, as far as one frame holds them, and the number from
    /// which the next frame goes on.
    pub(super) fn frame_after(&self, after: u64, now_ms: u64) -> (pb::GossipResponse, u64) {
        let mut frame = pb::GossipResponse { life: self.own, ..pb::GossipResponse::default() };
        let mut reached = after;
        let mut bytes = 0;
        for (number, key) in self.outgoing.range(after.saturating_add(1)..) {
            if frame.typing.len() + frame.presence.len() >= MOST_ENTRIES || bytes >= MOST_BYTES {
                return (frame, reached);
            }
            if let Some(entry) = self.entries.get(key) {
                bytes += add_entry(&mut frame, key, entry, now_ms);
            }
            reached = *number;
        }
        // Only with all that is known now: an entry that changed again waits behind others.
        frame.through = self.lives.get(&self.own).map_or(0, |own| own.through);
        // The newest entries may have gone to another keeper since.
        (frame, self.newest_outgoing())
    }
}

/// Adds an entry to a frame; returns roughly how many bytes it takes there.
fn add_entry(frame: &mut pb::GossipResponse, key: &EphemeralKey, entry: &EphemeralEntry, now_ms: u64) -> usize {
    /// Bytes of numbers and field tags.
    const FIXED: usize = 64;
    let EntryVersion { stamp, life, change, .. } = entry.version;
    let version = Some(pb::EphemeralVersion { stamp, life, change });
    match (key, &entry.content) {
        (EphemeralKey::Typing(room, user), EntryContent::Typing { room_id, until_ms, .. }) => {
            let left_ms = if *until_ms == 0 { 0 } else { until_ms.saturating_sub(now_ms).max(1) };
            let room_id = room_id.to_string();
            let bytes = FIXED + room_id.len() + user.len();
            frame.typing.push(pb::Typing { version, room: room.0, room_id, user: user.to_string(), left_ms });
            bytes
        }
        (EphemeralKey::Presence(user), EntryContent::Presence(presence)) => {
            let status = presence.status.as_deref().unwrap_or_default().to_owned();
            let bytes = FIXED + user.len() + status.len();
            frame.presence.push(pb::Presence {
                version,
                user: user.to_string(),
                state: level_to_pb(presence.level),
                status,
                has_status: presence.status.is_some(),
                is_active: presence.is_active,
                active_ago_ms: now_ms.saturating_sub(presence.active_ms),
                seen_ago_ms: now_ms.saturating_sub(presence.seen_ms),
                device: presence.device,
            });
            bytes
        }
        _ => 0,
    }
}

/// Returns the entries of a frame. Those of a form that this version does not know are left out.
pub(super) fn entries_of(frame: pb::GossipResponse, now_ms: u64) -> Vec<ReceivedEntry> {
    let life = frame.life;
    let typing = frame.typing.into_iter().filter_map(|typing| typing_of(life, typing, now_ms));
    let mut out: Vec<_> = typing.collect();
    out.extend(frame.presence.into_iter().filter_map(|presence| presence_of(life, presence, now_ms)));
    out
}

fn version_of(keeper: LifeId, version: Option<pb::EphemeralVersion>) -> Option<EntryVersion> {
    let pb::EphemeralVersion { stamp, life, change } = version?;
    // Numbers that no pod counts up to would not fit into the marks of tokens.
    (life != 0 && (1..GONE).contains(&change)).then_some(EntryVersion { stamp, keeper, life, change })
}

fn typing_of(keeper: LifeId, typing: pb::Typing, now_ms: u64) -> Option<ReceivedEntry> {
    let version = version_of(keeper, typing.version)?;
    if typing.user.len() > MOST_TEXT || typing.room_id.len() > MOST_TEXT {
        return None;
    }
    let until_ms = if typing.left_ms == 0 { 0 } else { now_ms.saturating_add(typing.left_ms) };
    let content = EntryContent::Typing { room_id: typing.room_id.into(), until_ms, changed_ms: now_ms };
    Some((EphemeralKey::Typing(RoomNumber(typing.room), typing.user.into()), version, content))
}

fn presence_of(keeper: LifeId, presence: pb::Presence, now_ms: u64) -> Option<ReceivedEntry> {
    let version = version_of(keeper, presence.version)?;
    if presence.user.len() > MOST_TEXT || presence.status.len() > MOST_TEXT {
        return None;
    }
    let content = EntryContent::Presence(PresenceEntry {
        level: level_from_pb(presence.state)?,
        status: presence.has_status.then(|| presence.status.into()),
        is_active: presence.is_active,
        active_ms: now_ms.saturating_sub(presence.active_ago_ms),
        seen_ms: now_ms.saturating_sub(presence.seen_ago_ms),
        device: presence.device,
        rooms: Arc::default(),
    });
    Some((EphemeralKey::Presence(presence.user.into()), version, content))
}

fn level_to_pb(level: PresenceLevel) -> u32 {
    match level {
        PresenceLevel::Offline => 1,
        PresenceLevel::Unavailable => 2,
        PresenceLevel::Online => 3,
    }
}

fn level_from_pb(level: u32) -> Option<PresenceLevel> {
    match level {
        1 => Some(PresenceLevel::Offline),
        2 => Some(PresenceLevel::Unavailable),
        3 => Some(PresenceLevel::Online),
        _ => None,
    }
}
