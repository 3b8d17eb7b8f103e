//! Entries of all pods, merged. Pure: whoever calls supplies the time, in milliseconds since the Unix epoch.

use super::life::{LivesById, PodLife};
use super::news::GONE;
use super::record::{EntryContent, EntryVersion, EphemeralEntry, EphemeralKey, LifeId};
use quorate_core::id::RoomNumber;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Maximum number of users whose presence is kept, some 300 bytes each: ten times the people of the largest cluster that
/// is planned for.
pub(super) const MOST_PRESENT: usize = 100_000;
/// Maximum number of entries for typing: of ten thousand people, few type at one time, and each entry lasts minutes.
pub(super) const MOST_TYPING: usize = 16_384;
/// Maximum number of lives: those of a cluster's pods, and of restarts within the last minutes.
const MOST_LIVES: usize = 64;
/// Time for which a stop is kept, so that clients are told that were away for as long. Later ones are told that nobody
/// types in any of their rooms.
pub(super) const STOPPED_KEPT_MS: u64 = 10 * 60_000;

/// Times by which entries end.
#[derive(Clone, Copy, Debug)]
pub(super) struct EphemeralTimes {
    /// Time without a sign of life after which a pod's entries are dropped.
    pub(super) silence_ms: u64,
    /// Time without a sign of a user's clients after which the user is offline.
    pub(super) offline_after_ms: u64,
    /// Time after which a user who did something no longer counts as active.
    pub(super) active_for_ms: u64,
    /// Minimum time between two notes that a user is still there: less than the silence after which a pod's entries are
    /// dropped, so that a user who has moved to another pod stays present.
    pub(super) note_every_ms: u64,
}

impl EphemeralTimes {
    /// Returns the times for a given silence: five minutes and one minute, as the specification's clients expect.
    pub(super) fn of(silence: Duration) -> Self {
        let silence_ms = quorate_wire::whole_millis(silence);
        Self {
            silence_ms,
            offline_after_ms: 5 * 60_000,
            active_for_ms: 60_000,
            note_every_ms: (silence_ms / 3 * 2).min(20_000),
        }
    }
}

/// Rooms and users whose readers have to be woken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WakeTopics {
    pub(super) rooms: BTreeSet<RoomNumber>,
    pub(super) users: BTreeSet<Arc<str>>,
}

/// Number of entries that were refused because too many were kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RefusedEntries {
    pub(super) typing: u64,
    pub(super) presence: u64,
}

/// Entries of this pod and of the others; see the [module](self).
pub(super) struct EphemeralState {
    pub(super) own: LifeId,
    pub(super) times: EphemeralTimes,
    pub(super) entries: HashMap<EphemeralKey, EphemeralEntry>,
    pub(super) lives: LivesById,
    /// Own entries in the order in which they changed: each once.
    pub(super) outgoing: BTreeMap<u64, EphemeralKey>,
    /// Users who type, by room.
    pub(super) typing_in: BTreeMap<RoomNumber, BTreeSet<Arc<str>>>,
    /// Rooms in which a user types, by user.
    pub(super) rooms_of: HashMap<Arc<str>, BTreeSet<RoomNumber>>,
    /// Readers to be woken at the next publication, because of typing.
    pub(super) wake: WakeTopics,
    /// Readers to be woken within a second, because of presence.
    pub(super) wake_later: WakeTopics,
    pub(super) refused: RefusedEntries,
    pub(super) due: BTreeSet<(u64, EphemeralKey)>,
    typing: usize,
    last_outgoing: u64,
    last_change: u64,
    last_stamp: u64,
}

impl EphemeralState {
    /// Creates the state of a pod whose life begins.
    pub(super) fn new(own: LifeId, times: EphemeralTimes) -> Self {
        Self {
            own,
            times,
            entries: HashMap::new(),
            lives: LivesById::from([(own, PodLife::new(None))]),
            outgoing: BTreeMap::new(),
            typing_in: BTreeMap::new(),
            rooms_of: HashMap::new(),
            wake: WakeTopics::default(),
            wake_later: WakeTopics::default(),
            refused: RefusedEntries::default(),
            due: BTreeSet::new(),
            typing: 0,
            last_outgoing: 0,
            last_change: 0,
            last_stamp: 0,
        }
    }

