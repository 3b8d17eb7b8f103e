//! The server of port 7400: the chat service, reflection, and the standard health service.

use super::ChatDoor;
use crate::api::listen::Listener;
use crate::metrics::Metrics;
use crate::raft::cluster::Cluster;
use crate::service::Service;
use quorate_wire::DESCRIPTORS;
use quorate_wire::chat::v1::chat_server::ChatServer;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Largest request: a post's frame (1 MiB of content) with what is around it, or a room with its first state.
const MAX_REQUEST: usize = 2 * 1024 * 1024;
/// Calls at once on one connection. A gateway multiplexes many users over one; beyond this it opens another.
const STREAMS: u32 = 4096;
/// A client behind a dead network is noticed after this and the time-out; also keeps idle streams open in middle boxes.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2's default of 64 KiB would hold a post's frame of 1 MiB up for a round trip each.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// The name of the chat service for `grpc.health.v1`; the empty name is the whole server.
const CHAT: &str = "quorate.chat.v1.Chat";

/// Why the door closed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("the gRPC door failed")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors that were compiled in are not valid.
    #[error("the descriptors for reflection are not valid")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The door's health, as clients and load balancers see it (`grpc.health.v1`).
#[derive(Clone)]
pub struct DoorHealth {
    reporter: HealthReporter,
    stopping: CancellationToken,
}

impl DoorHealth {
    /// Tells whether the pod is ready as that changes, until `closed`.
    pub async fn follow(self, cluster: Cluster, closed: CancellationToken) {
        let mut headlines = cluster.watch();
        loop {
            let ready = headlines.borrow_and_update().ready;
            self.set(ready && !self.stopping.is_cancelled()).await;
            if !matches!(closed.run_until_cancelled(headlines.changed()).await, Some(Ok(()))) {
                return;
            }
        }
    }

    /// New calls should go elsewhere from now on.
    pub async fn stopping(&self) {
        self.stopping.cancel();
        self.set(false).await;
    }

    async fn set(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status("", status).await;
        self.reporter.set_service_status(CHAT, status).await;
    }
}

/// Serves until `closed` fires and the calls that were open then have ended.
///
/// # Errors
/// [`ServeError`].
pub fn serve(
    listener: Listener,
    service: Service,
    metrics: Metrics,
    closed: CancellationToken,
) -> (DoorHealth, impl Future<Output = Result<(), ServeError>>) {
    let (reporter, health) = tonic_health::server::health_reporter();
    let serving = async move {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(CHAT)
            .with_service_name("grpc.health.v1.Health")
            .build_v1()?;
        let chat = ChatServer::new(ChatDoor::new(service, metrics)).max_decoding_message_size(MAX_REQUEST);
        Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .add_service(chat)
            .add_service(health)
            .add_service(reflection)
            .serve_with_incoming_shutdown(listener.into_stream(), closed.cancelled_owned())
            .await?;
        Ok(())
    };
    (DoorHealth { reporter, stopping: CancellationToken::new() }, serving)
}
