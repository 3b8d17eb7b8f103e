//! Ends: of typing and presence that nobody renews, and of pods that are no longer heard.

use super::life::PodLife;
use super::record::{EntryContent, EphemeralEntry, EphemeralKey, LifeId};
use super::state::{EphemeralState, STOPPED_KEPT_MS};

impl EphemeralState {
    /// Ends what has run out, and gives up pods that have been silent for too long.
    pub(super) fn tick(&mut self, now_ms: u64) {
        while let Some((at, key)) = self.due.first().cloned().filter(|(at, _)| *at <= now_ms) {
            self.due.remove(&(at, key.clone()));
            let Some(entry) = self.entries.get(&key).filter(|entry| entry.due_ms == at) else { continue };
            match entry.content.clone() {
                EntryContent::Typing { until_ms: 0, .. } => self.forget_stop(&key),
                EntryContent::Typing { room_id, .. } => self.stop_typing_of(key, room_id, now_ms),
                EntryContent::Presence(presence) => self.age_presence(key, presence, now_ms),
            }
        }
        let silent: Vec<_> =
            self.lives.iter().filter(|(_, life)| self.is_silent(life, now_ms)).map(|(id, _)| *id).collect();
        silent.into_iter().for_each(|life| self.bury(life, now_ms));
        self.forget_buried(now_ms);
    }

    /// Returns `true` if [`EphemeralState::tick`] may have something to do.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        let has_ended = |life: &PodLife| {
            let kept = life.buried_ms.is_some_and(|at| now_ms.saturating_sub(at) >= STOPPED_KEPT_MS);
            kept || self.is_silent(life, now_ms)
        };
        self.due.first().is_some_and(|(at, _)| *at <= now_ms) || self.lives.values().any(has_ended)
    }

    fn is_silent(&self, life: &PodLife, now_ms: u64) -> bool {
        let heard = life.heard_ms.filter(|_| life.is_alive());
        heard.is_some_and(|at| now_ms.saturating_sub(at) >= self.times.silence_ms)
    }

    fn forget_stop(&mut self, key: &EphemeralKey) {
        if let Some(entry) = self.remove(key)
            && let Some(life) = self.lives.get_mut(&entry.version.life)
        {
            life.forgotten = life.forgotten.max(entry.version.change);
        }
    }

    /// Gives a pod up: what it keeps has ended, as far as anybody here is told.
    fn bury(&mut self, life: LifeId, now_ms: u64) {
        let kept = self.entries.iter().filter(|(_, entry)| entry.version.keeper == life);
        let kept: Vec<_> = kept.map(|(key, entry)| (key.clone(), entry.content.is_shown())).collect();
        let known = self.lives.get(&life);
        let newest = known.and_then(|known| known.changes.last_key_value()).map_or(0, |(change, _)| *change);
        let mut last = known.map_or(newest, |known| newest.max(known.through));
        for (key, is_shown) in kept {
            let Some(mut entry) = self.remove(&key) else { continue };
            if is_shown && entry.version.life != life {
                // Taken over from another pod: clients look for the end among the changes of the one that has ended.
                last += 1;
                entry.version.life = life;
                entry.version.change = last;
            }
            if is_shown {
                self.wake_for(&key, &entry.content);
            }
            self.put(key, EphemeralEntry { is_lost: true, ..entry });
        }
        if let Some(buried) = self.lives.get_mut(&life) {
            buried.buried_ms = Some(now_ms);
        }
        // What this pod has taken over from it gets a number of this pod: nobody counts the other's any more.
        let taken =
            self.entries.iter().filter(|(_, entry)| entry.version.life == life && entry.version.keeper == self.own);
        let taken: Vec<_> = taken.map(|(key, entry)| (key.clone(), entry.content.clone())).collect();
        for (key, content) in taken {
            self.put_own(key, content, true, now_ms);
        }
    }

    fn forget_buried(&mut self, now_ms: u64) {
        let old = |life: &PodLife| life.buried_ms.is_some_and(|at| now_ms.saturating_sub(at) >= STOPPED_KEPT_MS);
        let gone: Vec<_> = self.lives.iter().filter(|(_, life)| old(life)).map(|(id, _)| *id).collect();
        for life in gone {
            let kept = self.entries.iter().filter(|(_, entry)| entry.version.keeper == life);
            let kept: Vec<_> = kept.map(|(key, _)| key.clone()).collect();
            kept.iter().for_each(|key| drop(self.remove(key)));
            self.lives.remove(&life);
        }
    }
}
