//! User of the gRPC API, who can call any node.

use super::cluster::Cluster;
use prost::Message as _;
use quorate_wire::chat::v1::chat_client::ChatClient;
use quorate_wire::chat::v1::*;
use tonic::transport::Channel;
use tonic::{Request, Status};

pub const PASSWORD: &str = "a password";

/// Session of a user, with a connection to each node.
#[derive(Clone)]
pub struct User {
    pub session: SessionResponse,
    pub clients: Vec<ChatClient<Channel>>,
}

impl User {
    pub async fn register(cluster: &Cluster, n: usize, name: &str) -> Self {
        let mut clients = Vec::new();
        for n in 0..cluster.nodes.len() {
            clients.push(cluster.chat(n).await);
        }
        let request =
            RegisterRequest { username: name.into(), password: PASSWORD.into(), ..RegisterRequest::default() };
        let session = clients[n].register(request).await.expect("registered").into_inner();
        Self { session, clients }
    }

    /// Returns a request with this user's token.
    pub fn asks<T>(&self, message: T) -> Request<T> {
        with_token(message, &self.session.access_token)
    }

    pub fn client(&self, n: usize) -> ChatClient<Channel> {
        self.clients[n].clone()
    }

    pub async fn create_room(&self, n: usize, preset: create_room_request::Preset, name: &str) -> String {
        let request = CreateRoomRequest { preset: preset.into(), name: name.into(), ..CreateRoomRequest::default() };
        self.client(n).create_room(self.asks(request)).await.expect("a room").into_inner().room_id
    }

    pub async fn create_room_refused(&self, n: usize) -> Status {
        self.client(n).create_room(self.asks(CreateRoomRequest::default())).await.expect_err("a refusal")
    }

    pub async fn join(&self, n: usize, room: &str) -> Result<MembershipResponse, Status> {
        let request = JoinRoomRequest { room: room.into(), ..JoinRoomRequest::default() };
        self.client(n).join_room(self.asks(request)).await.map(tonic::Response::into_inner)
    }

    pub async fn say(&self, n: usize, room_id: &str, body: &str, txn: &str) -> Result<SendResponse, Status> {
        self.client(n).send(self.asks(message(room_id, body, txn))).await.map(tonic::Response::into_inner)
    }

    /// Reads all messages of a room forward, page by page; returns their senders and bodies in order.
    pub async fn read_all(&self, n: usize, room_id: &str) -> Vec<(String, String)> {
        let (mut from, mut all) = (String::new(), Vec::new());
        loop {
            let request = HistoryRequest {
                room_id: room_id.into(),
                from,
                direction: history_request::Direction::Forward.into(),
                limit: 100,
                ..HistoryRequest::default()
            };
            let page = self.client(n).history(self.asks(request)).await.expect("a page").into_inner();
            all.extend(page.events.iter().filter(|e| e.r#type == "m.room.message").map(said));
            if page.next.is_empty() {
                return all;
            }
            from = page.next;
        }
    }
}

pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    request
}

pub fn message(room_id: &str, body: &str, txn: &str) -> SendRequest {
    SendRequest {
        room_id: room_id.into(),
        r#type: "m.room.message".into(),
        content: serde_json::json!({"msgtype": "m.text", "body": body}).to_string().into(),
        transaction_id: txn.into(),
    }
}

/// Returns sender and body of a message.
pub fn said(event: &Event) -> (String, String) {
    let content: serde_json::Value = serde_json::from_slice(&event.content).expect("JSON");
    (event.sender.clone(), content["body"].as_str().unwrap_or_default().to_owned())
}

/// Returns the detail of a refusal.
pub fn detail(status: &Status) -> ErrorDetail {
    let bytes = status.metadata().get_bin("quorate-error-bin").expect("a detail").to_bytes().expect("binary");
    ErrorDetail::decode(bytes).expect("an ErrorDetail")
}
