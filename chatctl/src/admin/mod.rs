//! Client of a server's administrative API: `quorate.admin.v1` on the peer port, with mutual TLS only.

pub mod certificates;
mod tls;

pub use tls::Files;

use crate::{
    client::{Failure, Retry},
    error::Error,
};
use quorate_wire::admin::v1::admin_client::AdminClient;
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
pub struct Door {
    address: String,
    client: AdminClient<Channel>,
}

impl Door {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the server cannot be reached or one side refuses the other's certificate, and a usage
    /// error for an invalid address.
    pub async fn connect(address: &str, files: &Files) -> Result<Self, Error> {
        let bad = |e: tonic::transport::Error| Error::Usage(format!("`{address}`: {}", crate::client::innermost(&e)));
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .and_then(|endpoint| endpoint.tls_config(files.client_config()))
            .map_err(bad)?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await;
        let channel = match connected {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(Failure::unreachable(address, &crate::client::innermost(&error)).into()),
            Err(_) => return Err(Failure::unreachable(address, "timed out").into()),
        };
        Ok(Self { address: address.to_owned(), client: AdminClient::new(channel) })
    }

    /// Returns the address of the server.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Makes one call. It is never retried here, because whether a retry is wise depends on the call.
    ///
    /// # Errors
    /// Returns the [`Failure`] of the call.
    pub async fn call<R, F, Fut>(&self, method: F) -> Result<R, Failure>
    where
        F: FnOnce(AdminClient<Channel>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let answer = method(self.client.clone()).await;
        answer.map(Response::into_inner).map_err(|status| Failure::from_status(&self.address, &status))
    }
}

/// Returns `true` if the same call may succeed a moment later.
#[must_use]
pub fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Call(failure) if failure.retry != Retry::No)
}
