//! Entries of this pod and of the others, as the rest of the pod uses them: with the time, behind a lock that is held for
//! a moment.

use super::frame::entries_of;
use super::news::{EphemeralNews, NewsQuery, PresenceNews, TypingNews};
use super::record::PresenceLevel;
use super::state::{EphemeralState, EphemeralTimes};
use crate::metrics::ChatMetrics;
use quorate_core::id::RoomNumber;
use quorate_core::query::sync::LifeMarks;
use quorate_wire::raft::v1 as pb;
use quorate_wire::whole_millis;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// Maximum time for which a user is seen typing after one request, whatever the client asks for.
const LONGEST_TYPING: Duration = Duration::from_secs(120);

/// Settings of typing and presence.
#[derive(Clone, Copy, Debug)]
pub struct EphemeralSettings {
    /// `true` if presence is kept and shown.
    pub presence: bool,
    /// Time after which the entries of a pod are dropped that has given no sign of life.
    pub silence: Duration,
}

/// Typing and presence on this pod. Clones share all state.
#[derive(Clone)]
pub struct EphemeralHub(Arc<SharedHub>);

struct SharedHub {
    settings: EphemeralSettings,
    metrics: ChatMetrics,
    state: Mutex<EphemeralState>,
    began: Instant,
    began_ms: u64,
    /// Notified when there may be something to publish.
    changed: Notify,
    /// Number of the newest own change, for the streams to other pods.
    outgoing: watch::Sender<u64>,
}

impl EphemeralHub {
    /// Creates the hub of a pod whose life begins; `life` is random.
    #[must_use]
    pub fn new(settings: EphemeralSettings, life: u32, metrics: ChatMetrics) -> Self {
        let state = EphemeralState::new(life.max(1), EphemeralTimes::of(settings.silence));
        Self(Arc::new(SharedHub {
            settings,
            metrics,
            state: Mutex::new(state),
            // The clock of the machine may be set; durations must not change with it.
            began: Instant::now(),
            began_ms: whole_millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            changed: Notify::new(),
            outgoing: watch::Sender::new(0),
        }))
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> EphemeralSettings {
        self.0.settings
    }

    pub(super) fn metrics(&self) -> &ChatMetrics {
        &self.0.metrics
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.0.began_ms.saturating_add(whole_millis(self.0.began.elapsed()))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, EphemeralState> {
        // A panic while the lock is held leaves at worst an index without its entry.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there may be something to publish.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Watches the number of the newest own change.
    pub(super) fn outgoing(&self) -> watch::Receiver<u64> {
        self.0.outgoing.subscribe()
    }

    /// Changes the state, and tells publisher and streams.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut EphemeralState, u64) -> T) -> T {
        let now_ms = self.now_ms();
        let mut state = self.state();
        let before = state.newest_outgoing();
        let told = act(&mut state, now_ms);
        let newest = state.newest_outgoing();
        drop(state);
        if newest != before {
            self.0.outgoing.send_replace(newest);
            self.0.changed.notify_one();
        }
        told
    }

    /// Notes that a user types in a room, for `timeout` if it is not too long.
    pub fn start_typing(&self, room: RoomNumber, room_id: &str, user: &str, timeout: Duration) {
        let timeout_ms = whole_millis(timeout.min(LONGEST_TYPING));
        self.change(|state, now_ms| {
            state.start_typing(room, room_id, user, now_ms.saturating_add(timeout_ms), now_ms);
            state.note_action(user, now_ms);
        });
    }

    /// Notes that a user has stopped typing in a room.
    pub fn stop_typing(&self, room: RoomNumber, user: &str) {
        self.change(|state, now_ms| state.stop_typing(room, user, now_ms));
    }

    /// Notes that a user has sent something: whoever was away is there again, and no longer types in that room.
    pub fn note_sent(&self, user: &str, room_id: Option<&str>) {
        self.change(|state, now_ms| {
            if let Some(room_id) = room_id {
                state.stop_typing_at(room_id, user, now_ms);
            }
            state.note_action(user, now_ms);
        });
    }

    /// Sets the presence of a user to what the user has said.
    pub fn set_presence(&self, user: &str, device_id: &str, level: PresenceLevel, status: Option<&str>) {
        let status = status.map(Arc::from);
        self.change(|state, now_ms| state.set_presence(user, hash_of(device_id), level, status, now_ms));
    }

    /// Notes that a client of a user syncs, and whether it says that the user is there.
    pub fn note_sync(&self, user: &str, device_id: &str, level: PresenceLevel) {
        if self.0.settings.presence {
            self.change(|state, now_ms| state.note_sync(user, hash_of(device_id), level, now_ms));
        }
    }

    /// Returns the presence of a user; `None` if nothing is known of it.
    #[must_use]
    pub fn presence_of(&self, user: &str) -> Option<PresenceNews> {
        let now_ms = self.now_ms();
        self.state().presence_news(&user.into(), now_ms)
    }

    /// Returns what a client has not been told yet of the rooms of its user.
    #[must_use]
    pub fn news(&self, user: &str, device_id: &str, rooms: &BTreeSet<RoomNumber>, marks: LifeMarks) -> EphemeralNews {
        let now_ms = self.now_ms();
        self.state().news(NewsQuery { user, device: hash_of(device_id), rooms, marks }, now_ms)
    }

    /// Returns who types in a room; `None` if nobody does.
    #[must_use]
    pub fn typing_in(&self, room: RoomNumber) -> Option<TypingNews> {
        let now_ms = self.now_ms();
        self.state().typing_at(room, now_ms)
    }

    /// Takes over what another pod has sent. Returns `true` if the pod had been given up.
    pub(super) fn hear(&self, frame: pb::GossipResponse) -> bool {
        let now_ms = self.now_ms();
        let life = frame.life;
        let through = frame.through;
        let entries = entries_of(frame, now_ms);
        self.0.metrics.gossip_received(entries.len());
        let was_buried = self.state().hear(life, through, entries, now_ms);
        self.0.changed.notify_one();
        was_buried
    }
}

/// Returns a hash of a device's id: pods only compare devices of one user.
fn hash_of(device_id: &str) -> u64 {
    // FNV-1a: the same on every pod, which the standard library's hashes need not be.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    device_id.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}
