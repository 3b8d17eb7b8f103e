//! A user of the gRPC API, with a connection to each node.

use super::QuorateNode;
use anyhow::Context as _;
use quorate_wire::chat::v1::chat_client::ChatClient;
use quorate_wire::chat::v1::create_room_request::Preset;
use quorate_wire::chat::v1::{
    CreateRoomRequest, JoinRoomRequest, ListServersRequest, ListServersResponse, RegisterRequest, SendRequest,
};
use std::net::SocketAddr;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

pub(super) const MESSAGE: &str = "m.room.message";

#[derive(Clone, Debug)]
pub(super) struct BenchUser {
    pub(super) token: MetadataValue<Ascii>,
    pub(super) bearer: String,
    clients: Vec<ChatClient<Channel>>,
}

impl BenchUser {
    pub(super) async fn register(nodes: &[QuorateNode], at: usize, name: &str) -> anyhow::Result<Self> {
        let mut clients = Vec::with_capacity(nodes.len());
        for node in nodes {
            clients.push(connect_grpc(node.grpc).await?);
        }
        Self::with_clients(clients, at, name).await
    }

    /// Registers another account, over the same connections.
    pub(super) async fn another(&self, at: usize, name: &str) -> anyhow::Result<Self> {
        Self::with_clients(self.clients.clone(), at, name).await
    }

    async fn with_clients(clients: Vec<ChatClient<Channel>>, at: usize, name: &str) -> anyhow::Result<Self> {
        let request =
            RegisterRequest { username: name.into(), password: "a password".into(), ..RegisterRequest::default() };
        let mut client = clients.get(at).cloned().context("no such node")?;
        let session = client.register(request).await.with_context(|| format!("cannot register {name}"))?.into_inner();
        let bearer = format!("Bearer {}", session.access_token);
        Ok(Self { token: bearer.parse().context("the token is not a valid header value")?, bearer, clients })
    }

    pub(super) fn client(&self, node: usize) -> anyhow::Result<ChatClient<Channel>> {
        self.clients.get(node).cloned().context("no such node")
    }

    pub(super) fn asks<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }

    pub(super) async fn create_room(&self, node: usize, preset: Preset, name: &str) -> anyhow::Result<String> {
        let request = CreateRoomRequest { preset: preset.into(), name: name.into(), ..CreateRoomRequest::default() };
        let room = self.client(node)?.create_room(self.asks(request)).await.context("cannot create a room")?;
        Ok(room.into_inner().room_id)
    }

    pub(super) async fn join(&self, node: usize, room: &str) -> anyhow::Result<()> {
        let request = JoinRoomRequest { room: room.into(), ..JoinRoomRequest::default() };
        self.client(node)?.join_room(self.asks(request)).await.context("cannot join the room")?;
        Ok(())
    }

    async fn servers(&self) -> anyhow::Result<ListServersResponse> {
        let mut failure = None;
        for client in &self.clients {
            match client.clone().list_servers(self.asks(ListServersRequest {})).await {
                Ok(servers) => return Ok(servers.into_inner()),
                Err(status) => failure = Some(status),
            }
        }
        Err(anyhow::anyhow!("no node reports the leader: {failure:?}"))
    }

    /// Returns the name of the node that leads.
    pub(super) async fn leader(&self) -> anyhow::Result<String> {
        let servers = self.servers().await?.servers;
        let leader = servers.into_iter().find(|server| server.role == "leader");
        Ok(leader.context("there is no leader")?.name)
    }

    pub(super) async fn term(&self) -> anyhow::Result<u64> {
        Ok(self.servers().await?.term)
    }
}

/// Opens a connection to a node that is not shared.
pub(super) async fn connect_grpc(address: SocketAddr) -> anyhow::Result<ChatClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(ChatClient::new(endpoint.connect().await.with_context(|| format!("cannot connect to {address}"))?))
}

/// Returns a message of the benchmark's size.
pub(super) fn message_request(room: &str, number: u64) -> SendRequest {
    SendRequest {
        room_id: room.to_owned(),
        r#type: MESSAGE.to_owned(),
        content: crate::payload::message_json(number),
        transaction_id: number.to_string(),
    }
}
