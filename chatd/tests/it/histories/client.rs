//! A client: what it believes, folded from the answers of `/sync` of whichever pods. The gap that a limited timeline
//! leaves is filled by pages.

use super::caller::Session;
use super::filter::ClientFilter;
use super::pods::Pods;
use super::random::Random;
use super::room::{BelievedRoom, items, text};
use crate::support::eventually;
use crate::support::matrix::escape;
use crate::support::process::Node;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::{JoinHandle, spawn_blocking};

/// One-time keys that tests upload.
pub const ALGORITHM: &str = "signed_curve25519";

/// Sync that waits on a pod.
struct ParkedSync {
    pod: usize,
    answer: JoinHandle<Option<(u16, Value)>>,
}

pub struct Client {
    pub session: Session,
    pub filter: ClientFilter,
    /// The filter's id, or the filter itself, as an argument.
    filter_argument: String,
    since: Option<String>,
    parked: Option<ParkedSync>,
    pub rooms: BTreeMap<String, BelievedRoom>,
    pub invited: BTreeSet<String>,
    pub knocked: BTreeSet<String>,
    pub account_data: BTreeMap<String, Value>,
    pub presence: BTreeMap<String, Value>,
    /// Keys of others, as they were when the client last looked.
    pub keys: BTreeMap<String, Value>,
    /// Numbers of the messages to the device, as they came.
    pub messages: Vec<u64>,
    /// One-time keys that are left; `None` before the first upload.
    pub stock: Option<u64>,
}

impl Client {
    /// Creates a client and lets it sync for the first time.
    pub async fn begin(pods: &Pods, session: Session, filter: ClientFilter) -> Self {
        // One half of the clients stores the filter.
        let filter_argument = if filter.lazy {
            let path = format!("user/{}/filter", escape(&session.user));
            text(&pods.must(&session, "POST", &path, &filter.to_json()).await, "filter_id")
        } else {
            filter.to_json().to_string()
        };
        let mut client = Self {
            session,
            filter,
            filter_argument,
            since: None,
            parked: None,
            rooms: BTreeMap::new(),
            invited: BTreeSet::new(),
            knocked: BTreeSet::new(),
            account_data: BTreeMap::new(),
            presence: BTreeMap::new(),
            keys: BTreeMap::new(),
            messages: Vec::new(),
            stock: None,
        };
        client.sync_now(pods, "").await;
        for user in room_mates(pods, &client.session).await {
            client.look_at(pods, user).await;
        }
        client
    }

    fn path(&self, more: &str) -> String {
        let since = self.since.as_ref().map(|since| format!("&since={since}")).unwrap_or_default();
        let state_after = if self.filter.state_after { "&use_state_after=true" } else { "" };
        format!("sync?filter={}{since}{state_after}{more}", escape(&self.filter_argument))
    }

    /// Syncs in some way, or goes on with a sync that waits.
    pub async fn step(&mut self, pods: &mut Pods, random: &mut Random) {
        if self.parked.is_some() {
            self.collect(pods).await;
            return;
        }
        let presence = random.pick(&["", "", "", "&set_presence=unavailable", "&set_presence=offline"]);
        let pod = pods.pick(random);
        if random.percent(25) {
            let path = self.path(&format!("&timeout=400{presence}"));
            let session = self.session.clone();
            let node = pods.node(pod).clone();
            let answer = spawn_blocking(move || session.attempt(&node, "GET", &path, &Value::Null));
            self.parked = Some(ParkedSync { pod, answer });
            return;
        }
        let full_state = random.percent(5);
        let more = if full_state { "&full_state=true" } else { "&timeout=0" };
        let answer =
            self.session.attempt(pods.node(pod), "GET", &self.path(&format!("{more}{presence}")), &Value::Null);
        // At times the answer is lost on the way: the same token must give the same again.
        if let Some((status, answer)) = answer.filter(|_| !random.percent(15)) {
            assert_eq!(status, 200, "{answer}");
            self.fold(pods, &answer, full_state).await;
        }
    }

    /// Takes the answer to a sync that waited, if its pod is not paused.
    async fn collect(&mut self, pods: &Pods) {
        let Some(ParkedSync { answer, .. }) = self.parked.take_if(|parked| !pods.is_paused(parked.pod)) else { return };
        if let Some((status, answer)) = answer.await.expect("no panic") {
            assert_eq!(status, 200, "{answer}");
            self.fold(pods, &answer, false).await;
        }
    }

    /// Syncs through any pod that answers.
    pub async fn sync_now(&mut self, pods: &Pods, more: &str) {
        self.collect(pods).await;
        let answer = pods.get(&self.session, &self.path(more)).await;
        self.fold(pods, &answer, false).await;
    }

    async fn fold(&mut self, pods: &Pods, answer: &Value, full_state: bool) {
        let rooms = |kind: &str| answer["rooms"][kind].as_object().into_iter().flatten();
        for (room, news) in rooms("join") {
            assert!(self.filter.wants_room(room), "a room that is filtered out: {room}");
            self.fold_joined(pods, room, news, full_state).await;
        }
        for (room, _) in rooms("leave") {
            self.rooms.remove(room);
            self.invited.remove(room);
            self.knocked.remove(room);
        }
        for (room, news) in rooms("invite") {
            let mut state = items(&news["invite_state"]["events"]);
            assert!(state.any(|event| event["state_key"] == self.session.user.as_str()), "{news}");
            self.rooms.remove(room);
            self.knocked.remove(room);
            self.invited.insert(room.clone());
        }
        for (room, _) in rooms("knock") {
            self.rooms.remove(room);
            self.invited.remove(room);
            self.knocked.insert(room.clone());
        }
        for datum in items(&answer["account_data"]["events"]) {
            self.account_data.insert(text(datum, "type"), datum["content"].clone());
        }
        for event in items(&answer["presence"]["events"]) {
            self.presence.insert(text(event, "sender"), event["content"].clone());
        }
        for event in items(&answer["to_device"]["events"]) {
            self.messages.push(event["content"]["n"].as_u64().expect("a number"));
        }
        if let Some(counts) = answer.get("device_one_time_keys_count") {
            self.stock = Some(counts[ALGORITHM].as_u64().unwrap_or_default());
        }
        // Only then: the token acknowledges what was taken over.
        self.since = Some(text(answer, "next_batch"));
        for user in items(&answer["device_lists"]["changed"]).filter_map(Value::as_str) {
            self.look_at(pods, user.to_owned()).await;
        }
        for user in items(&answer["device_lists"]["left"]).filter_map(Value::as_str) {
            self.keys.remove(user);
        }
    }

