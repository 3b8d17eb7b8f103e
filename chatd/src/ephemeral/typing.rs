//! Typing: a user types in a room until a time that the client gives, or until something ends it before.

use super::record::{EntryContent, EphemeralKey};
use super::state::EphemeralState;
use quorate_core::id::RoomNumber;
use std::collections::BTreeSet;
use std::sync::Arc;

impl EphemeralState {
    /// Notes that a user types in a room until a time. Another note while the user types only moves the end.
    pub(super) fn start_typing(&mut self, room: RoomNumber, room_id: &str, user: &str, until_ms: u64, now_ms: u64) {
        let key = EphemeralKey::Typing(room, user.into());
        let is_visible = !self.is_typing(&key);
        let content = EntryContent::Typing { room_id: room_id.into(), until_ms: until_ms.max(1), changed_ms: now_ms };
        self.put_own(key, content, is_visible, now_ms);
    }

    /// Notes that a user has stopped typing in a room; whichever pod was told that the user types.
    pub(super) fn stop_typing(&mut self, room: RoomNumber, user: &str, now_ms: u64) {
        let key = EphemeralKey::Typing(room, user.into());
        if !self.is_typing(&key) {
            return;
        }
        if let Some(EntryContent::Typing { room_id, .. }) = self.entries.get(&key).map(|entry| entry.content.clone()) {
            self.stop_typing_of(key, room_id, now_ms);
        }
    }

    /// Ends the typing of a user in rooms that the user is no longer in, where this pod answers for it: the others see
    /// the same.
    pub(super) fn stop_typing_outside(&mut self, user: &str, rooms: &BTreeSet<RoomNumber>, now_ms: u64) {
        let of_user = self.rooms_of.get(user).into_iter().flatten().copied().filter(|room| !rooms.contains(room));
        let left: Vec<_> = of_user.filter(|room| self.answers_for(*room, user)).collect();
        left.into_iter().for_each(|room| self.stop_typing(room, user, now_ms));
    }

    fn answers_for(&self, room: RoomNumber, user: &str) -> bool {
        let entry = self.entries.get(&EphemeralKey::Typing(room, user.into()));
        entry.is_some_and(|entry| entry.version.keeper == self.own)
    }

    /// Ends the typing of a user in the room with this identifier.
    pub(super) fn stop_typing_at(&mut self, room_id: &str, user: &str, now_ms: u64) {
        let is_there = |room: &RoomNumber| match self.entries.get(&EphemeralKey::Typing(*room, user.into())) {
            Some(entry) => matches!(&entry.content, EntryContent::Typing { room_id: known, .. } if **known == *room_id),
            None => false,
        };
        let found = self.rooms_of.get(user).into_iter().flatten().copied().find(is_there);
        if let Some(room) = found {
            self.stop_typing(room, user, now_ms);
        }
    }

    pub(super) fn stop_typing_of(&mut self, key: EphemeralKey, room_id: Arc<str>, now_ms: u64) {
        self.put_own(key, EntryContent::Typing { room_id, until_ms: 0, changed_ms: now_ms }, true, now_ms);
    }

    fn is_typing(&self, key: &EphemeralKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.content.is_shown() && !entry.is_lost)
    }
}
