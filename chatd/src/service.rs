//! Business logic that both client APIs, gRPC and Matrix, share once a request is decoded: [`session`] (authenticates
//! the caller) → [`decide`] (turns the request into an [`Envelope`] or a refusal) → the replicated log → the answer.
//!
//! The APIs differ only in how they spell requests and refusals. Nothing here knows the wire's protobuf messages or
//! Matrix JSON.

mod account_data;
mod accounts;
mod administration;
pub mod decide;
mod dehydrated;
mod ephemeral;
mod fair_queue;
mod filed_reports;
mod governed_rooms;
mod guesses;
mod interactive;
mod jwt;
mod key_backup;
mod keys;
mod known_places;
pub mod limits;
mod login_limit;
mod notifications;
mod other_logins;
mod own_account;
mod owner_proof;
mod password;
mod policy;
mod pushers;
mod rate_sketch;
mod read;
mod receipts;
mod refresh;
mod refusal;
mod registration;
mod registration_tokens;
mod rooms;
mod server_notices;
mod session;
mod session_tasks;
mod signatures;
mod signing;
mod standing;
mod strangers;
pub mod subscription;
mod to_device;
mod token;
mod turns;
mod write;

pub use accounts::{LoggedIn, NewLogin};
pub use administration::{AccountDetails, Administrator};
pub use filed_reports::ReportName;
pub use interactive::{AuthStage, CompletedStages, InteractiveSession, RegistrationDialogue, token_in_session};
pub use jwt::{JwtKey, JwtPolicy};
pub use key_backup::BackupScope;
pub(crate) use keys::MAX_CLAIMED;
pub use other_logins::LOGIN_TOKEN_LIFETIME;
pub use own_account::VerifiedPassword;
pub use owner_proof::OwnerProof;
pub use policy::{AccountPolicy, SecretText, TermsOfService};
pub use read::{ReadConsistency, RowSource, ServedFreshness};
pub use refresh::RefreshedTokens;
pub use refusal::{RefusalCode, RequestRefusal};
pub use registration::{GivenToken, RegistrationApproval, SecretRegistration};
pub use server_notices::notice_text;
pub use session::CallerSession;
pub(crate) use signatures::judge_signatures;
pub use signatures::{SignatureFault, SignatureOffer, SigningKeys};
pub use standing::SessionWatch;
pub use write::{OrderedPosts, RoomMade, SentEvent, WriteProposal};

use crate::config::AccountQuotas;
use crate::ephemeral::EphemeralHub;
use crate::feed::ChangeFeed;
use crate::metrics::ChatMetrics;
use crate::push::UnreadCounter;
use crate::raft::{cluster::ClusterMonitor, propose::Proposer, read_index::ReadGate};
use ephemeral::EphemeralLimit;
use login_limit::LoginLimit;
use password::PasswordQueue;
use quorate_core::id;
use session_tasks::SessionTasks;
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
    /// Further rules for accounts.
    pub accounts: AccountPolicy,
    /// Localparts of the users who may see the cluster's status.
    pub administrators: Vec<String>,
    /// `true` if registrations and reads without a session are rate-limited by address.
    pub rate_limited: bool,
    /// Number of accounts that may be registered from one address in ten minutes.
    pub registrations: u32,
    /// Quotas of each account.
    pub quotas: AccountQuotas,
    /// `true` if callers without a session may read the public directory.
    pub directory_is_open: bool,
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
    /// Typing and presence.
    pub ephemeral: EphemeralHub,
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
    notices: EphemeralLimit,
    /// Extensions of sessions, of which half a lifetime is left.
    extensions: SessionTasks,
    /// Removals of the messages that devices have received.
    removals: SessionTasks,
    turns: Arc<ReadTurns>,
    /// Unread notifications, as they were last counted.
    unread: Arc<UnreadCounter>,
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
                strangers: StrangerLimit::new(parts.settings.rate_limited, parts.settings.registrations),
                notices: EphemeralLimit::new(parts.settings.rate_limited),
                parts,
                extensions: SessionTasks::at_most(session::EXTENSIONS_AT_ONCE),
                removals: SessionTasks::at_most(to_device::REMOVALS_AT_ONCE),
                turns,
                unread: Arc::default(),
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

    /// Returns `true` if the caller may administer the server: the configuration names the account, or it was registered
    /// as an administrator's.
    ///
    /// # Errors
    /// The refusals of reads.
    pub async fn is_administrator(&self, session: &CallerSession) -> Result<bool, RequestRefusal> {
        if self.is_administrators_name(&session.localpart) {
            return Ok(true);
        }
        let localpart = session.localpart.clone();
        let (account, _) = self.read(ReadConsistency::Local, move |view| view.account(&localpart)).await?;
        Ok(account.is_some_and(|account| account.administrator))
    }

    fn is_administrators_name(&self, localpart: &str) -> bool {
        self.inner.parts.settings.administrators.iter().any(|name| name == localpart)
    }

    /// Returns the time without use after which a session ends; zero means never.
    #[must_use]
    pub fn session_lifetime(&self) -> Duration {
        self.inner.parts.settings.session_lifetime
    }

    /// Returns the rules for accounts.
    #[must_use]
    pub fn account_policy(&self) -> &AccountPolicy {
        &self.inner.parts.settings.accounts
    }

    /// Returns `true` if callers without a session may read the public directory.
    #[must_use]
    pub fn directory_is_open(&self) -> bool {
        self.inner.parts.settings.directory_is_open
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

    /// Returns the localpart of a user of this server as [`ChatService::parse_user`] does. Capital letters count as small
    /// ones: people type their names as they like, and no account has capital letters in its name (specification,
    /// "Mapping from other character sets").
    ///
    /// # Errors
    /// Those of [`ChatService::parse_user`].
    pub fn parse_typed_user(&self, user: &str) -> Result<String, RequestRefusal> {
        match user.strip_prefix('@').and_then(|full| full.split_once(':')) {
            Some((local, server)) => self.parse_user(&format!("@{}:{server}", local.to_ascii_lowercase())),
            None => self.parse_user(&user.to_ascii_lowercase()),
        }
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
