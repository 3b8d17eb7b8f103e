//! Server of port 7400: the chat service, reflection, and the standard health service.

use super::ChatApi;
use super::gate::GrpcGate;
use crate::api::listen::{ClientListener, ConnectionBuilder, ListenerBounds};
use crate::metrics::{ChatMetrics, ClientApi};
use crate::raft::cluster::ClusterMonitor;
use crate::service::ChatService;
use crate::tls::ClientTls;
use hyper_util::rt::TokioTimer;
use quorate_wire::DESCRIPTORS;
use quorate_wire::chat::v1::chat_server::ChatServer;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Maximum size of a request: a post's frame (1 MiB of content) with what is around it, or a room with its initial
/// state.
const MAX_REQUEST: usize = 2 * 1024 * 1024;
/// Maximum number of concurrent calls on one connection. A gateway multiplexes many users over one; beyond this it
/// opens another. Each call costs some KiB while it waits, and one person has a handful.
const STREAMS: u32 = 1024;
/// Interval between keepalive pings. A client behind a dead network is noticed after this and the timeout; the pings
/// also keep idle streams open in middleboxes.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Flow-control window of a stream: HTTP/2's default of 64 KiB would hold a post's frame of 1 MiB up for a round trip
/// per 64 KiB.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// Flow-control window of a connection, for all its streams together: two frames of posts.
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// Maximum bytes of one stream's answers that wait for the client's window; also the default of hyper. More is read
/// when there is room.
const SEND_BUFFER: usize = 400 * 1024;
/// Maximum size of a head, which holds a token and a trace's context; gRPC's usual limit is 8 KiB.
const HEAD: u32 = 16 * 1024;

/// Name of the chat service for `grpc.health.v1`; the empty name is the whole server.
const CHAT: &str = "quorate.chat.v1.Chat";

/// Health of the listener, as clients and load balancers see it (`grpc.health.v1`).
#[derive(Clone)]
pub struct GrpcHealth {
    reporter: HealthReporter,
    stopping: CancellationToken,
}

impl GrpcHealth {
    /// Reports the readiness of the pod as it changes, until `closed`.
    pub async fn follow(self, cluster: ClusterMonitor, closed: CancellationToken) {
        let mut headlines = cluster.watch();
        loop {
            let ready = headlines.borrow_and_update().ready;
            // The cluster's status may change again while the pod stops; health must not come back by that.
            self.set(ready && !self.stopping.is_cancelled()).await;
            if !matches!(closed.run_until_cancelled(headlines.changed()).await, Some(Ok(()))) {
                return;
            }
        }
    }

    /// Reports that the pod is stopping, so that new calls go elsewhere from now on.
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
/// If the descriptors that were compiled in are not valid, which the tests exclude.
pub(crate) fn serve_grpc(
    listener: TcpListener,
    tls: Option<ClientTls>,
    bounds: Arc<ListenerBounds>,
    service: ChatService,
    metrics: ChatMetrics,
    closed: CancellationToken,
) -> Result<(GrpcHealth, impl Future<Output = ()>), tonic_reflection::server::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(CHAT)
        .with_service_name("grpc.health.v1.Health")
        .build_v1()?;
    let chat = ChatServer::new(ChatApi::new(service.clone(), metrics)).max_decoding_message_size(MAX_REQUEST);
    let router = Routes::new(chat).add_service(health).add_service(reflection).into_axum_router();
    let listener = ClientListener {
        listener,
        api: ClientApi::Grpc,
        bounds,
        protocol: connection_builder(),
        router,
        tls,
        manner: GrpcGate::new(service),
    };
    let health = GrpcHealth { reporter, stopping: CancellationToken::new() };
    Ok((health, listener.serve(closed)))
}

fn connection_builder() -> ConnectionBuilder {
    let mut protocol = ConnectionBuilder::new().http2_only();
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    protocol
}
