//! What both doors do with a request once it is decoded:
//! [`session`] (who calls) → [`decide`] (what it means: an [`Envelope`], or a refusal) → the replicated log → the answer.
//!
//! The doors differ only in how they spell requests and refusals. Nothing here knows protobuf of the wire or Matrix JSON.

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

/// What the configuration says about accounts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Matrix server name.
    pub server_name: String,
    /// A session ends when it was not used for this long; zero: never.
    pub session_lifetime: Duration,
    /// Whether anyone may make an account.
    pub registration_open: bool,
    /// Localparts of the users who may see how the cluster does.
    pub administrators: Vec<String>,
    /// Whether addresses are limited in the accounts they make and what they read without a session.
    pub rate_limited: bool,
    /// What one account may have.
    pub quotas: Quotas,
}

/// What a service is made of.
pub struct Parts {
    /// From the configuration.
    pub settings: Settings,
    /// This pod's state.
    pub rows: Arc<dyn Rows>,
    /// The way into the log.
    pub proposer: Proposer,
    /// The way to fresh reads.
    pub reads: Reads,
    /// What this pod knows of its cluster.
    pub cluster: Cluster,
    /// Who is woken by what.
    pub feed: Feed,
    /// Commands in flight are counted.
    pub metrics: Metrics,
    /// Fires when streams and long polls must end.
    pub stopping: CancellationToken,
}

/// All operations, for any door. Clones share everything.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
    /// Whose reads this handle makes: a localpart, or empty for callers without a session, who share one share.
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
    /// Puts the parts together.
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

    /// The same for one caller, whose reads take turns with those of others.
    #[must_use]
    pub fn for_reader(&self, session: &Session) -> Self {
        Self { inner: self.inner.clone(), reader: session.localpart.as_str().into() }
    }

    /// The Matrix server name.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.inner.parts.settings.server_name
    }

    /// Whether anyone may make an account.
    #[must_use]
    pub fn registration_open(&self) -> bool {
        self.inner.parts.settings.registration_open
    }

    /// Whether the caller may see how the cluster does.
    #[must_use]
    pub fn is_administrator(&self, session: &Session) -> bool {
        self.is_administrators_name(&session.localpart)
    }

    fn is_administrators_name(&self, localpart: &str) -> bool {
        self.inner.parts.settings.administrators.iter().any(|name| name == localpart)
    }

    /// Disuse after which a session ends; zero: never.
    #[must_use]
    pub fn session_lifetime(&self) -> Duration {
        self.inner.parts.settings.session_lifetime
    }

    /// What one account may have.
    fn quotas(&self) -> &Quotas {
        &self.inner.parts.settings.quotas
    }

    /// What this pod knows of its cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.inner.parts.cluster
    }

    /// Who is woken by what.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.inner.parts.feed
    }

    /// Fires when streams and long polls must end, because the pod is about to.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.inner.parts.stopping.clone()
    }

    /// Where clients reach the present leader, when this pod knows one.
    #[must_use]
    pub fn leader_address(&self) -> Option<String> {
        let status = self.cluster().status();
        status.leader.and_then(|id| status.membership.member(id)).map(|member| member.client_address.clone())
    }

    /// The localpart of a user of this server, named by it or by a full user id.
    ///
    /// # Errors
    /// [`Code::Invalid`] for other servers' users and names outside the grammar.
    pub fn parse_user(&self, user: &str) -> Result<String, Refusal> {
        let server = self.server_name();
        id::localpart(user, server).map(str::to_owned).ok_or_else(|| {
            Refusal::invalid(format!(
                "this is no user of {server}: write a localpart of a-z, 0-9 and ._=-/+, or @localpart:{server}"
            ))
        })
    }
}
