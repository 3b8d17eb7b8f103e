//! Actions of people: random requests, and what the test has to remember of them.

use super::caller::Session;
use super::client::ALGORITHM;
use super::pods::Pods;
use super::random::Random;
use crate::support::matrix::escape;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MOST_ROOMS: usize = 6;
/// Maximum number of devices that come and go.
const MOST_PASSING: usize = 3;
/// Number of messages of a room, from the newest on, to which people refer.
const RECENT: usize = 12;

/// Message that somebody has sent.
#[derive(Clone, Debug)]
struct SaidMessage {
    room: String,
    id: String,
    sender: String,
    /// Root of the thread that it is in.
    root: Option<String>,
}

pub struct World {
    pub pods: Pods,
    pub random: Random,
    pub rooms: Vec<String>,
    people: Vec<Session>,
    /// Devices that come and go.
    passing: Vec<Session>,
    said: Vec<SaidMessage>,
    /// Numbers of the messages to the devices of clients, in the order of sending, by user and device.
    pub expected: BTreeMap<(String, String), Vec<u64>>,
    step: usize,
    next: u64,
}

impl World {
    pub fn new(pods: Pods, random: Random, people: Vec<Session>) -> Self {
        Self {
            pods,
            random,
            rooms: Vec::new(),
            people,
            passing: Vec::new(),
            said: Vec::new(),
            expected: BTreeMap::new(),
            step: 0,
            next: 0,
        }
    }

    /// Makes the rooms that a history begins with.
    pub async fn make_rooms(&mut self) {
        let people = self.people.clone();
        let open = self.make_room(&people[0], &json!({"preset": "public_chat"})).await;
        for person in &people[1..] {
            self.pods.must(person, "POST", &format!("join/{}", escape(&open)), &json!({})).await;
        }
        let state = |event_type: &str, content: Value| json!([{"type": event_type, "content": content}]);
        let discreet = state("m.room.history_visibility", json!({"history_visibility": "joined"}));
        let discreet = self.make_room(&people[1], &json!({"preset": "public_chat", "initial_state": discreet})).await;
        self.pods.must(&people[0], "POST", &format!("join/{}", escape(&discreet)), &json!({})).await;
        let closed = state("m.room.join_rules", json!({"join_rule": "knock"}));
        self.make_room(&people[2], &json!({"invite": [people[1].user], "initial_state": closed})).await;
    }

    pub async fn make_room(&mut self, who: &Session, body: &Value) -> String {
        let made = self.pods.must(who, "POST", "createRoom", body).await;
        let room = made["room_id"].as_str().expect("a room").to_owned();
        self.rooms.push(room.clone());
        room
    }

