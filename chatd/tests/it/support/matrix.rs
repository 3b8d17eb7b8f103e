//! Users of the Matrix API.

use super::cluster::Cluster;
use super::process::{Node, SERVER_NAME};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// User with a session, who talks to one node.
#[derive(Clone)]
pub struct MatrixUser {
    pub node: Node,
    pub id: String,
    pub token: String,
}

/// Makes a request of whoever has the token, and returns status and JSON of the answer. Null is no body.
pub fn call_as(node: &Node, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if method == "GET" || body.is_null() { String::new() } else { body.to_string() };
    let (status, answer) = node.matrix(method, path, token, &body).expect("an answer");
    (status, serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {answer}")))
}

/// Starts one node without rate limits, ready for users.
pub async fn single_node() -> Cluster {
    single_node_with("").await
}

/// Starts one node like [`single_node`], with further settings.
pub async fn single_node_with(settings: &str) -> Cluster {
    let cluster = Cluster::uninitialised(1, &format!("rateLimit: {{enabled: false}}\n{settings}"));
    cluster.initialise().await;
    cluster.all_ready().await;
    cluster
}

/// Escapes everything that has a meaning in a URL.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("a string"),
        }
    }
    out
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl MatrixUser {
    /// Registers an account.
    pub fn register(node: &Node, name: &str) -> Self {
        let body = json!({"username": name, "password": "a password", "auth": {"type": "m.login.dummy"}});
        let answer = node.ask("POST", "/_matrix/client/v3/register", "", "", &body.to_string());
        let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{name}: {answer}"));
        Self { node: node.clone(), id: format!("@{name}:{SERVER_NAME}"), token: token.to_owned() }
    }

    /// Logs in again, as another device or as one that is known.
    pub fn log_in(&self, device_id: Option<&str>) -> (Self, String) {
        let identifier = json!({"type": "m.id.user", "user": self.id});
        let mut body = json!({"type": "m.login.password", "identifier": identifier, "password": "a password"});
        if let Some(device_id) = device_id {
            body["device_id"] = device_id.into();
        }
        let answer = self.node.ask("POST", "/_matrix/client/v3/login", "", "", &body.to_string());
        let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        (Self { token: text("access_token"), ..self.clone() }, text("device_id"))
    }

    /// Makes a request; `path` comes after `/_matrix/client/`.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        call_as(&self.node, &self.token, method, &format!("/_matrix/client/{path}"), body)
    }

    /// Makes a request that succeeds.
    pub fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    pub fn get(&self, path: &str) -> Value {
        self.must("GET", path, &Value::Null)
    }

    /// Makes a request that is refused; returns status and error code.
    pub fn refused(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let (status, answer) = self.call(method, path, body);
        assert_ne!(status, 200, "{method} {path}: {answer}");
        (status, answer["errcode"].as_str().unwrap_or_default().to_owned())
    }

    pub fn create_room(&self, body: &Value) -> String {
        self.must("POST", "v3/createRoom", body)["room_id"].as_str().expect("a room").to_owned()
    }

    pub fn public_room(&self) -> String {
        self.create_room(&json!({"preset": "public_chat"}))
    }

    pub fn join(&self, room: &str) {
        self.must("POST", &format!("v3/join/{}", escape(room)), &json!({}));
    }

    pub fn leave(&self, room: &str) {
        self.must("POST", &format!("v3/rooms/{}/leave", escape(room)), &json!({}));
    }

    /// Sends an event and returns its id.
    pub fn send(&self, room: &str, event_type: &str, content: &Value) -> String {
        self.send_as(room, event_type, content, &format!("n{}", next_number()))
    }

    /// Sends an event with this transaction id.
    pub fn send_as(&self, room: &str, event_type: &str, content: &Value, txn: &str) -> String {
        let path = format!("v3/rooms/{}/send/{}/{txn}", escape(room), escape(event_type));
        self.must("PUT", &path, content)["event_id"].as_str().expect("an event").to_owned()
    }

    pub fn say(&self, room: &str, body: &str) -> String {
        self.send(room, "m.room.message", &json!({"msgtype": "m.text", "body": body}))
    }

    /// Sets state with an empty key.
    pub fn set(&self, room: &str, event_type: &str, content: &Value) -> String {
        let path = format!("v3/rooms/{}/state/{}", escape(room), escape(event_type));
        self.must("PUT", &path, content)["event_id"].as_str().expect("an event").to_owned()
    }

    /// Syncs at once; `filter` is JSON or null.
    pub fn sync(&self, since: Option<&str>, filter: &Value) -> Value {
        let mut path = String::from("v3/sync?timeout=0");
        if let Some(since) = since {
            write!(path, "&since={since}").expect("a string");
        }
        if !filter.is_null() {
            write!(path, "&filter={}", escape(&filter.to_string())).expect("a string");
        }
        self.get(&path)
    }

    /// Returns the token of a sync.
    pub fn token(&self) -> String {
        next_batch(&self.sync(None, &Value::Null))
    }

    /// Reads from a room; `rest` is the path after the room.
    pub fn room(&self, room: &str, rest: &str) -> Value {
        self.get(&format!("v3/rooms/{}/{rest}", escape(room)))
    }
}

/// Returns the token of a sync's answer.
pub fn next_batch(sync: &Value) -> String {
    sync["next_batch"].as_str().expect("a token").to_owned()
}

/// Returns a field of each item of a list, given as a JSON pointer; null where there is none.
pub fn each(list: &Value, pointer: &str) -> Vec<Value> {
    let items = list.as_array().unwrap_or_else(|| panic!("not a list: {list}"));
    items.iter().map(|item| item.pointer(pointer).cloned().unwrap_or_default()).collect()
}
