//! Client of a server's administrative API: `quorate.admin.v1` on the peer port, with mutual TLS only.

pub mod certificates;
mod tls;

pub use tls::AdminTlsFiles;

use crate::{
    client::{CallFailure, RetryRule},
    error::Error,
};
use quorate_wire::admin::v1::{admin_client::AdminClient, moderation_client::ModerationClient};
use std::time::Duration;
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

/// DNS name in every certificate of a cluster. Nodes are told apart by id, not by name, so that a node may move to
/// another address without a new certificate.
pub const DOMAIN: &str = "quorate-peer";

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for an answer. A checkpoint of a large volume or a membership change may take its time.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Client of the administrative API of one server.
#[derive(Debug, Clone)]
pub struct AdminConnection {
    address: String,
    client: AdminClient<Channel>,
    moderation: ModerationClient<Channel>,
}

impl AdminConnection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// Returns a [`CallFailure`] if the server cannot be reached or one side refuses the other's certificate, and a usage
    /// error for an invalid address.
    pub async fn connect(address: &str, files: &AdminTlsFiles) -> Result<Self, Error> {
        let bad =
            |e: tonic::transport::Error| Error::Usage(format!("`{address}`: {}", crate::client::innermost_cause(&e)));
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .and_then(|endpoint| endpoint.tls_config(files.client_config()))
            .map_err(bad)?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT);
        // The endpoint's own limit covers neither name resolution nor the TLS handshake.
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await;
        let channel = match connected {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => {
                return Err(CallFailure::unreachable(address, &crate::client::innermost_cause(&error)).into());
            }
            Err(_) => return Err(CallFailure::unreachable(address, "timed out").into()),
        };
        Ok(Self {
            address: address.to_owned(),
            client: AdminClient::new(channel.clone()),
            moderation: ModerationClient::new(channel),
        })
    }

    /// Returns the address of the server.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Makes one call. It is never retried here, because whether a retry is wise depends on the call.
    ///
    /// # Errors
    /// Returns the [`CallFailure`] of the call.
    pub async fn call<R, F, Fut>(&self, method: F) -> Result<R, CallFailure>
    where
        F: FnOnce(AdminClient<Channel>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let answer = method(self.client.clone()).await;
        answer.map(Response::into_inner).map_err(|status| CallFailure::from_status(&self.address, &status))
    }

    /// Makes one call about the chat itself, as [`AdminConnection::call`] makes one about the cluster.
    ///
    /// # Errors
    /// Returns the [`CallFailure`] of the call.
    pub async fn moderate<R, F, Fut>(&self, method: F) -> Result<R, CallFailure>
    where
        F: FnOnce(ModerationClient<Channel>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let answer = method(self.moderation.clone()).await;
        answer.map(Response::into_inner).map_err(|status| CallFailure::from_status(&self.address, &status))
    }
}

/// Returns `true` if the same call may succeed a moment later.
#[must_use]
pub fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Call(failure) if failure.retry != RetryRule::No)
}
