//! Business logic that both client APIs, gRPC and Matrix, share once a request is decoded: [`session`] (authenticates
//! the caller) → [`decide`] (turns the request into an [`Envelope`] or a refusal) → the replicated log → the answer.
//!
//! The APIs differ only in how they spell requests and refusals. Nothing here knows the wire's protobuf messages or
//! Matrix JSON.

mod account_data;
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
pub use read::{ReadConsistency, RowSource, ServedFreshness};
pub use refusal::{RefusalCode, RequestRefusal};
pub use session::CallerSession;
pub use standing::SessionWatch;
pub use write::{OrderedPosts, RoomMade, SentEvent, WriteProposal};

use crate::config::AccountQuotas;
use crate::feed::ChangeFeed;
use crate::metrics::ChatMetrics;
use crate::raft::{cluster::ClusterMonitor, propose::Proposer, read_index::ReadGate};
use login_limit::LoginLimit;
use password::PasswordQueue;
use quorate_core::id;
use session::SessionExtensions;
use std::{sync::Arc, time::Duration};
use strangers::StrangerLimit;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use turns::ReadTurns;

#[cfg(doc)]
use quorate_core::proto::log::Envelope;

/// Account settings from the configuration.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
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
    pub quotas: AccountQuotas,
}

/// Components that a [`ChatService`] is built from.
pub struct ServiceParts {
    pub settings: ServiceSettings,
    /// Replicated state of this pod.
    pub rows: Arc<dyn RowSource>,
    /// Entry point to the replicated log.
    pub proposer: Proposer,
    /// Gate that makes reads linearizable (`ReadIndex`).
    pub reads: ReadGate,
    /// State of the cluster as this pod knows it.
    pub cluster: ClusterMonitor,
    /// Feed that wakes readers after each commit.
    pub feed: ChangeFeed,
    /// Metrics of the process: commands in flight, waiting reads and refused logins are counted here.
    pub metrics: ChatMetrics,
    /// Token that is cancelled when streams and long polls must end.
    pub stopping: CancellationToken,
}

/// All operations of the client APIs. Clones share all state.
#[derive(Clone)]
pub struct ChatService {
    inner: Arc<ServiceState>,
    /// Reader that the reads of this handle count against: a localpart, or empty for callers without a session, who
    /// together form one reader.
    reader: Arc<str>,
}

struct ServiceState {
    parts: ServiceParts,
    passwords: PasswordQueue,
    logins: Arc<LoginLimit>,
    strangers: StrangerLimit,
    extensions: SessionExtensions,
    turns: Arc<ReadTurns>,
    session_looks: Arc<Semaphore>,
}

impl ChatService {
    /// Builds the service from its parts.
    #[must_use]
    pub fn new(parts: ServiceParts) -> Self {
        let turns = ReadTurns::new(parts.metrics.clone());
        Self {
            inner: Arc::new(ServiceState {
                passwords: PasswordQueue::new(parts.metrics.clone()),
                logins: Arc::default(),
                strangers: StrangerLimit::new(parts.settings.rate_limited),
                parts,
                extensions: SessionExtensions::default(),
                turns,
                session_looks: Arc::new(Semaphore::new(session::LOOKS_AT_ONCE)),
            }),
            reader: "".into(),
        }
    }

    /// Returns a handle for one caller, whose reads take turns with those of other callers.
    #[must_use]
    pub fn for_reader(&self, session: &CallerSession) -> Self {
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
    pub fn is_administrator(&self, session: &CallerSession) -> bool {
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

    fn quotas(&self) -> &AccountQuotas {
        &self.inner.parts.settings.quotas
    }

    /// Returns the state of the cluster as this pod knows it.
    #[must_use]
    pub fn cluster(&self) -> &ClusterMonitor {
        &self.inner.parts.cluster
    }

    /// Returns the feed that wakes readers after each commit.
    #[must_use]
    pub fn feed(&self) -> &ChangeFeed {
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
    /// [`RefusalCode::Invalid`] for users of other servers and for names outside the grammar.
    pub fn parse_user(&self, user: &str) -> Result<String, RequestRefusal> {
        let server = self.server_name();
        id::user_localpart(user, server).map(str::to_owned).ok_or_else(|| {
            RequestRefusal::invalid(format!(
                "this is not a user of {server}: write a localpart of a-z, 0-9 and ._=-/+, or @localpart:{server}"
            ))
        })
    }
}