    /// Returns the number of entries for typing, and of users whose presence is kept.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.typing, self.entries.len() - self.typing)
    }

    /// Returns the number of the newest change of any kind of this pod's own entries.
    pub(super) fn newest_outgoing(&self) -> u64 {
        self.last_outgoing
    }

    /// Returns `true` if an entry can be put under this key; counts it as refused otherwise.
    fn has_space(&mut self, key: &EphemeralKey) -> bool {
        let (typing, present) = self.counts();
        if self.entries.contains_key(key) {
            return true;
        }
        let (kept, most, refused) = match key {
            EphemeralKey::Typing(..) => (typing, MOST_TYPING, &mut self.refused.typing),
            EphemeralKey::Presence(_) => (present, MOST_PRESENT, &mut self.refused.presence),
        };
        *refused += u64::from(kept >= most);
        kept < most
    }

    /// Makes an entry this pod's own. A visible change gets a number of this pod; any other keeps the number that the
    /// entry has.
    pub(super) fn put_own(&mut self, key: EphemeralKey, content: EntryContent, is_visible: bool, now_ms: u64) {
        if !self.has_space(&key) {
            return;
        }
        let before = self.entries.get(&key).map(|entry| (entry.version.life, entry.version.change));
        self.last_stamp = self.last_stamp.saturating_add(1).max(now_ms);
        let (life, change) = match before.filter(|_| !is_visible) {
            Some(before) => before,
            None => {
                self.last_change += 1;
                (self.own, self.last_change)
            }
        };
        let version = EntryVersion { stamp: self.last_stamp, keeper: self.own, life, change };
        self.put(key, EphemeralEntry { version, content, is_lost: false, outgoing: 0, due_ms: 0 });
        if let Some(own) = self.lives.get_mut(&self.own) {
            own.through = self.last_change;
        }
    }

    /// Takes over what another pod has sent: its entries, and how many of its changes that makes complete.
    ///
    /// Returns `true` if the pod had been given up: all of its entries are wanted again, and not only those that change.
    pub(super) fn hear(
        &mut self,
        life: LifeId,
        through: u64,
        entries: Vec<(EphemeralKey, EntryVersion, EntryContent)>,
        now_ms: u64,
    ) -> bool {
        if life == 0 || life == self.own || (!self.lives.contains_key(&life) && self.lives.len() >= MOST_LIVES) {
            return false;
        }
        let was_buried = self.lives.get(&life).is_some_and(|known| !known.is_alive());
        self.meet(life, now_ms);
        for (key, version, content) in entries {
            // A later stamp than any that was heard, so that what happens here from now on counts as newer. A pod whose
            // clock is far ahead does not take the others along.
            self.last_stamp = self.last_stamp.max(version.stamp.min(now_ms.saturating_add(STOPPED_KEPT_MS)));
            let known = self.entries.get(&key);
            let is_newer = known.is_none_or(|known| {
                version.replaces(&known.version) || (known.is_lost && known.version.keeper == version.keeper)
            });
            let was_lost = known.is_some_and(|known| known.is_lost);
            if is_newer && version.keeper == life && self.has_space(&key) {
                let content = self.with_known_rooms(&key, content);
                if was_lost {
                    // Its number may have been published before.
                    self.wake_for(&key, &content);
                }
                self.put(key, EphemeralEntry { version, content, is_lost: false, outgoing: 0, due_ms: 0 });
            }
        }
        if let Some(heard) = self.lives.get_mut(&life) {
            heard.through = heard.through.max(through.min(GONE - 1));
        }
        was_buried
    }

    /// Notes that a pod was heard.
    fn meet(&mut self, life: LifeId, now_ms: u64) {
        let is_new = !self.lives.contains_key(&life);
        let met = self.lives.entry(life).or_insert_with(|| PodLife::new(Some(now_ms)));
        met.heard_ms = Some(now_ms);
        met.buried_ms = None;
        if is_new {
            // What another pod has taken over from it may have been heard before.
            let known = self.entries.iter().filter(|(_, entry)| entry.version.life == life);
            met.changes = known.map(|(key, entry)| (entry.version.change, key.clone())).collect();
        }
    }

    fn with_known_rooms(&self, key: &EphemeralKey, content: EntryContent) -> EntryContent {
        match (content, self.entries.get(key).map(|entry| &entry.content)) {
            (EntryContent::Presence(mut new), Some(EntryContent::Presence(known))) => {
                new.rooms = known.rooms.clone();
                EntryContent::Presence(new)
            }
            (content, _) => content,
        }
    }

    pub(super) fn put(&mut self, key: EphemeralKey, mut entry: EphemeralEntry) {
        self.remove(&key);
        if entry.version.keeper == self.own {
            self.last_outgoing += 1;
            entry.outgoing = self.last_outgoing;
            self.outgoing.insert(entry.outgoing, key.clone());
        }
        if let Some(life) = self.lives.get_mut(&entry.version.life) {
            life.changes.insert(entry.version.change, key.clone());
        }
        entry.due_ms = self.due_of(&entry);
        if entry.due_ms > 0 {
            self.due.insert((entry.due_ms, key.clone()));
        }
        if let EphemeralKey::Typing(room, user) = &key {
            self.typing += 1;
            if entry.content.is_shown() && !entry.is_lost {
                self.typing_in.entry(*room).or_default().insert(user.clone());
                self.rooms_of.entry(user.clone()).or_default().insert(*room);
            }
        }
        self.entries.insert(key, entry);
    }

    /// Removes an entry, without a trace.
    pub(super) fn remove(&mut self, key: &EphemeralKey) -> Option<EphemeralEntry> {
        let entry = self.entries.remove(key)?;
        self.outgoing.remove(&entry.outgoing);
        self.due.remove(&(entry.due_ms, key.clone()));
        if let Some(life) = self.lives.get_mut(&entry.version.life)
            && life.changes.get(&entry.version.change) == Some(key)
        {
            life.changes.remove(&entry.version.change);
        }
        if let EphemeralKey::Typing(room, user) = key {
            self.typing -= 1;
            if let Some(users) = self.typing_in.get_mut(room) {
                users.remove(user);
                if users.is_empty() {
                    self.typing_in.remove(room);
                }
            }
            if let Some(rooms) = self.rooms_of.get_mut(user) {
                rooms.remove(room);
                if rooms.is_empty() {
                    self.rooms_of.remove(user);
                }
            }
        }
        Some(entry)
    }

    /// Returns the time at which something has to be done about an entry; 0 if nothing.
    fn due_of(&self, entry: &EphemeralEntry) -> u64 {
        let is_own = entry.version.keeper == self.own;
        match &entry.content {
            EntryContent::Typing { until_ms: 0, changed_ms, .. } => changed_ms.saturating_add(STOPPED_KEPT_MS),
            // Others stop their own; and all that is lost ends with its life.
            EntryContent::Typing { until_ms, .. } if is_own => *until_ms,
            EntryContent::Presence(presence) if is_own && entry.content.is_shown() => {
                let offline = presence.seen_ms.saturating_add(self.times.offline_after_ms);
                let idle = presence.active_ms.saturating_add(self.times.active_for_ms);
                if presence.is_active { offline.min(idle) } else { offline }
            }
            EntryContent::Typing { .. } | EntryContent::Presence(_) => 0,
        }
    }

    /// Adds those to be woken who see an entry.
    pub(super) fn wake_for(&mut self, key: &EphemeralKey, content: &EntryContent) {
        match (key, content) {
            (EphemeralKey::Typing(room, _), _) => {
                self.wake.rooms.insert(*room);
            }
            (EphemeralKey::Presence(user), EntryContent::Presence(presence)) => {
                self.wake_later.rooms.extend(presence.rooms.iter().copied());
                self.wake_later.users.insert(user.clone());
            }
            (EphemeralKey::Presence(_), EntryContent::Typing { .. }) => {}
        }
    }
}
