//! Idle subscribers: streams of the gRPC API, and parked `/sync` requests.

use super::client::{BenchUser, connect_grpc};
use super::{NODES, QuorateCluster};
use crate::load::idle::IdleConnections;
use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use quorate_wire::chat::v1::SubscribeRequest;
use std::any::Any;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Number of connections that are opened at once.
const AT_ONCE: usize = 32;
/// Time that a `/sync` waits, in milliseconds: longer than the measurement.
const PARKED_MS: u32 = 120_000;

impl QuorateCluster {
    pub(crate) async fn idle(&self, count: usize) -> anyhow::Result<IdleConnections> {
        let held = futures::stream::iter(0..count)
            .map(|n| self.subscriber(n))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(IdleConnections::new(held))
    }

    async fn subscriber(&self, n: usize) -> anyhow::Result<Box<dyn Any + Send>> {
        let node = self.nodes.get(n % NODES).context("no such node")?;
        let mut client = connect_grpc(node.grpc).await?;
        let request = SubscribeRequest { room_id: self.room.clone(), cursor: String::new() };
        let stream = client.subscribe(self.user.asks(request)).await.context("cannot subscribe")?.into_inner();
        Ok(Box::new((client, stream)))
    }

    /// Connects idle subscribers as [`QuorateCluster::idle`] does, by parked `/sync` requests of the Matrix API.
    ///
    /// # Errors
    /// Fails if a request is answered instead of parked, or refused.
    pub(crate) async fn parked(&self, count: usize) -> anyhow::Result<IdleConnections> {
        let since = self.since().await?;
        let since = since.as_str();
        let held = futures::stream::iter(0..count)
            .map(|n| self.request(n, format!("timeout={PARKED_MS}&since={since}"), "keep-alive"))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        let answered = held.iter().filter(|stream| stream.try_read(&mut [0]).is_ok()).count();
        ensure!(answered == 0, "{answered} of {count} requests were answered immediately instead of parked");
        Ok(IdleConnections::new(held.into_iter().map(|stream| Box::new(stream) as Box<dyn Any + Send>).collect()))
    }

    /// Returns the token at which a first `/sync` ends.
    async fn since(&self) -> anyhow::Result<String> {
        let mut stream = self.request(0, "timeout=0".to_owned(), "close").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer);
        ensure!(
            text.starts_with("HTTP/1.1 200"),
            "the first /sync failed: {}",
            text.lines().next().unwrap_or_default()
        );
        let (_, behind) = text.split_once(r#""next_batch":""#).context("/sync response without next_batch")?;
        Ok(behind.split('"').next().unwrap_or_default().to_owned())
    }

    async fn request(&self, n: usize, query: String, connection: &str) -> anyhow::Result<TcpStream> {
        let node = self.nodes.get(n % NODES).context("no such node")?;
        let mut stream = TcpStream::connect(node.http).await.context("cannot connect to the Matrix API")?;
        let BenchUser { bearer, .. } = &self.user;
        let request = format!(
            "GET /_matrix/client/v3/sync?{query} HTTP/1.1\r\nHost: bench\r\nAuthorization: {bearer}\r\n\
             Connection: {connection}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        Ok(stream)
    }
}
