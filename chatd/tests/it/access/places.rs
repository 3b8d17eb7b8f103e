//! Users, and rooms in which each user has the membership of its name.

use super::{Caller, http};
use crate::support::process::{Node, SERVER_NAME};
use quorate_core::id::{self, Position};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Users with sessions. `victim` is a member whom others act on, `guest` is in no room.
const USERS: [&str; 8] = ["owner", "member", "invited", "left", "banned", "stranger", "victim", "guest"];

/// Body that creates a key backup; every user has one, of version 1.
pub(super) const BACKUP: &str = r#"{"algorithm":"x","auth_data":{}}"#;

pub(super) struct Places {
    pub(super) node: Node,
    tokens: BTreeMap<&'static str, String>,
    expired: String,
    /// Token of an administrator; empty if there is none.
    pub(super) administrator: String,
    /// Room for calls that change nothing.
    pub(super) shared: Room,
    /// Room whose last call was refused, so that it is as good as new.
    spare: Mutex<Option<Room>>,
    /// Identifier of a filter that every user has.
    pub(super) filter_id: String,
    numbers: AtomicUsize,
}

/// Identifiers of a room and of a message in it.
#[derive(Clone)]
pub(super) struct Room {
    pub(super) id: String,
    pub(super) event_id: String,
}

pub(super) fn user_id(name: &str) -> String {
    format!("@{name}:{SERVER_NAME}")
}

impl Places {
    pub(super) fn new(node: &Node, expired: String) -> Self {
        let tokens: BTreeMap<_, _> = USERS.map(|name| (name, http::register(node, name))).into();
        let nowhere = Room { id: String::new(), event_id: String::new() };
        let mut places = Self {
            node: node.clone(),
            tokens,
            expired,
            administrator: String::new(),
            shared: nowhere,
            spare: Mutex::default(),
            filter_id: String::new(),
            numbers: AtomicUsize::default(),
        };
        places.shared = places.room(r#""room_alias_name":"shared","#);
        for name in USERS {
            let path = format!("/_matrix/client/v3/user/{}/filter", user_id(name));
            places.filter_id = places.ask(name, "POST", &path, "{}", "filter_id");
            let path = format!("/_matrix/client/v3/user/{}/account_data/x.data", user_id(name));
            places.put(name, &path, "{}");
            let path =
                format!("/_matrix/client/v3/user/{}/rooms/{}/account_data/x.data", user_id(name), places.shared.id);
            // A user who never was in the room has no account data for it.
            if !matches!(name, "stranger" | "guest") {
                places.put(name, &path, "{}");
            }
            places.ask(name, "POST", "/_matrix/client/v3/room_keys/version", BACKUP, "version");
            let path = format!("/_matrix/client/v3/profile/{}/displayname", user_id(name));
            places.put(name, &path, &format!(r#"{{"displayname":"{name}"}}"#));
        }
        places
    }

    /// Creates a room of `owner` in which every user has the membership of its name.
    pub(super) fn room(&self, more: &str) -> Room {
        let called = ["member", "invited", "left", "banned", "victim"].map(|name| format!("{:?}", user_id(name)));
        let body = format!(r#"{{{more}"name":"Ops","invite":[{}]}}"#, called.join(","));
        let id = self.ask("owner", "POST", "/_matrix/client/v3/createRoom", &body, "room_id");
        for name in ["member", "left", "banned", "victim"] {
            self.ask(name, "POST", &format!("/_matrix/client/v3/join/{id}"), "{}", "room_id");
        }
        let path = format!("/_matrix/client/v3/rooms/{id}/send/m.room.message/{}", self.number());
        let event_id = self.ask("owner", "PUT", &path, r#"{"body":"x","msgtype":"m.text"}"#, "event_id");
        self.put_out("left", &format!("/_matrix/client/v3/rooms/{id}/leave"), "{}");
        let ban = format!(r#"{{"user_id":"{}"}}"#, user_id("banned"));
        self.put_out("owner", &format!("/_matrix/client/v3/rooms/{id}/ban"), &ban);
        Room { id, event_id }
    }

    /// Creates a room in which a user is alone.
    pub(super) fn lonely_room(&self, name: &str) -> Room {
        let id = self.ask(name, "POST", "/_matrix/client/v3/createRoom", "{}", "room_id");
        let path = format!("/_matrix/client/v3/rooms/{id}/send/m.room.message/{}", self.number());
        let event_id = self.ask(name, "PUT", &path, r#"{"body":"x","msgtype":"m.text"}"#, "event_id");
        Room { id, event_id }
    }

    /// Puts a text where only the members of the shared room, or only its owner, may see it.
    pub(super) fn hide(&self, text: &str) {
        let room = &self.shared.id;
        let owner = user_id("owner");
        for (path, body) in [
            (format!("rooms/{room}/state/m.room.topic"), format!(r#"{{"topic":"{text}"}}"#)),
            (format!("rooms/{room}/send/m.room.message/hidden"), format!(r#"{{"body":"{text}","msgtype":"m.text"}}"#)),
            (format!("user/{owner}/account_data/x.hidden"), format!(r#"{{"x":"{text}"}}"#)),
            (format!("user/{owner}/rooms/{room}/account_data/x.hidden"), format!(r#"{{"x":"{text}"}}"#)),
            (
                "sendToDevice/x.hidden/hidden".to_owned(),
                format!(r#"{{"messages":{{"{owner}":{{"*":{{"x":"{text}"}}}}}}}}"#),
            ),
        ] {
            self.put("owner", &format!("/_matrix/client/v3/{path}"), &body);
        }
    }

    /// Returns a room for a call that may change it.
    pub(super) fn fresh(&self) -> Room {
        let spare = self.spare.lock().expect("no panic").take();
        spare.unwrap_or_else(|| self.room(""))
    }

    /// Takes back a room that was not changed.
    pub(super) fn unchanged(&self, room: Room) {
        *self.spare.lock().expect("no panic") = Some(room);
    }

    /// Returns well-formed identifiers of a room that does not exist.
    pub(super) fn nowhere(&self) -> Room {
        let at = Position { incarnation: 0, index: 1 << 40, ordinal: 0 };
        Room { id: id::room_id(at, SERVER_NAME), event_id: id::event_id(at) }
    }

    /// Returns the token that a caller presents; empty for none.
    pub(super) fn token(&self, caller: Caller) -> &str {
        match caller {
            Caller::NoToken => "",
            Caller::WrongToken => "qat_0123456789",
            Caller::ExpiredToken => &self.expired,
            Caller::User(name) => &self.tokens[name],
            Caller::RoomGone | Caller::AnothersUser => &self.tokens["stranger"],
        }
    }

    /// Returns a number that is unique in this test.
    pub(super) fn number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn ask(&self, name: &str, method: &str, path: &str, body: &str, field: &str) -> String {
        let answer = self.node.ask(method, &http::escaped(path), &self.tokens[name], "", body);
        answer[field].as_str().unwrap_or_else(|| panic!("{name} {path}: {answer}")).to_owned()
    }

    fn put(&self, name: &str, path: &str, body: &str) {
        let answer = self.node.matrix("PUT", &http::escaped(path), &self.tokens[name], body).expect("an answer");
        assert_eq!(answer.0, 200, "{name} {path}: {answer:?}");
    }

    fn put_out(&self, name: &str, path: &str, body: &str) {
        let answer = self.node.matrix("POST", &http::escaped(path), &self.tokens[name], body).expect("an answer");
        assert_eq!(answer.0, 200, "{name} {path}: {answer:?}");
    }
}
