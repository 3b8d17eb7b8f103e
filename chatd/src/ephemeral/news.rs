//! News for one client: what has changed since the marks of its token.
//!
//! The changes of each pod's life are numbered, and every pod knows them by the same numbers; so a token is good anywhere.
//! A life of which nothing is known here (this pod has just started, or is cut off from that pod) keeps its mark. Of a life
//! that was given up, a client whose token names it is told that its users are gone, and its mark is dropped.

use super::life::PodLife;
use super::record::{EntryContent, EphemeralKey, LifeId, PresenceStatus};
use super::state::EphemeralState;
use quorate_core::id::RoomNumber;
use quorate_core::query::sync::LifeMarks;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Maximum number of changes that are looked at for one answer, a few hundred microseconds; the next answer goes on from
/// there.
const MOST_LOOKED_AT: usize = 4096;
/// Maximum number of users whose presence is in one answer, some 100 KiB.
const MOST_PRESENCE: usize = 512;
/// Begin of marks of lives that were given up: how far a client has been told that its users are gone. No life has as
/// many changes.
pub(super) const GONE: u64 = 1 << 62;

/// Question for news.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewsQuery<'a> {
    /// Localpart of the user who asks.
    pub(super) user: &'a str,
    /// Hash of the device that asks. It is not told what it has said itself.
    pub(super) device: u64,
    /// Rooms that the user is in.
    pub(super) rooms: &'a BTreeSet<RoomNumber>,
    /// Marks of the client's token.
    pub(super) marks: LifeMarks,
}

/// Changes since a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EphemeralNews {
    /// Rooms in which others have begun or stopped typing.
    pub typing: Vec<TypingNews>,
    /// `true` if the token is so old that somebody may have stopped in any other room: nobody types there.
    pub others_are_quiet: bool,
    /// Presence that has changed.
    pub presence: Vec<PresenceNews>,
    /// Marks for the next token.
    pub marks: LifeMarks,
    /// `true` if there is more, to be asked for with these marks.
    pub has_more: bool,
}

impl EphemeralNews {
    /// Returns `true` if there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.typing.is_empty() && self.presence.is_empty() && !self.others_are_quiet
    }
}

/// Users who type in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypingNews {
    /// Number of the room.
    pub room: RoomNumber,
    /// Identifier of the room.
    pub room_id: Arc<str>,
    /// Localparts of all users who type there.
    pub users: Vec<Arc<str>>,
}

/// Presence of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceNews {
    /// Localpart of the user.
    pub user: Arc<str>,
    /// Presence as clients are shown it.
    pub status: PresenceStatus,
}

/// News while they are collected.
struct NewsCollector<'a> {
    query: NewsQuery<'a>,
    now_ms: u64,
    /// `true` if the client knows nothing yet: it is told only of those who are there.
    is_first: bool,
    rooms: Vec<(RoomNumber, Arc<str>)>,
    presence: Vec<PresenceNews>,
    looked_at: usize,
}

impl EphemeralState {
    /// Returns what a client has not been told yet.
    pub(super) fn news(&self, query: NewsQuery<'_>, now_ms: u64) -> EphemeralNews {
        let is_first = query.marks.is_empty();
        let mut found =
            NewsCollector { query, now_ms, is_first, rooms: Vec::new(), presence: Vec::new(), looked_at: 0 };
        let mut alive = Vec::new();
        let mut others = Vec::new();
        let mut others_are_quiet = false;
        for (id, life) in &self.lives {
            let mark = query.marks.get(*id);
            match (life.is_alive(), mark) {
                (true, mark) => {
                    let from = mark.filter(|mark| *mark < GONE);
                    others_are_quiet |= from.is_some_and(|from| from < life.forgotten);
                    alive.push((*id, found.add_changes(self, life, from.unwrap_or(0))));
                }
                // Who has not been told that they are there need not be told that they are gone.
                (false, None) => {}
                (false, Some(mark)) => {
                    let at = found.add_gone(self, *id, life, mark);
                    others.extend(at.map(|at| (*id, GONE.saturating_add(at))));
                }
            }
        }
        others.extend(query.marks.iter().filter(|(id, _)| !self.lives.contains_key(id)));
        let has_more = found.is_full();
        let typing = found.rooms.iter().map(|(room, room_id)| self.typing_news(*room, room_id, now_ms)).collect();
        let marks = LifeMarks::of(alive.into_iter().chain(others));
        EphemeralNews { typing, others_are_quiet, presence: found.presence, marks, has_more }
    }

