//! Which server to ask, and when to ask again.
//!
//! One [`Client`] stands for the whole cluster: a call goes to the preferred server, and when that one is gone it goes
//! to another at once. Only when all have failed in a row does the call wait, with full jitter.

mod call;
mod failure;
pub(crate) mod pace;
mod servers;
mod slot;
mod trust;

pub use failure::{Failure, Kind, Retry};
pub(crate) use servers::TLS_SCHEME;
pub use servers::{InvalidAddress, Servers};
pub use slot::Slot;
pub(crate) use slot::innermost;
pub use trust::ServerTrust;

use quorate_wire::chat::v1::chat_client::ChatClient;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tonic::transport::Channel;

/// The generated client of one connection.
pub type Chat = ChatClient<Channel>;

/// How patient a client is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Longest wait for a connection to one server.
    pub connect_timeout: Duration,
    /// Longest wait for one answer; then the same request goes to another server. A server itself waits a bounded
    /// time for a leader before it gives up, so this stands above that time.
    pub attempt_timeout: Duration,
    /// Longest time for a call with all its attempts; `None`: until it is settled.
    pub limit: Option<Duration>,
    /// First interval of the backoff.
    pub backoff_base: Duration,
    /// Longest interval of the backoff.
    pub backoff_cap: Duration,
    /// Speak TLS with all servers, and believe these authorities; `None`: speak plainly.
    pub trust: Option<ServerTrust>,
}

impl Default for Options {
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

/// What a client went through, for reports.
#[derive(Debug, Default)]
pub struct Counters {
    retries: AtomicU64,
    rate_limited: AtomicU64,
}

impl Counters {
    /// Attempts beyond the first of a call.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Attempts that were told to wait.
    pub fn rate_limited(&self) -> u64 {
        self.rate_limited.load(Ordering::Relaxed)
    }
}

/// A client of one cluster; clones share servers and connections.
#[derive(Debug, Clone)]
pub struct Client {
    servers: Arc<Servers>,
    options: Options,
    counters: Arc<Counters>,
}

impl Client {
    /// A client of these servers (`host:port` or `https://host:port`), which prefers the first. Connects when first used.
    ///
    /// # Errors
    /// [`InvalidAddress`] names the first address that is neither.
    pub fn new(addresses: &[String], options: Options) -> Result<Self, InvalidAddress> {
        let servers = Servers::new(addresses, &options)?;
        Ok(Self { servers: Arc::new(servers), options, counters: Arc::default() })
    }

    /// The servers it knows.
    #[must_use]
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// How patient it is.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What it went through.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
