//! Presence: what a user's clients say, and what follows from their silence.
//!
//! A user has several devices. A client that says that its user is away does not count while another one, of which has been
//! heard within the last minutes, says that the user is there. Only a user's own words (`PUT …/status`) always count.

use super::record::{EntryContent, EphemeralKey, PresenceEntry, PresenceLevel};
use super::state::EphemeralState;
use std::sync::Arc;

impl EphemeralState {
    /// Returns the presence of a user, and whether its pod has been given up.
    pub(super) fn presence_of(&self, user: &str) -> Option<(&PresenceEntry, bool)> {
        let entry = self.entries.get(&EphemeralKey::Presence(user.into()))?;
        match &entry.content {
            EntryContent::Presence(presence) => Some((presence, entry.is_lost)),
            EntryContent::Typing { .. } => None,
        }
    }

    /// Returns the presence of a user as it counts for the user's next action.
    fn present(&self, user: &str) -> PresenceEntry {
        let known = self.presence_of(user).map(|(presence, is_lost)| (presence.clone(), is_lost));
        match known {
            Some((presence, false)) => presence,
            // Its pod is gone, and so is what it said.
            Some((presence, true)) => PresenceEntry { level: PresenceLevel::Offline, ..presence },
            None => PresenceEntry {
                level: PresenceLevel::Offline,
                status: None,
                is_active: false,
                active_ms: 0,
                seen_ms: 0,
                device: 0,
                rooms: Arc::default(),
            },
        }
    }

    /// Sets the presence of a user to what the user has said.
    pub(super) fn set_presence(
        &mut self,
        user: &str,
        device: u64,
        level: PresenceLevel,
        status: Option<Arc<str>>,
        now_ms: u64,
    ) {
        let before = self.present(user);
        let is_active = level == PresenceLevel::Online;
        let active_ms = if level == PresenceLevel::Offline { before.active_ms } else { now_ms };
        let after = PresenceEntry { level, status, is_active, active_ms, seen_ms: now_ms, device, ..before };
        self.change_presence(user, after, now_ms);
    }

    /// Notes that a client of a user syncs, and what it says of its user: there, or away.
    ///
    /// Returns `true` if others see a change.
    pub(super) fn note_sync(&mut self, user: &str, device: u64, level: PresenceLevel, now_ms: u64) -> bool {
        let before = self.present(user);
        let is_fresh = now_ms < before.seen_ms.saturating_add(self.times.offline_after_ms);
        if level == PresenceLevel::Offline || (level < before.level && device != before.device && is_fresh) {
            return false;
        }
        let arrives = level == PresenceLevel::Online && before.level != PresenceLevel::Online;
        let is_active = level == PresenceLevel::Online && (before.is_active || arrives);
        let active_ms = if arrives { now_ms } else { before.active_ms };
        self.change_presence(
            user,
            PresenceEntry { level, is_active, active_ms, seen_ms: now_ms, device, ..before },
            now_ms,
        )
    }

    /// Notes that a user did something: whoever was away is there again. Users who are offline stay so: a program that
    /// only sends is nobody who can be talked to.
    pub(super) fn note_action(&mut self, user: &str, now_ms: u64) {
        let before = self.present(user);
        if before.level == PresenceLevel::Offline {
            return;
        }
        let level = PresenceLevel::Online;
        let after = PresenceEntry { level, is_active: true, active_ms: now_ms, seen_ms: now_ms, ..before };
        self.change_presence(user, after, now_ms);
    }

    /// Ends a user's activity or presence once nothing was heard for long enough.
    pub(super) fn age_presence(&mut self, key: EphemeralKey, presence: PresenceEntry, now_ms: u64) {
        let is_gone = now_ms.saturating_sub(presence.seen_ms) >= self.times.offline_after_ms;
        let level = if is_gone { PresenceLevel::Offline } else { presence.level };
        let after = PresenceEntry { level, is_active: false, ..presence };
        self.put_own(key, EntryContent::Presence(after), true, now_ms);
    }

    fn change_presence(&mut self, user: &str, after: PresenceEntry, now_ms: u64) -> bool {
        let key = EphemeralKey::Presence(user.into());
        let known = self.entries.get(&key).map(|entry| (&entry.content, entry.is_lost));
        let is_visible = match known {
            Some((EntryContent::Presence(before), false)) => {
                (before.level, &before.status, before.is_active) != (after.level, &after.status, after.is_active)
            }
            _ => true,
        };
        if let Some((EntryContent::Presence(before), false)) = known
            && !is_visible
            && after.seen_ms.saturating_sub(before.seen_ms) < self.times.note_every_ms
        {
            // Others know as much. Saying it at every sync would cost more than all changes.
            return false;
        }
        self.put_own(key, EntryContent::Presence(after), is_visible, now_ms);
        is_visible
    }
}
