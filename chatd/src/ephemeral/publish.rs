//! Publication: changes become visible to clients a few times per second, together.
//!
//! So any number of changes within one pause wakes each reader once. The rooms of a user whose presence has changed are
//! read once, for all readers.

use super::hub::EphemeralHub;
use super::record::{EntryContent, EphemeralKey, LifeId};
use super::state::{EphemeralState, WakeTopics};
use crate::feed::{ChangeFeed, FeedTopics, TouchedUsers};
use crate::store::StateStore;
use quorate_core::id::RoomNumber;
use quorate_core::query::StateView;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

/// Pause between two publications: people do not notice it, and ten thousand changes at once wake each reader ten times a
/// second at most.
const PAUSE: Duration = Duration::from_millis(100);
/// Minimum time between two wakes because of presence: in a room with thousands, somebody comes or goes at any time, and
/// each wake answers all of them.
const PRESENCE_EVERY: Duration = Duration::from_secs(1);
/// Interval at which ends are noticed that nobody announces: of typing, of presence, of pods.
const TICK: Duration = Duration::from_millis(500);
/// Maximum number of changes in one publication. Reading the rooms of so many users takes some tens of milliseconds.
const MOST_CHANGES: usize = 1024;

/// Rooms of users.
type RoomsByUser = HashMap<Arc<str>, Arc<BTreeSet<RoomNumber>>>;

/// Changes that are about to become visible.
#[derive(Debug, Default)]
pub(super) struct ChangeBatch {
    keys: Vec<EphemeralKey>,
    /// Number of the last change in the batch, by life.
    reaches: Vec<(LifeId, u64)>,
    pub(super) has_more: bool,
}

impl ChangeBatch {
    pub(super) fn users(&self) -> impl Iterator<Item = &Arc<str>> {
        self.keys.iter().filter_map(|key| match key {
            EphemeralKey::Presence(user) => Some(user),
            EphemeralKey::Typing(..) => None,
        })
    }
}

impl EphemeralState {
    /// Returns the next changes to be published, in the order of each life.
    pub(super) fn next_batch(&self) -> ChangeBatch {
        let mut batch = ChangeBatch::default();
        for (id, life) in self.lives.iter().filter(|(_, life)| life.is_alive() && life.published < life.through) {
            let mut reached = life.through;
            for (change, key) in life.changes.range(life.published.saturating_add(1)..=life.through) {
                if batch.keys.len() >= MOST_CHANGES {
                    reached = change.saturating_sub(1);
                    batch.has_more = true;
                    break;
                }
                batch.keys.push(key.clone());
            }
            batch.reaches.push((*id, reached));
        }
        batch
    }

    /// Publishes a batch; `rooms` has the rooms of its users.
    pub(super) fn publish(&mut self, batch: &ChangeBatch, rooms: &RoomsByUser) {
        for (user, rooms) in rooms {
            self.set_rooms(user, rooms);
        }
        for key in &batch.keys {
            if let Some(content) = self.entries.get(key).map(|entry| entry.content.clone()) {
                self.wake_for(key, &content);
            }
        }
        for (life, reached) in &batch.reaches {
            if let Some(life) = self.lives.get_mut(life) {
                life.published = life.published.max(*reached);
            }
        }
    }

    /// Sets the rooms of a user whose presence is kept.
    fn set_rooms(&mut self, user: &Arc<str>, rooms: &Arc<BTreeSet<RoomNumber>>) {
        if let Some(entry) = self.entries.get_mut(&EphemeralKey::Presence(user.clone()))
            && let EntryContent::Presence(presence) = &mut entry.content
        {
            presence.rooms = rooms.clone();
        }
    }

