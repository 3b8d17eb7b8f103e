//! Client of a cluster, which chooses the server and the time of each attempt.
//!
//! One [`ClusterClient`] stands for the whole cluster: a call goes to the preferred server and, if that one is gone, to
//! another at once. Only when all have failed in a row does the call wait, with full jitter.

mod call;
mod failure;
pub(crate) mod pace;
mod servers;
mod slot;
mod trust;

pub use failure::{CallFailure, FailureKind, RetryRule};
pub(crate) use servers::TLS_SCHEME;
pub use servers::{InvalidAddress, ServerPool};
pub use slot::PooledServer;
pub(crate) use slot::innermost_cause;
pub use trust::{ServerTrust, TrustError};

use quorate_wire::chat::v1::chat_client::ChatClient;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tonic::transport::Channel;

/// Generated client over one connection.
pub type ChatStub = ChatClient<Channel>;

/// Time limits, backoff and TLS of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Longest wait for a connection to one server.
    pub connect_timeout: Duration,
    /// Longest wait for one answer, after which the same request goes to another server. A server itself waits a
    /// bounded time for a leader before it gives up, so this must be longer than that.
    pub attempt_timeout: Duration,
    /// Longest time for a call with all its attempts; `None` for no limit.
    pub limit: Option<Duration>,
    /// First interval of the backoff.
    pub backoff_base: Duration,
    /// Longest interval of the backoff.
    pub backoff_cap: Duration,
    /// Authorities to trust, with TLS to all servers; `None` for clear text.
    pub trust: Option<ServerTrust>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(10),
            limit: Some(Duration::from_secs(60)),
            backoff_base: crate::backoff::BASE,
            backoff_cap: crate::backoff::CAP,
            trust: None,
        }
    }
}

/// Counters of what happened to a client's calls, for reports.
#[derive(Debug, Default)]
pub struct CallCounters {
    retries: AtomicU64,
    rate_limited: AtomicU64,
}

impl CallCounters {
    /// Returns the number of attempts beyond the first of each call.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Returns the number of attempts that were told to wait.
    pub fn rate_limited(&self) -> u64 {
        self.rate_limited.load(Ordering::Relaxed)
    }
}

/// Client of one cluster; clones share servers and connections.
#[derive(Debug, Clone)]
pub struct ClusterClient {
    servers: Arc<ServerPool>,
    options: ClientOptions,
    counters: Arc<CallCounters>,
}

impl ClusterClient {
    /// Creates a client of these servers (`host:port` or `https://host:port`), which prefers the first one. It connects
    /// when first used.
    ///
    /// # Errors
    /// [`InvalidAddress`] names the first address that is neither.
    pub fn new(addresses: &[String], options: ClientOptions) -> Result<Self, InvalidAddress> {
        let servers = ServerPool::new(addresses, &options)?;
        Ok(Self { servers: Arc::new(servers), options, counters: Arc::default() })
    }

    /// Returns the servers that the client knows.
    #[must_use]
    pub fn servers(&self) -> &ServerPool {
        &self.servers
    }

    /// Returns the options of the client.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// Returns the counters of the client.
    #[must_use]
    pub fn counters(&self) -> &CallCounters {
        &self.counters
    }
}