    async fn fold_joined(&mut self, pods: &Pods, room_id: &str, news: &Value, full_state: bool) {
        self.invited.remove(room_id);
        self.knocked.remove(room_id);
        let known = self.rooms.remove(room_id);
        let is_new = known.is_none();
        let mut room = known.unwrap_or_default();
        let timeline = &news["timeline"];
        let is_limited = timeline["limited"].as_bool().unwrap_or_else(|| panic!("it does not say: {news}"));
        if full_state {
            room.state.clear();
        }
        if is_limited || is_new {
            let gap = self.gap(pods, room_id, &text(timeline, "prev_batch"), &room).await;
            assert!(is_limited || gap.is_empty(), "there is more in {room_id} than its timeline says: {news}");
            gap.iter().for_each(|event| room.append(event));
            room.was_away |= !is_new && gap.iter().any(|event| self.is_own_end(event));
        }
        let state_after = self.filter.state_after;
        assert_eq!(news.get("state").is_some(), !state_after, "state in the wrong place: {news}");
        for event in items(&news[if state_after { "state_after" } else { "state" }]["events"]) {
            room.set_state(event);
        }
        for event in items(&timeline["events"]) {
            assert!(self.filter.wants_event(&text(event, "type")), "an event that is filtered out: {event}");
            room.append(event);
            if !state_after {
                room.set_state(event);
            }
            room.was_away |= !is_new && self.is_own_end(event);
        }
        for event in items(&timeline["events"]) {
            let sender = ("m.room.member".to_owned(), text(event, "sender"));
            assert!(room.state.contains_key(&sender), "a sender who is not known: {event}");
        }
        room.note_rest(news);
        self.rooms.insert(room_id.to_owned(), room);
    }

    /// Returns `true` if the event ends a stay of the user.
    fn is_own_end(&self, event: &Value) -> bool {
        event["type"] == "m.room.member"
            && event["state_key"] == self.session.user.as_str()
            && event["content"]["membership"] != "join"
    }

    /// Asserts that a pod has nothing to tell about rooms, keys or messages.
    pub async fn hears_nothing(&self, node: &Node) {
        let path = self.path("&timeout=0&set_presence=offline");
        let ask = || async { self.session.attempt(node, "GET", &path, &Value::Null) };
        let (status, answer) = eventually("the pod answers", ask).await;
        assert_eq!(status, 200, "{answer}");
        let is_quiet = |news: &Value| {
            ["timeline", "state", "state_after"].iter().all(|of| items(&news[of]["events"]).count() == 0)
        };
        let mut joined = answer["rooms"]["join"].as_object().into_iter().flatten();
        assert!(joined.all(|(_, news)| is_quiet(news)), "{}: told again: {answer}", node.name);
        for part in ["/rooms/leave", "/rooms/invite", "/rooms/knock", "/to_device/events/0", "/device_lists/changed/0"]
        {
            assert_eq!(answer.pointer(part), None, "{}: told again: {answer}", node.name);
        }
    }

    /// Returns the events before a timeline that the client does not have, oldest first.
    async fn gap(&self, pods: &Pods, room_id: &str, prev_batch: &str, room: &BelievedRoom) -> Vec<Value> {
        let mut gap = Vec::new();
        let mut from = prev_batch.to_owned();
        loop {
            let path = format!("rooms/{}/messages?dir=b&limit=7&from={from}", escape(room_id));
            let page = pods.get(&self.session, &path).await;
            for event in items(&page["chunk"]) {
                if room.has(&text(event, "event_id")) {
                    gap.reverse();
                    return gap;
                }
                if self.filter.wants_event(&text(event, "type")) {
                    gap.push(event.clone());
                }
            }
            let Some(end) = page["end"].as_str() else {
                gap.reverse();
                return gap;
            };
            from = end.to_owned();
        }
    }

    async fn look_at(&mut self, pods: &Pods, user: String) {
        if user != self.session.user {
            let keys = keys_of(pods, &self.session, &user).await;
            self.keys.insert(user, keys);
        }
    }
}

/// Returns the keys of a user's devices.
pub async fn keys_of(pods: &Pods, who: &Session, user: &str) -> Value {
    let answer = pods.must(who, "POST", "keys/query", &json!({"device_keys": {user: []}})).await;
    answer["device_keys"][user].clone()
}

/// Returns the others in the rooms of a user.
pub async fn room_mates(pods: &Pods, who: &Session) -> BTreeSet<String> {
    let mut mates = BTreeSet::new();
    for room in items(&pods.get(who, "joined_rooms").await["joined_rooms"]).filter_map(Value::as_str) {
        let members = pods.get(who, &format!("rooms/{}/joined_members", escape(room))).await;
        mates.extend(members["joined"].as_object().into_iter().flatten().map(|(user, _)| user.clone()));
    }
    mates.remove(&who.user);
    mates
}
