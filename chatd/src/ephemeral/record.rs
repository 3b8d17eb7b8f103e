//! Entries: who types where, and who is present.

use quorate_core::id::RoomNumber;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Number of one life of a pod, from its start to its end; random, and never 0.
pub(super) type LifeId = u32;

/// Key of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum EphemeralKey {
    /// A user types in a room.
    Typing(RoomNumber, Arc<str>),
    /// A user is present.
    Presence(Arc<str>),
}

/// Version of an entry: who may replace whom, and who has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryVersion {
    /// Time of the last change of any kind; never less than that of what the pod had heard of before.
    pub(super) stamp: u64,
    /// Life of the pod that answers for the entry.
    pub(super) keeper: LifeId,
    /// Life that made the last visible change.
    pub(super) life: LifeId,
    /// Number of that change in its life.
    pub(super) change: u64,
}

impl EntryVersion {
    /// Returns `true` if an entry of this version replaces one of the other version.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        (self.stamp, self.keeper) > (other.stamp, other.keeper)
    }
}

/// Entry with what this pod knows about it.
#[derive(Clone, Debug)]
pub(super) struct EphemeralEntry {
    pub(super) version: EntryVersion,
    pub(super) content: EntryContent,
    /// `true` once the entry's keeper has been silent for too long.
    pub(super) is_lost: bool,
    /// Number under which the entry waits to be sent to other pods; 0 for entries of others.
    pub(super) outgoing: u64,
    /// Time at which something has to be done about the entry; 0 if nothing.
    pub(super) due_ms: u64,
}

/// Content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntryContent {
    /// A user types, or has stopped.
    Typing {
        /// Identifier of the room.
        room_id: Arc<str>,
        /// Time at which the user stops by itself; 0 once the user has stopped.
        until_ms: u64,
        /// Time of the last change.
        changed_ms: u64,
    },
    /// A user's presence.
    Presence(PresenceEntry),
}

/// Presence of a user as pods keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PresenceEntry {
    pub(super) level: PresenceLevel,
    pub(super) status: Option<Arc<str>>,
    /// `true` while the user does something, and for a minute after.
    pub(super) is_active: bool,
    /// Time at which the user last did something.
    pub(super) active_ms: u64,
    /// Time at which a client of the user was last heard.
    pub(super) seen_ms: u64,
    /// Hash of the device that set the level.
    pub(super) device: u64,
    /// Rooms of the user when the entry was last published; none before.
    pub(super) rooms: Arc<BTreeSet<RoomNumber>>,
}

impl EntryContent {
    /// Returns `true` if there is something to see: a user who types, or is not offline.
    pub(super) fn is_shown(&self) -> bool {
        match self {
            Self::Typing { until_ms, .. } => *until_ms > 0,
            Self::Presence(presence) => presence.level != PresenceLevel::Offline,
        }
    }
}

/// Level of presence, in ascending order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PresenceLevel {
    /// No client of the user is there.
    #[default]
    Offline,
    /// A client is there, but not the user.
    Unavailable,
    /// The user is there.
    Online,
}

/// Presence of a user as clients are shown it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceStatus {
    /// Level of the presence.
    pub level: PresenceLevel,
    /// Message that the user has set.
    pub status: Option<Arc<str>>,
    /// `true` if the user has done something within the last minute.
    pub is_active: bool,
    /// Time since the user last did something, in milliseconds; `None` if that is not known.
    pub active_ago_ms: Option<u64>,
}

impl PresenceEntry {
    /// Returns the presence as clients are shown it at a time.
    pub(super) fn shown_at(&self, now_ms: u64, is_lost: bool) -> PresenceStatus {
        let level = if is_lost { PresenceLevel::Offline } else { self.level };
        PresenceStatus {
            level,
            status: self.status.clone().filter(|_| !is_lost),
            is_active: self.is_active && level == PresenceLevel::Online,
            active_ago_ms: (self.active_ms > 0).then(|| now_ms.saturating_sub(self.active_ms)),
        }
    }
}
