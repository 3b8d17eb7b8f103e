//! Business logic that both client APIs, gRPC and Matrix, share once a request is decoded: [`session`] (authenticates
//! the caller) → [`decide`] (turns the request into an [`Envelope`] or a refusal) → the replicated log → the answer.
//!
//! The APIs differ only in how they spell requests and refusals. Nothing here knows the wire's protobuf messages or
//! Matrix JSON.

mod accounts;
pub mod decide;
mod fair_queue;
mod known_places;
pub mod limits;
mod login_limit;
mod password;
mod rate_sketch;
mod read;
mod refusal;
mod session;
mod standing;
mod strangers;
pub mod subscription;
mod token;
mod turns;
mod write;

pub use accounts::{LoggedIn, NewLogin};
pub use read::{Consistency, Freshness, Rows};
pub use refusal::{Code, Refusal};
pub use session::Session;
pub use standing::Standing;
pub use write::{OrderedPosts, Proposal, RoomMade, Sent};

use crate::config::Quotas;
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::raft::{cluster::Cluster, propose::Proposer, read_index::Reads};
use login_limit::LoginLimit;
use password::Passwords;
use quorate_core::id;
use session::Extensions;
use std::{sync::Arc, time::Duration};
use strangers::StrangerLimit;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use turns::ReadTurns;

#[cfg(doc)]
use quorate_core::proto::log::Envelope;

/// Account settings from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Matrix server name: the part of a user id after the colon.
    pub server_name: String,
    /// Time without use after which a session ends; zero means never.
    pub session_lifetime: Duration,
    /// `true` if anyone may register an account.
    pub registration_open: bool,
    /// Localparts of the users who may see the cluster's status.
    pub administrators: Vec<String>,
    /// `true` if registrations and reads without a session are rate-limited by address.
    pub rate_limited: bool,
    /// Quotas of each account.
    pub quotas: Quotas,
}

/// Components that a [`Service`] is built from.
pub struct Parts {
    pub settings: Settings,
    /// Replicated state of this pod.
    pub rows: Arc<dyn Rows>,
    /// Entry point to the replicated log.
    pub proposer: Proposer,
    /// Gate that makes reads linearizable (`ReadIndex`).
    pub reads: Reads,
    /// State of the cluster as this pod knows it.
    pub cluster: Cluster,
    /// Feed that wakes readers after each commit.
    pub feed: Feed,
    /// Metrics of the process: commands in flight, waiting reads and refused logins are counted here.
    pub metrics: Metrics,
    /// Token that is cancelled when streams and long polls must end.
    pub stopping: CancellationToken,
}

/// All operations of the client APIs. Clones share all state.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
    /// Reader that the reads of this handle count against: a localpart, or empty for callers without a session, who
    /// together form one reader.
    reader: Arc<str>,
}

struct Inner {
    parts: Parts,
    passwords: Passwords,
    logins: Arc<LoginLimit>,
    strangers: StrangerLimit,
    extensions: Extensions,
    turns: Arc<ReadTurns>,
    session_looks: Arc<Semaphore>,
}

impl Service {
    /// Builds the service from its parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let turns = ReadTurns::new(parts.metrics.clone());
        Self {
            inner: Arc::new(Inner {
                passwords: Passwords::new(parts.metrics.clone()),
                logins: Arc::default(),
                strangers: StrangerLimit::new(parts.settings.rate_limited),
                parts,
                extensions: Extensions::default(),
                turns,
                session_looks: Arc::new(Semaphore::new(session::LOOKS_AT_ONCE)),
            }),
            reader: "".into(),
        }
    }

    /// Returns a handle for one caller, whose reads take turns with those of other callers.
    #[must_use]
    pub fn for_reader(&self, session: &Session) -> Self {
        Self { inner: self.inner.clone(), reader: session.localpart.as_str().into() }
    }

    /// Returns the Matrix server name.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.inner.parts.settings.server_name
    }

    /// Returns `true` if anyone may register an account.
    #[must_use]
    pub fn registration_open(&self) -> bool {
        self.inner.parts.settings.registration_open
    }

    /// Returns `true` if the caller may see the cluster's status.
    #[must_use]
    pub fn is_administrator(&self, session: &Session) -> bool {
        self.is_administrators_name(&session.localpart)
    }

    fn is_administrators_name(&self, localpart: &str) -> bool {
        self.inner.parts.settings.administrators.iter().any(|name| name == localpart)
    }

    /// Returns the time without use after which a session ends; zero means never.
    #[must_use]
    pub fn session_lifetime(&self) -> Duration {
        self.inner.parts.settings.session_lifetime
    }

    fn quotas(&self) -> &Quotas {
        &self.inner.parts.settings.quotas
    }

    /// Returns the state of the cluster as this pod knows it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.inner.parts.cluster
    }

    /// Returns the feed that wakes readers after each commit.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.inner.parts.feed
    }

    /// Returns a token that is cancelled when streams and long polls must end because the pod is stopping.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.inner.parts.stopping.clone()
    }

    /// Returns the client address of the current leader, or `None` while this pod knows none.
    #[must_use]
    pub fn leader_address(&self) -> Option<String> {
        let status = self.cluster().status();
        status.leader.and_then(|id| status.membership.member(id)).map(|member| member.client_address.clone())
    }

    /// Returns the localpart of a user of this server, given as a localpart or as a full user id.
    ///
    /// # Errors
    /// [`Code::Invalid`] for users of other servers and for names outside the grammar.
    pub fn parse_user(&self, user: &str) -> Result<String, Refusal> {
        let server = self.server_name();
        id::localpart(user, server).map(str::to_owned).ok_or_else(|| {
            Refusal::invalid(format!(
                "this is not a user of {server}: write a localpart of a-z, 0-9 and ._=-/+, or @localpart:{server}"
            ))
        })
    }
}
