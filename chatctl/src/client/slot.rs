//! One server: its connection and its recent health.

use super::{CallFailure, ClientOptions};
use crate::backoff::JitteredBackoff;
use quorate_wire::cause::causes_of;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tonic::transport::{Channel, Endpoint};

/// Time without traffic after which a ping is sent, so that a subscriber notices a machine that vanished.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Time after which an unanswered ping ends the connection. It is long enough for a machine under full load.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Shortest time for which a failed server is passed over, so that a full-jitter draw near zero does not send the next
/// call straight back.
const LEAST_HOLD_OFF: Duration = Duration::from_millis(200);

/// One server of the cluster.
#[derive(Debug)]
pub struct PooledServer {
    address: String,
    endpoint: Endpoint,
    connect_timeout: Duration,
    health: Mutex<ServerHealth>,
    connection: tokio::sync::Mutex<ConnectionState>,
}

#[derive(Debug)]
struct ServerHealth {
    held_until: Option<Instant>,
    backoff: JitteredBackoff,
}

#[derive(Debug, Default)]
struct ConnectionState {
    channel: Option<Channel>,
    /// Number of the connection. It rises with each, so that a late report about an old one does not end the new one.
    generation: u64,
    failed: Option<(Instant, String)>,
}

impl PooledServer {
    pub(super) fn new(address: &str, options: &ClientOptions) -> Result<Self, tonic::transport::Error> {
        let uri = if options.trust.is_some() { address.to_owned() } else { format!("http://{address}") };
        let mut endpoint = Endpoint::from_shared(uri)?;
        if let Some(trust) = &options.trust {
            endpoint = endpoint.tls_config(trust.config())?;
        }
        let endpoint = endpoint
            .user_agent(concat!("chatctl/", env!("CARGO_PKG_VERSION")))?
            .connect_timeout(options.connect_timeout)
            // Requests are small and waited for, and Nagle's algorithm would hold them back for an acknowledgement.
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            // Between calls, too: otherwise the next call would learn of a vanished machine only by its own timeout.
            .keep_alive_while_idle(true);
        let backoff = JitteredBackoff::new(options.backoff_base, options.backoff_cap);
        Ok(Self {
            address: address.to_owned(),
            endpoint,
            connect_timeout: options.connect_timeout,
            health: Mutex::new(ServerHealth { held_until: None, backoff }),
            connection: tokio::sync::Mutex::default(),
        })
    }

    /// Returns the address: `host:port`, or `https://host:port` if TLS is used.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the connection and its generation, connecting if there is none. Callers that wait at the same time share
    /// one attempt.
    ///
    /// # Errors
    /// Returns a [`CallFailure`] that says that nothing was sent.
    pub async fn connect(&self) -> Result<(Channel, u64), CallFailure> {
        let asked = Instant::now();
        let mut connection = self.connection.lock().await;
        if let Some(channel) = &connection.channel {
            return Ok((channel.clone(), connection.generation));
        }
        if let Some((at, reason)) = &connection.failed
            // The attempt ended while this caller waited for the lock, so a further one would most likely fail as well.
            && *at >= asked
        {
            return Err(CallFailure::unreachable(&self.address, reason));
        }
        match self.dial().await {
            Ok(channel) => {
                connection.generation += 1;
                connection.channel = Some(channel.clone());
                connection.failed = None;
                Ok((channel, connection.generation))
            }
            Err(reason) => {
                let failure = CallFailure::unreachable(&self.address, &reason);
                connection.failed = Some((Instant::now(), reason));
                Err(failure)
            }
        }
    }

    async fn dial(&self) -> Result<Channel, String> {
        // The timeout covers the whole attempt: the endpoint's own limit covers neither name resolution nor the
        // handshake.
        match tokio::time::timeout(self.connect_timeout, self.endpoint.connect()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(innermost_cause(&error)),
            Err(_) => Err(format!("no connection within {} ms", self.connect_timeout.as_millis())),
        }
    }

    /// Drops the connection of this generation, which is broken or silent. A newer connection is kept.
    pub async fn forget(&self, generation: u64) {
        let mut connection = self.connection.lock().await;
        if connection.generation == generation {
            connection.channel = None;
        }
    }

    /// Passes over this server for a while.
    pub fn hold_off(&self) {
        let mut health = self.health();
        let now = Instant::now();
        // Many calls in flight fail together; they count as one failure, not as many.
        if health.held_until.is_none_or(|until| until <= now) {
            let wait = health.backoff.next_wait().max(LEAST_HOLD_OFF);
            health.held_until = Some(now + wait);
        }
    }

    /// Records a success: the server is used again, and its backoff starts over.
    pub(super) fn succeeded(&self) {
        let mut health = self.health();
        health.held_until = None;
        health.backoff.reset();
    }

    /// Returns the time until which the server is passed over; `None` if it is not.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.health().held_until.filter(|until| *until > Instant::now())
    }

    fn health(&self) -> MutexGuard<'_, ServerHealth> {
        // Poisoning is ignored: the values are plain, and as good after a panic elsewhere as before.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the innermost cause ("Connection refused"), because the outer errors only say "transport error".
pub(crate) fn innermost_cause(error: &(dyn std::error::Error + 'static)) -> String {
    causes_of(error).last().unwrap_or(error).to_string()
}
