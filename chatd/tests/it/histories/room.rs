//! A room as a client believes it to be.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Type, reader and thread of a receipt; the thread is empty for a receipt regardless of threads.
pub type ReceiptName = (String, String, String);

/// Event of a timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct BelievedEvent {
    pub id: String,
    pub event_type: String,
    pub content: Value,
}

impl BelievedEvent {
    pub fn of(event: &Value) -> Self {
        let content = event["content"].clone();
        Self { id: text(event, "event_id"), event_type: text(event, "type"), content }
    }
}

#[derive(Debug, Default)]
pub struct BelievedRoom {
    pub timeline: Vec<BelievedEvent>,
    /// Event ids, by type and state key.
    pub state: BTreeMap<(String, String), String>,
    pub account_data: BTreeMap<String, Value>,
    /// Event ids of receipts.
    pub receipts: BTreeMap<ReceiptName, String>,
    pub typing: Vec<String>,
    pub unread: Value,
    pub unread_threads: Value,
    /// `true` if the user has been out of the room since the client knows it: what happened meanwhile may be hidden.
    pub was_away: bool,
    pub joined_members: Option<u64>,
    pub invited_members: Option<u64>,
}

/// Returns a text of an object that has it.
pub fn text(of: &Value, key: &str) -> String {
    of[key].as_str().unwrap_or_else(|| panic!("no {key}: {of}")).to_owned()
}

/// Returns the items of a list; none if there is no list.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

impl BelievedRoom {
    pub fn has(&self, event_id: &str) -> bool {
        self.timeline.iter().any(|event| event.id == event_id)
    }

    /// Appends an event that is new to the client.
    pub fn append(&mut self, event: &Value) {
        let event_id = text(event, "event_id");
        assert!(!self.has(&event_id), "told twice: {event}");
        if event["type"] == "m.room.redaction" {
            let redacted = event["content"]["redacts"].as_str().or_else(|| event["redacts"].as_str());
            for target in self.timeline.iter_mut().filter(|target| Some(target.id.as_str()) == redacted) {
                target.content = json!({});
            }
        }
        self.note_membership(event);
        self.timeline.push(BelievedEvent::of(event));
    }

    pub fn set_state(&mut self, event: &Value) {
        let Some(state_key) = event["state_key"].as_str() else { return };
        self.state.insert((text(event, "type"), state_key.to_owned()), text(event, "event_id"));
        self.note_membership(event);
    }

    /// Forgets the receipts of a member who is not in the room any more, as the server does.
    fn note_membership(&mut self, event: &Value) {
        if event["type"] == "m.room.member" && event["content"]["membership"] != "join" {
            self.receipts.retain(|(_, reader, _), _| event["state_key"] != reader.as_str());
        }
    }

    /// Takes over what comes with a timeline.
    pub fn note_rest(&mut self, news: &Value) {
        for datum in items(&news["account_data"]["events"]) {
            self.account_data.insert(text(datum, "type"), datum["content"].clone());
        }
        for event in items(&news["ephemeral"]["events"]) {
            match event["type"].as_str() {
                Some("m.typing") => self.typing = users(&event["content"]["user_ids"]),
                Some("m.receipt") => self.receipts.extend(receipts(&event["content"])),
                other => panic!("{other:?} is not ephemeral: {event}"),
            }
        }
        if let Some(unread) = news.get("unread_notifications") {
            self.unread = unread.clone();
            self.unread_threads = news.get("unread_thread_notifications").cloned().unwrap_or_else(|| json!({}));
        }
        let count = |name: &str| news["summary"][name].as_u64();
        self.joined_members = count("m.joined_member_count").or(self.joined_members);
        self.invited_members = count("m.invited_member_count").or(self.invited_members);
    }
}

pub fn users(list: &Value) -> Vec<String> {
    let mut users: Vec<String> = items(list).filter_map(Value::as_str).map(str::to_owned).collect();
    users.sort();
    users
}

/// Returns the receipts of the content of `m.receipt`.
pub fn receipts(content: &Value) -> BTreeMap<ReceiptName, String> {
    let mut out = BTreeMap::new();
    for (event_id, by_type) in content.as_object().into_iter().flatten() {
        for (kind, by_reader) in by_type.as_object().into_iter().flatten() {
            for (reader, receipt) in by_reader.as_object().into_iter().flatten() {
                let thread = receipt["thread_id"].as_str().unwrap_or_default().to_owned();
                out.insert((kind.clone(), reader.clone(), thread), event_id.clone());
            }
        }
    }
    out
}
