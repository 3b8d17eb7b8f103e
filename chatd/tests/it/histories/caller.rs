//! Sessions, which call any pod.

use super::pods::Pods;
use crate::support::process::{Node, SERVER_NAME};
use serde_json::{Value, json};

const PASSWORD: &str = "a password";

/// Session of a user's device.
#[derive(Clone, Debug)]
pub struct Session {
    pub user: String,
    pub device: String,
    pub token: String,
}

impl Session {
    pub fn register(node: &Node, name: &str) -> Self {
        let auth = json!({"type": "m.login.dummy"});
        let body = json!({"username": name, "password": PASSWORD, "device_id": "first", "auth": auth});
        let answer = node.ask("POST", "/_matrix/client/v3/register", "", "", &body.to_string());
        let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{name}: {answer}")).to_owned();
        Self { user: format!("@{name}:{SERVER_NAME}"), device: "first".into(), token }
    }

    /// Logs in as another device of the same user.
    pub async fn log_in(&self, pods: &Pods, device: &str) -> Self {
        let identifier = json!({"type": "m.id.user", "user": self.user});
        let body =
            json!({"type": "m.login.password", "identifier": identifier, "password": PASSWORD, "device_id": device});
        let stranger = Self { token: String::new(), ..self.clone() };
        let answer = pods.must(&stranger, "POST", "login", &body).await;
        let token = answer["access_token"].as_str().expect("a token").to_owned();
        Self { user: self.user.clone(), device: device.to_owned(), token }
    }

    /// Makes one request. `None` if there is no answer, or one that says that the pod cannot at the moment, or does not
    /// know the newest.
    pub fn attempt(&self, node: &Node, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let (status, answer) = node.matrix_fresh(method, &format!("/_matrix/client/v3/{path}"), &self.token, &body)?;
        assert_ne!(status, 500, "{method} {path}: {answer}");
        // An answer that was cut off together with its pod is none.
        let answer = serde_json::from_str(&answer).ok()?;
        (status < 500).then_some((status, answer))
    }

    /// Returns identity keys of the device.
    pub fn identity(&self, key: &str) -> Value {
        let id = format!("ed25519:{}", self.device);
        json!({
            "user_id": self.user,
            "device_id": self.device,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {&id: key},
            "signatures": {},
        })
    }
}
