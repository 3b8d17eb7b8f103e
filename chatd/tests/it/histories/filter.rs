//! Filters of clients: as they are sent, and what follows from them for what a client can know.

use super::random::Random;
use serde_json::{Value, json};

/// Filter of a client.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    pub lazy: bool,
    /// `true` to take state not from timelines, but from what is told of it after them: an argument of the sync.
    pub state_after: bool,
    pub per_thread: bool,
    limit: Option<usize>,
    not_rooms: Vec<String>,
    not_in_timeline: Vec<&'static str>,
    pub not_in_state: Vec<&'static str>,
    not_ephemeral: Vec<&'static str>,
    not_in_account_data: Vec<&'static str>,
    pub presence: bool,
}

impl ClientFilter {
    /// Returns the filter that includes everything.
    pub fn none() -> Self {
        Self { presence: true, ..Self::default() }
    }

    pub fn random(random: &mut Random, rooms: &[String]) -> Self {
        let mut some = |chance: usize, types: &[&'static str]| -> Vec<&'static str> {
            types.iter().filter(|_| random.percent(chance)).copied().collect()
        };
        let not_in_timeline = some(20, &["m.reaction", "m.room.topic", "m.room.message"]);
        let not_in_state = some(20, &["m.room.topic", "m.room.name"]);
        let not_ephemeral = some(15, &["m.typing", "m.receipt"]);
        let not_in_account_data = some(20, &["x.a", "m.tag"]);
        Self {
            lazy: random.percent(60),
            state_after: random.percent(40),
            per_thread: random.percent(50),
            limit: random.percent(80).then(|| 1 + random.below(6)),
            not_rooms: if random.percent(30) { vec![random.pick(rooms)] } else { Vec::new() },
            not_in_timeline,
            not_in_state,
            not_ephemeral,
            not_in_account_data,
            presence: random.percent(80),
        }
    }

    pub fn to_json(&self) -> Value {
        let mut timeline = json!({"not_types": self.not_in_timeline, "unread_thread_notifications": self.per_thread});
        if let Some(limit) = self.limit {
            timeline["limit"] = limit.into();
        }
        let state = json!({"lazy_load_members": self.lazy, "not_types": self.not_in_state});
        let presence: &[&str] = if self.presence { &[] } else { &["*"] };
        json!({
            "room": {
                "not_rooms": self.not_rooms,
                "timeline": timeline,
                "state": state,
                "ephemeral": {"not_types": self.not_ephemeral},
                "account_data": {"not_types": self.not_in_account_data},
            },
            "account_data": {"not_types": self.not_in_account_data},
            "presence": {"not_types": presence},
        })
    }

    pub fn wants_room(&self, room: &str) -> bool {
        !self.not_rooms.iter().any(|excluded| excluded == room)
    }

    /// Returns `true` if timelines include events of this type.
    pub fn wants_event(&self, event_type: &str) -> bool {
        !self.not_in_timeline.contains(&event_type)
    }

    pub fn wants_ephemeral(&self, event_type: &str) -> bool {
        !self.not_ephemeral.contains(&event_type)
    }

    pub fn wants_account_data(&self, event_type: &str) -> bool {
        !self.not_in_account_data.contains(&event_type)
    }

    /// Returns `true` if a room is told of whenever its unread notifications change: with the event or the receipt.
    pub fn tells_unread(&self) -> bool {
        self.wants_event("m.room.message") && self.wants_event("m.reaction") && self.wants_ephemeral("m.receipt")
    }
}
