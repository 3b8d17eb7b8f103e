//! An account on a homeserver.

use super::API;
use super::http::HttpConnection;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A user, and the server over which the user talks.
#[derive(Clone, Debug)]
pub(crate) struct MatrixUser {
    address: SocketAddr,
    bearer: String,
}

impl MatrixUser {
    /// Registers an account under a name that nobody else has.
    ///
    /// # Errors
    /// Fails if the server refuses.
    pub(crate) async fn register(address: SocketAddr) -> anyhow::Result<Self> {
        let name = format!("matrix-{}", crate::payload::next_number());
        let body = json!({"username": name, "password": "a password", "auth": {"type": "m.login.dummy"}});
        let mut connection = HttpConnection::open(address, "").await?;
        let answer = connection.call_json("POST", &format!("{API}/register"), &body).await?;
        Ok(Self { address, bearer: format!("Bearer {}", text_of(&answer, "access_token")?) })
    }

    /// Opens a connection with this user's session.
    ///
    /// # Errors
    /// Fails if nobody listens.
    pub(crate) async fn connect(&self) -> anyhow::Result<HttpConnection> {
        HttpConnection::open(self.address, &self.bearer).await
    }

    /// Creates a room, and returns its id.
    ///
    /// # Errors
    /// Fails if the server refuses.
    pub(crate) async fn create_room(&self, preset: &str) -> anyhow::Result<String> {
        let mut connection = self.connect().await?;
        let answer = connection.call_json("POST", &format!("{API}/createRoom"), &json!({"preset": preset})).await?;
        text_of(&answer, "room_id").map(str::to_owned)
    }

    /// Joins a room.
    ///
    /// # Errors
    /// Fails if the server refuses.
    pub(crate) async fn join(&self, room: &str) -> anyhow::Result<()> {
        self.connect().await?.call_json("POST", &format!("{API}/join/{room}"), &json!({})).await.map(drop)
    }
}

fn text_of<'a>(answer: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    answer.get(field).and_then(Value::as_str).with_context(|| format!("an answer without {field}"))
}