    fn typing_news(&self, room: RoomNumber, room_id: &Arc<str>, now_ms: u64) -> TypingNews {
        let users = self.typing_in.get(&room).into_iter().flatten();
        let users = users.filter(|user| self.types_until(room, user) > now_ms).cloned().collect();
        TypingNews { room, room_id: room_id.clone(), users }
    }

    /// Returns who types in a room; `None` if nobody does.
    pub(super) fn typing_at(&self, room: RoomNumber, now_ms: u64) -> Option<TypingNews> {
        let first = self.typing_in.get(&room)?.first()?;
        match &self.entries.get(&EphemeralKey::Typing(room, first.clone()))?.content {
            EntryContent::Typing { room_id, .. } => Some(self.typing_news(room, room_id, now_ms)),
            EntryContent::Presence(_) => None,
        }
    }

    fn types_until(&self, room: RoomNumber, user: &Arc<str>) -> u64 {
        match self.entries.get(&EphemeralKey::Typing(room, user.clone())) {
            // Another pod's own clock ends it.
            Some(entry) if entry.version.keeper != self.own => u64::MAX,
            Some(entry) => match entry.content {
                EntryContent::Typing { until_ms, .. } => until_ms,
                EntryContent::Presence(_) => 0,
            },
            None => 0,
        }
    }

    /// Returns the presence of a user as clients are shown it.
    pub(super) fn presence_news(&self, user: &Arc<str>, now_ms: u64) -> Option<PresenceNews> {
        let (presence, is_lost) = self.presence_of(user)?;
        Some(PresenceNews { user: user.clone(), status: presence.shown_at(now_ms, is_lost) })
    }
}

impl NewsCollector<'_> {
    fn is_full(&self) -> bool {
        self.looked_at >= MOST_LOOKED_AT || self.presence.len() >= MOST_PRESENCE
    }

    /// Adds the published changes of a life after the number `from`; returns the number up to which they were added.
    fn add_changes(&mut self, state: &EphemeralState, life: &PodLife, from: u64) -> u64 {
        if from >= life.published {
            return from;
        }
        let mut reached = from;
        for (change, key) in life.changes.range(from.saturating_add(1)..=life.published) {
            if self.is_full() {
                return reached;
            }
            self.add(state, key);
            reached = *change;
        }
        life.published
    }

    /// Adds that those are gone whom a life has kept, and what it had told that the client does not know; returns where
    /// to go on, or `None` at the end.
    fn add_gone(&mut self, state: &EphemeralState, id: LifeId, life: &PodLife, mark: u64) -> Option<u64> {
        let mut reached = mark.saturating_sub(GONE);
        for (change, key) in life.changes.range(reached.saturating_add(1)..) {
            if self.is_full() {
                return Some(reached);
            }
            let lost = state.entries.get(key).filter(|entry| entry.is_lost && entry.version.keeper == id);
            // Who was known to be gone need not be told of again.
            match lost.is_some_and(|entry| entry.content.is_shown() || *change > mark).then_some(key) {
                Some(key) => self.add(state, key),
                None => self.looked_at += 1,
            }
            reached = *change;
        }
        None
    }

    fn add(&mut self, state: &EphemeralState, key: &EphemeralKey) {
        self.looked_at += 1;
        let Some(entry) = state.entries.get(key) else { return };
        if self.is_first && (entry.is_lost || !entry.content.is_shown()) {
            return;
        }
        match (key, &entry.content) {
            (EphemeralKey::Typing(room, _), EntryContent::Typing { room_id, .. }) => {
                let is_new = self.rooms.iter().all(|(known, _)| known != room);
                if self.query.rooms.contains(room) && is_new {
                    self.rooms.push((*room, room_id.clone()));
                }
            }
            (EphemeralKey::Presence(user), EntryContent::Presence(presence)) => {
                let is_shared = if **user == *self.query.user {
                    self.is_first || presence.device != self.query.device
                } else {
                    presence.rooms.iter().any(|room| self.query.rooms.contains(room))
                };
                if is_shared {
                    let status = presence.shown_at(self.now_ms, entry.is_lost);
                    self.presence.push(PresenceNews { user: user.clone(), status });
                }
            }
            _ => {}
        }
    }
}