    /// Remembers from now on what is sent to a device.
    pub fn expects_messages(&mut self, to: &Session) {
        self.expected.insert((to.user.clone(), to.device.clone()), Vec::new());
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Makes a request, which may be refused; returns the answer if it is not.
    async fn ask(&mut self, who: &Session, method: &str, path: &str, body: &Value) -> Option<Value> {
        let (status, answer) = self.pods.call(who, method, path, body).await;
        eprintln!("{}: {} {method} {path} {body}: {status}", self.step, who.user);
        assert!(matches!(status, 200 | 400 | 403 | 404 | 409), "{status}: {answer}");
        (status == 200).then_some(answer)
    }

    /// Lets somebody do something.
    pub async fn act(&mut self, step: usize) {
        self.step = step;
        let who = self.random.pick(&self.people);
        let room = self.random.pick(&self.rooms);
        match self.random.below(100) {
            0..26 => self.speak(&who, &room).await,
            26..31 => self.react(&who, &room).await,
            31..35 => self.redact(&who, &room).await,
            35..40 => self.set_state(&who, &room).await,
            40..52 => self.read(&who, &room).await,
            52..56 => self.type_in(&who, &room).await,
            56..62 => self.set_data(&who, &room).await,
            62..65 => self.set_presence(&who).await,
            65..71 => self.send_to_device(&who).await,
            71..76 => self.change_keys(&who).await,
            76..78 => self.change_devices(&who).await,
            78 => self.rename(&who).await,
            79 => self.create(&who).await,
            _ => self.move_member(&who, &room).await,
        }
    }

    /// Returns one of the newest messages of a room.
    fn recent(&mut self, room: &str) -> Option<SaidMessage> {
        let recent: Vec<_> = self.said.iter().rev().filter(|said| said.room == room).take(RECENT).cloned().collect();
        (!recent.is_empty()).then(|| self.random.pick(&recent))
    }

    async fn speak(&mut self, who: &Session, room: &str) {
        let number = self.number();
        let mut content = json!({"msgtype": "m.text", "body": format!("message {number}")});
        let mut root = None;
        let kind = self.random.below(10);
        match self.recent(room) {
            Some(target) if kind < 3 => {
                let named = target.root.unwrap_or(target.id);
                content["m.relates_to"] = json!({"rel_type": "m.thread", "event_id": named});
                root = Some(named);
            }
            Some(target) if kind < 5 && target.sender == who.user => {
                content["m.new_content"] = json!({"msgtype": "m.text", "body": format!("edited {number}")});
                content["m.relates_to"] = json!({"rel_type": "m.replace", "event_id": target.id});
            }
            _ if kind == 5 => {
                let mentioned = self.random.pick(&self.people).user;
                content["m.mentions"] = json!({"user_ids": [mentioned]});
            }
            _ => {}
        }
        let is_edit = content.get("m.new_content").is_some();
        let path = format!("rooms/{}/send/m.room.message/t{number}", escape(room));
        let Some(sent) = self.ask(who, "PUT", &path, &content).await.filter(|_| !is_edit) else { return };
        let id = sent["event_id"].as_str().expect("an event").to_owned();
        self.said.push(SaidMessage { room: room.to_owned(), id, sender: who.user.clone(), root });
    }

    async fn react(&mut self, who: &Session, room: &str) {
        let Some(target) = self.recent(room) else { return };
        let number = self.number();
        let key = self.random.pick(&["+", "-"]);
        let content = json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": target.id, "key": key}});
        self.ask(who, "PUT", &format!("rooms/{}/send/m.reaction/t{number}", escape(room)), &content).await;
    }

    async fn redact(&mut self, who: &Session, room: &str) {
        let Some(target) = self.recent(room) else { return };
        let number = self.number();
        let path = format!("rooms/{}/redact/{}/t{number}", escape(room), escape(&target.id));
        self.ask(who, "PUT", &path, &json!({"reason": "so"})).await;
    }

    async fn set_state(&mut self, who: &Session, room: &str) {
        let number = self.number();
        let visibility = self.random.pick(&["shared", "shared", "joined", "invited", "world_readable"]);
        let state = [
            ("m.room.topic", json!({"topic": format!("topic {number}")})),
            ("m.room.name", json!({"name": format!("name {number}")})),
            ("m.room.history_visibility", json!({"history_visibility": visibility})),
            ("x.any", json!({"v": number})),
        ];
        let state = self.random.pick(&state);
        self.ask(who, "PUT", &format!("rooms/{}/state/{}", escape(room), state.0), &state.1).await;
    }

    async fn read(&mut self, who: &Session, room: &str) {
        let Some(target) = self.recent(room) else { return };
        let kind = self.random.pick(&["m.read", "m.read", "m.read.private", "m.fully_read"]);
        let body = if kind == "m.fully_read" || self.random.percent(40) {
            json!({})
        } else {
            json!({"thread_id": target.root.unwrap_or_else(|| "main".into())})
        };
        let path = format!("rooms/{}/receipt/{kind}/{}", escape(room), escape(&target.id));
        self.ask(who, "POST", &path, &body).await;
    }

    async fn type_in(&mut self, who: &Session, room: &str) {
        let body = if self.random.percent(70) {
            json!({"typing": true, "timeout": 110_000})
        } else {
            json!({"typing": false})
        };
        self.ask(who, "PUT", &format!("rooms/{}/typing/{}", escape(room), escape(&who.user)), &body).await;
    }

    async fn set_data(&mut self, who: &Session, room: &str) {
        let body = json!({"v": self.number()});
        let name = self.random.pick(&["a", "b"]);
        let user = format!("user/{}", escape(&who.user));
        let of_room = format!("{user}/rooms/{}", escape(room));
        match self.random.below(4) {
            0 => self.ask(who, "PUT", &format!("{user}/account_data/x.{name}"), &body).await,
            1 => self.ask(who, "PUT", &format!("{of_room}/account_data/x.{name}"), &body).await,
            2 => self.ask(who, "PUT", &format!("{of_room}/tags/u.{name}"), &json!({"order": 0})).await,
            _ => self.ask(who, "DELETE", &format!("{of_room}/tags/u.{name}"), &json!({})).await,
        };
    }

    async fn set_presence(&mut self, who: &Session) {
        let presence = self.random.pick(&["online", "unavailable", "offline"]);
        let body = json!({"presence": presence, "status_msg": format!("status {}", self.number())});
        self.ask(who, "PUT", &format!("presence/{}/status", escape(&who.user)), &body).await;
    }

    async fn send_to_device(&mut self, who: &Session) {
        let number = self.number();
        let devices: Vec<(String, String)> = self.expected.keys().cloned().collect();
        let target = self.random.pick(&devices);
        let is_for_all = self.random.percent(30);
        let device = if is_for_all { "*" } else { target.1.as_str() };
        let body = json!({"messages": {&target.0: {device: {"n": number}}}});
        self.pods.must(who, "PUT", &format!("sendToDevice/m.test/t{number}"), &body).await;
        eprintln!("{}: {} sends {number} to {device} of {}", self.step, who.user, target.0);
        for (name, messages) in &mut self.expected {
            if *name == target || (is_for_all && name.0 == target.0) {
                messages.push(number);
            }
        }
    }

    async fn change_keys(&mut self, who: &Session) {
        if self.random.percent(40) {
            let target = self.random.pick(&self.people);
            let body = json!({"one_time_keys": {&target.user: {&target.device: ALGORITHM}}});
            self.ask(who, "POST", "keys/claim", &body).await;
            return;
        }
        let number = self.number();
        let mut body = json!({"one_time_keys": {}});
        for n in 0..self.random.below(4) {
            let key = json!({"key": format!("key {number} {n}"), "signatures": {}});
            body["one_time_keys"][format!("{ALGORITHM}:{number:05}{n}")] = key;
        }
        if self.random.percent(40) {
            body["device_keys"] = who.identity(&format!("identity {number}"));
        }
        self.ask(who, "POST", "keys/upload", &body).await;
    }

    /// Lets a device come, or go.
    async fn change_devices(&mut self, who: &Session) {
        if self.passing.len() == MOST_PASSING || (!self.passing.is_empty() && self.random.percent(40)) {
            let device = self.passing.remove(self.random.below(self.passing.len()));
            // Asked again after a lost answer, it is unknown.
            let (status, answer) = self.pods.call(&device, "POST", "logout", &json!({})).await;
            assert!(status == 200 || status == 401, "{answer}");
            eprintln!("{}: {} logs out {}", self.step, device.user, device.device);
            return;
        }
        let number = self.number();
        let device = who.log_in(&self.pods, &format!("passing{number}")).await;
        let body = json!({"device_keys": device.identity("passing")});
        self.ask(&device, "POST", "keys/upload", &body).await;
        self.passing.push(device);
    }

    async fn rename(&mut self, who: &Session) {
        let body = json!({"displayname": format!("called {}", self.number())});
        self.ask(who, "PUT", &format!("profile/{}/displayname", escape(&who.user)), &body).await;
    }

    async fn create(&mut self, who: &Session) {
        if self.rooms.len() == MOST_ROOMS {
            return;
        }
        let preset = self.random.pick(&["public_chat", "private_chat"]);
        let invited = self.random.pick(&self.people).user;
        let invite: Vec<String> = Some(invited).into_iter().filter(|invited| *invited != who.user).collect();
        let room = self.make_room(who, &json!({"preset": preset, "invite": invite})).await;
        eprintln!("{}: {} makes {room}, {preset}, for {invite:?}", self.step, who.user);
    }

    async fn move_member(&mut self, who: &Session, room: &str) {
        let target = json!({"user_id": self.random.pick(&self.people).user});
        let none = json!({});
        let room = escape(room);
        match self.random.below(20) {
            0..8 => self.ask(who, "POST", &format!("join/{room}"), &none).await,
            8..10 => self.ask(who, "POST", &format!("rooms/{room}/leave"), &none).await,
            10..13 => self.ask(who, "POST", &format!("rooms/{room}/invite"), &target).await,
            13 => self.ask(who, "POST", &format!("rooms/{room}/kick"), &target).await,
            14 => self.ask(who, "POST", &format!("rooms/{room}/ban"), &target).await,
            15..18 => self.ask(who, "POST", &format!("rooms/{room}/unban"), &target).await,
            _ => self.ask(who, "POST", &format!("knock/{room}"), &none).await,
        };
    }
}
