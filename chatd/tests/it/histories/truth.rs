//! What is true, as other endpoints and a sync from the beginning say, against what a client believes.

use super::act::World;
use super::client::{ALGORITHM, Client, keys_of, room_mates};
use super::room::{BelievedEvent, BelievedRoom, ReceiptName, items, receipts, text, users};
use crate::support::matrix::escape;
use quorate_core::id;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Account data that people set.
const DATA: [&str; 2] = ["x.a", "x.b"];

/// Compares all that a client believes; the error is a difference.
pub async fn compare(client: &Client, world: &World) -> Result<(), String> {
    let truth = Truth { client, world, fresh: from_the_beginning(client, world).await };
    let name = (client.session.user.clone(), client.session.device.clone());
    same("messages to the device", &client.messages, &world.expected[&name])?;
    truth.rooms().await?;
    truth.account_data().await?;
    truth.keys().await?;
    for (room_id, room) in &client.rooms {
        let of_room = |difference: String| format!("{room_id}: {difference}");
        truth.timeline(room_id, room).await.map_err(of_room)?;
        truth.state(room_id, room).await.map_err(of_room)?;
        truth.room_data(room_id, room).await.map_err(of_room)?;
        truth.reading(room_id, room).map_err(of_room)?;
    }
    truth.presence().await
}

/// Syncs like a client that knows nothing; nobody sees its presence.
async fn from_the_beginning(client: &Client, world: &World) -> Value {
    let timeline = json!({"limit": 1, "unread_thread_notifications": client.filter.per_thread});
    let filter = json!({"room": {"timeline": timeline}});
    let path = format!("sync?timeout=0&set_presence=offline&filter={}", escape(&filter.to_string()));
    world.pods.get(&client.session, &path).await
}

fn same<T: PartialEq + Debug>(what: &str, believed: &T, real: &T) -> Result<(), String> {
    if believed == real { Ok(()) } else { Err(format!("{what}: {believed:?} instead of {real:?}")) }
}

/// Returns `true` if receipts say that a reader has read up to an event. Of several for one event, the one regardless of
/// threads is told; it covers those of threads for as long as it is at or after their events.
fn say(receipts: &BTreeMap<ReceiptName, String>, name: &ReceiptName, event_id: &str) -> bool {
    let everywhere = (name.0.clone(), name.1.clone(), String::new());
    let is_behind = |read: &String| id::parse_event_id(event_id) <= id::parse_event_id(read);
    receipts.get(name).is_some_and(|read| read == event_id)
        || (!name.2.is_empty() && receipts.get(&everywhere).is_some_and(is_behind))
}

struct Truth<'t> {
    client: &'t Client,
    world: &'t World,
    /// Answer of a sync without a token.
    fresh: Value,
}