    /// Returns those of the users of whom something is kept that depends on their rooms.
    fn users_of_note(&self, touched: TouchedUsers) -> Vec<Arc<str>> {
        let is_kept = |user: &Arc<str>| {
            self.rooms_of.contains_key(user) || self.entries.contains_key(&EphemeralKey::Presence(user.clone()))
        };
        match touched {
            TouchedUsers::These(users) => users.into_iter().map(Arc::from).filter(is_kept).collect(),
            TouchedUsers::All => {
                let present = self.entries.keys().filter_map(|key| match key {
                    EphemeralKey::Presence(user) => Some(user.clone()),
                    EphemeralKey::Typing(..) => None,
                });
                let all: BTreeSet<_> = present.chain(self.rooms_of.keys().cloned()).collect();
                all.into_iter().collect()
            }
        }
    }
}

/// Publishes changes and ends what has run out, for as long as it is polled.
pub async fn publish_changes<S: StateStore>(hub: EphemeralHub, store: S, feed: ChangeFeed) {
    feed.watch_touched();
    let mut presence_told = None;
    loop {
        let _idle = timeout(TICK, hub.changed()).await;
        sleep(PAUSE).await;
        let touched = feed.take_touched();
        let users = hub.state().users_of_note(touched);
        for some in users.chunks(MOST_CHANGES) {
            let rooms = read_rooms(&store, some.to_vec()).await;
            note_rooms(&hub, &rooms);
        }
        let is_due = hub.state().is_due(hub.now_ms());
        if is_due {
            hub.change(EphemeralState::tick);
        }
        while publish_some(&hub, &store).await {}
        let typing = std::mem::take(&mut hub.state().wake);
        wake_readers(&feed, typing);
        if presence_told.is_none_or(|at: Instant| at.elapsed() >= PRESENCE_EVERY) {
            let presence = std::mem::take(&mut hub.state().wake_later);
            presence_told = (!presence.users.is_empty()).then(Instant::now).or(presence_told);
            wake_readers(&feed, presence);
        }
        report(&hub);
    }
}

fn note_rooms(hub: &EphemeralHub, rooms: &RoomsByUser) {
    hub.change(|state, now_ms| {
        for (user, rooms) in rooms {
            state.set_rooms(user, rooms);
            state.stop_typing_outside(user, rooms, now_ms);
        }
    });
}

/// Publishes the next batch; returns `true` if there are more.
async fn publish_some<S: StateStore>(hub: &EphemeralHub, store: &S) -> bool {
    let batch = hub.state().next_batch();
    if batch.reaches.is_empty() {
        return false;
    }
    let rooms = read_rooms(store, batch.users().cloned().collect()).await;
    hub.state().publish(&batch, &rooms);
    batch.has_more
}

fn wake_readers(feed: &ChangeFeed, topics: WakeTopics) {
    let WakeTopics { rooms, users } = topics;
    if !rooms.is_empty() || !users.is_empty() {
        let users = users.iter().map(|user| user.to_string()).collect();
        feed.wake(&FeedTopics { rooms, users });
    }
}

fn report(hub: &EphemeralHub) {
    let mut state = hub.state();
    let (typing, presence) = state.counts();
    let refused = std::mem::take(&mut state.refused);
    let pods = state.lives.values().filter(|life| life.heard_ms.is_some() && life.is_alive()).count();
    drop(state);
    hub.metrics().ephemeral_kept(typing, presence, pods);
    hub.metrics().ephemeral_refused(refused.typing, refused.presence);
}

/// Reads the rooms of users. Those whose rooms cannot be read are not in the result: nobody is told of them.
async fn read_rooms<S: StateStore>(store: &S, users: Vec<Arc<str>>) -> RoomsByUser {
    if users.is_empty() {
        return RoomsByUser::new();
    }
    let store = store.clone();
    let read = move || {
        let rows = store.view();
        let Ok(view) = StateView::open(&rows) else { return RoomsByUser::new() };
        let rooms = users.into_iter().filter_map(|user| {
            let rooms = view.joined_rooms(&user).ok()?;
            Some((user, Arc::new(rooms)))
        });
        rooms.collect()
    };
    // It does not panic, and if it did, nobody would be told.
    spawn_blocking(read).await.unwrap_or_default()
}
