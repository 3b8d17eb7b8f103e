//! One server: its connection and how it has behaved.

use super::{Failure, Options};
use crate::backoff::Backoff;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tonic::transport::{Channel, Endpoint};

/// A ping goes out after this long without traffic, so that a subscriber notices a machine that vanished.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// A ping unanswered for so long ends the connection. Long enough for a machine under full load.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Shortest time for which a failed server is passed over, so that a full-jitter draw near zero does not send the next
/// call straight back.
const LEAST_HOLD_OFF: Duration = Duration::from_millis(200);

/// One server of the cluster.
#[derive(Debug)]
pub struct Slot {
    address: String,
    endpoint: Endpoint,
    connect_timeout: Duration,
    health: Mutex<Health>,
    connection: tokio::sync::Mutex<Connection>,
}

#[derive(Debug)]
struct Health {
    held_until: Option<Instant>,
    backoff: Backoff,
}

#[derive(Debug, Default)]
struct Connection {
    channel: Option<Channel>,
    /// Rises with each connection, so that a late report about an old one does not end the new one.
    generation: u64,
    failed: Option<(Instant, String)>,
}

impl Slot {
    pub(super) fn new(address: &str, options: &Options) -> Result<Self, tonic::transport::Error> {
        let uri = if options.trust.is_some() { address.to_owned() } else { format!("http://{address}") };
        let mut endpoint = Endpoint::from_shared(uri)?;
        if let Some(trust) = &options.trust {
            endpoint = endpoint.tls_config(trust.config())?;
        }
        let endpoint = endpoint
            .user_agent(concat!("chatctl/", env!("CARGO_PKG_VERSION")))?
            .connect_timeout(options.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let backoff = Backoff::new(options.backoff_base, options.backoff_cap);
        Ok(Self {
            address: address.to_owned(),
            endpoint,
            connect_timeout: options.connect_timeout,
            health: Mutex::new(Health { held_until: None, backoff }),
            connection: tokio::sync::Mutex::default(),
        })
    }

    /// `host:port`, or `https://host:port` where TLS is spoken.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The connection, made if there is none. Callers that wait at the same time share one attempt.
    ///
    /// # Errors
    /// A [`Failure`] that says that nothing was sent.
    pub async fn connect(&self) -> Result<(Channel, u64), Failure> {
        let asked = Instant::now();
        let mut connection = self.connection.lock().await;
        if let Some(channel) = &connection.channel {
            return Ok((channel.clone(), connection.generation));
        }
        if let Some((at, reason)) = &connection.failed
            && *at >= asked
        {
            return Err(Failure::unreachable(&self.address, reason));
        }
        match self.dial().await {
            Ok(channel) => {
                connection.generation += 1;
                connection.channel = Some(channel.clone());
                connection.failed = None;
                Ok((channel, connection.generation))
            }
            Err(reason) => {
                let failure = Failure::unreachable(&self.address, &reason);
                connection.failed = Some((Instant::now(), reason));
                Err(failure)
            }
        }
    }

    async fn dial(&self) -> Result<Channel, String> {
        // Around the whole of it: the end point's own limit covers neither name resolution nor the handshake.
        match tokio::time::timeout(self.connect_timeout, self.endpoint.connect()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(innermost(&error)),
            Err(_) => Err(format!("no connection within {} ms", self.connect_timeout.as_millis())),
        }
    }

    /// Forgets the connection of that generation: it is broken or silent.
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
        // Many calls in flight fail together; they are one piece of bad news, not many.
        if health.held_until.is_none_or(|until| until <= now) {
            let wait = health.backoff.next_wait().max(LEAST_HOLD_OFF);
            health.held_until = Some(now + wait);
        }
    }

    /// It works.
    pub(super) fn succeeded(&self) {
        let mut health = self.health();
        health.held_until = None;
        health.backoff.reset();
    }

    /// Until when it is passed over, if it is.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.health().held_until.filter(|until| *until > Instant::now())
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        // Plain values: as good after a panic elsewhere as before.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cause at the bottom ("Connection refused"), where the outer ones only say "transport error".
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