impl Truth<'_> {
    async fn get(&self, path: &str) -> Value {
        self.world.pods.get(&self.client.session, path).await
    }

    /// Reads what may not be there.
    async fn find(&self, path: &str) -> Option<Value> {
        let (status, answer) = self.world.pods.call(&self.client.session, "GET", path, &Value::Null).await;
        assert!(status == 200 || status == 404, "{path}: {answer}");
        (status == 200).then_some(answer)
    }

    fn user_path(&self) -> String {
        format!("user/{}", escape(&self.client.session.user))
    }

    async fn rooms(&self) -> Result<(), String> {
        let wanted = |rooms: Vec<String>| -> BTreeSet<String> {
            rooms.into_iter().filter(|room| self.client.filter.wants_room(room)).collect()
        };
        let joined = wanted(users(&self.get("joined_rooms").await["joined_rooms"]));
        same("joined rooms", &self.client.rooms.keys().cloned().collect(), &joined)?;
        let of_kind = |kind: &str| {
            let rooms = self.fresh["rooms"][kind].as_object().into_iter().flatten();
            wanted(rooms.map(|(room, _)| room.clone()).collect())
        };
        same("invitations", &self.client.invited, &of_kind("invite"))?;
        same("knocks", &self.client.knocked, &of_kind("knock"))
    }

    async fn account_data(&self) -> Result<(), String> {
        for name in DATA.into_iter().filter(|name| self.client.filter.wants_account_data(name)) {
            let real = self.find(&format!("{}/account_data/{name}", self.user_path())).await;
            same(name, &self.client.account_data.get(name).cloned(), &real)?;
        }
        Ok(())
    }

    async fn keys(&self) -> Result<(), String> {
        let Client { session, keys, stock, .. } = self.client;
        let mates = room_mates(&self.world.pods, session).await;
        same("users whose keys are known", &keys.keys().cloned().collect(), &mates)?;
        for (user, known) in keys {
            let real = keys_of(&self.world.pods, session, user).await;
            same(&format!("keys of {user}"), known, &real)?;
        }
        let counts = self.world.pods.must(session, "POST", "keys/upload", &json!({})).await;
        let left = counts["one_time_key_counts"][ALGORITHM].as_u64().unwrap_or_default();
        same("one-time keys that are left", &stock.unwrap_or_default(), &left)
    }

    async fn timeline(&self, room_id: &str, room: &BelievedRoom) -> Result<(), String> {
        let mut real = Vec::new();
        let mut from = String::new();
        loop {
            let page = self.get(&format!("rooms/{}/messages?dir=b&limit=100{from}", escape(room_id))).await;
            real.extend(items(&page["chunk"]).map(BelievedEvent::of));
            let Some(end) = page["end"].as_str() else { break };
            from = format!("&from={end}");
        }
        real.reverse();
        real.retain(|event| self.client.filter.wants_event(&event.event_type));
        let place = room.timeline.iter().zip(&real).position(|(believed, real)| believed.id != real.id);
        let place = place.unwrap_or(room.timeline.len().min(real.len()));
        let lengths = format!("{} and {} events", room.timeline.len(), real.len());
        same(&format!("timeline, {lengths}, at {place}"), &room.timeline.get(place), &real.get(place))?;
        let redacted: BTreeSet<&str> = real.iter().filter_map(|event| event.content["redacts"].as_str()).collect();
        for (believed, real) in room.timeline.iter().zip(&real) {
            // Of other events, redaction keeps parts that a client must know; and what was redacted while the user was
            // out of the room may be hidden.
            let is_compared = matches!(believed.event_type.as_str(), "m.room.message" | "m.reaction");
            let is_hidden = real.content == json!({}) && !redacted.contains(real.id.as_str());
            if is_compared && !is_hidden {
                same("timeline", believed, real)?;
            }
        }
        Ok(())
    }

    async fn state(&self, room_id: &str, room: &BelievedRoom) -> Result<(), String> {
        let mut believed = room.state.clone();
        let all = self.get(&format!("rooms/{}/state", escape(room_id))).await;
        let mut real: BTreeMap<(String, String), String> = items(&all)
            .map(|event| ((text(event, "type"), text(event, "state_key")), text(event, "event_id")))
            .collect();
        if self.client.filter.lazy {
            real.retain(|name, _| name.0 != "m.room.member" || believed.contains_key(name));
        }
        let excluded = &self.client.filter.not_in_state;
        for state in [&mut believed, &mut real] {
            state.retain(|name, _| !excluded.contains(&name.0.as_str()));
        }
        same("state", &believed, &real)?;
        let members = |membership: &str| format!("rooms/{}/members?membership={membership}", escape(room_id));
        let count = |members: &Value| u64::try_from(items(&members["chunk"]).count()).ok();
        same("members", &room.joined_members, &count(&self.get(&members("join")).await))?;
        same("invited members", &room.invited_members, &count(&self.get(&members("invite")).await))
    }

    async fn room_data(&self, room_id: &str, room: &BelievedRoom) -> Result<(), String> {
        let path = format!("{}/rooms/{}", self.user_path(), escape(room_id));
        let wanted = |name: &&str| self.client.filter.wants_account_data(name);
        for name in DATA.into_iter().chain(["m.fully_read"]).filter(wanted) {
            let real = self.find(&format!("{path}/account_data/{name}")).await;
            same(name, &room.account_data.get(name).cloned(), &real)?;
        }
        if wanted(&"m.tag") {
            let believed = room.account_data.get("m.tag").map_or_else(|| json!({}), |tags| tags["tags"].clone());
            same("tags", &believed, &self.get(&format!("{path}/tags")).await["tags"])?;
        }
        Ok(())
    }

    /// Compares what a sync from the beginning tells: receipts, who types, unread notifications.
    fn reading(&self, room_id: &str, room: &BelievedRoom) -> Result<(), String> {
        let filter = &self.client.filter;
        let news = &self.fresh["rooms"]["join"][room_id];
        let ephemeral = |event_type: &str| {
            let event = items(&news["ephemeral"]["events"]).find(|event| event["type"] == event_type);
            event.map(|event| event["content"].clone()).unwrap_or_default()
        };
        if filter.wants_ephemeral("m.receipt") {
            let real = receipts(&ephemeral("m.receipt"));
            for (name, event_id) in &real {
                if !say(&room.receipts, name, event_id) {
                    return Err(format!("receipt {name:?} for {event_id} is not known: {:?}", room.receipts));
                }
            }
            for (name, event_id) in room.receipts.iter().filter(|(name, _)| !real.contains_key(*name)) {
                if !room.was_away && !say(&real, name, event_id) {
                    return Err(format!("receipt {name:?} for {event_id} is none: {real:?}"));
                }
            }
        }
        if filter.wants_ephemeral("m.typing") {
            same("who types", &room.typing, &users(&ephemeral("m.typing")["user_ids"]))?;
        }
        if filter.tells_unread() {
            same("unread", &room.unread, &news["unread_notifications"])?;
            let threads = |threads: &Value| -> BTreeMap<String, Value> {
                let threads = threads.as_object().into_iter().flatten();
                let unread = threads.filter(|(_, count)| count["notification_count"] != 0);
                unread.map(|(root, count)| (root.clone(), count.clone())).collect()
            };
            same("unread in threads", &threads(&room.unread_threads), &threads(&news["unread_thread_notifications"]))?;
        }
        Ok(())
    }

    /// Compares the presence of those who are there. Of others a client may know nothing.
    async fn presence(&self) -> Result<(), String> {
        if !self.client.filter.presence {
            return Ok(());
        }
        for user in self.client.keys.keys() {
            let real = self.get(&format!("presence/{}/status", escape(user))).await;
            let shown = |status: &Value| (status["presence"].clone(), status["status_msg"].clone());
            if real["presence"] != "offline" {
                let believed = self.client.presence.get(user).map(shown);
                same(&format!("presence of {user}"), &believed, &Some(shown(&real)))?;
            }
        }
        Ok(())
    }
}
