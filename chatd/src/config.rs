//! Configuration of a pod: read from file, environment and flags as written ([`written`]), then resolved once, at
//! startup, into a [`Config`].
//!
//! [`keys`] is the single table of keys. The grammar of the file, the names of environment variables and flags, the
//! defaults and `docs/configuration.md` ([`mod@reference`]) all come from it.

mod keys;
mod parsers;
mod ratio;
pub mod reference;
mod resolve;
mod values;
pub mod written;

pub use crate::caller::TrustedProxies;
pub use crate::tls::ClientTlsFiles;
pub use keys::{ConfigKey, KEYS};
pub use ratio::Ratio;
pub use resolve::{HostEnvironment, resolve_config};

use serde_json::{Map, Value};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Complete, validated configuration of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Matrix server name: the part of user and room ids after the colon.
    pub server_name: String,
    /// Name of the pod or process, stable over restarts.
    pub node_name: String,
    /// Directory that holds everything durable.
    pub data_dir: PathBuf,
    /// Addresses of the listeners.
    pub listen: ListenAddresses,
    /// Addresses under which others reach this pod.
    pub advertise: AdvertisedAddresses,
    /// Certificates of the listeners.
    pub tls: TlsConfig,
    /// Timing of elections, and sizes of snapshots and log.
    pub raft: RaftConfig,
    /// Memory of the state's database, in MiB.
    pub state_cache_mebibytes: u64,
    /// Space of the data volume that users' writes must leave free, in MiB. `None` reserves a share of the volume.
    pub storage_reserve_mebibytes: Option<u64>,
    /// Time without use after which a session ends. Zero means never.
    pub session_lifetime: Duration,
    /// Policy for the registration of new accounts.
    pub registration: RegistrationMode,
    /// Further rules for accounts.
    pub accounts: AccountRules,
    /// Localparts of the users who may read the status of the cluster.
    pub administrators: Vec<String>,
    /// Limit on how many messages each user may send.
    pub rate_limit: RateLimit,
    /// Presence of users, and how long pods wait for each other's.
    pub presence: PresenceConfig,
    /// Push gateways that notifications are sent to.
    pub push: PushConfig,
    /// Access to the public directory of rooms.
    pub directory: DirectoryConfig,
    /// Upper bounds on the data of one account.
    pub quotas: AccountQuotas,
    /// Upper bounds on the resources that callers may occupy.
    pub limits: CallerLimits,
    /// Format and level of log lines.
    pub log: LogConfig,
    /// Export of traces to an OTLP receiver.
    pub traces: TraceConfig,
    /// Longest time from SIGTERM to the end of the process.
    pub shutdown_grace: Duration,
}

/// Addresses on which the pod listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddresses {
    /// Matrix Client-Server API and web client.
    pub http: SocketAddr,
    /// gRPC API for clients.
    pub grpc: SocketAddr,
    /// Raft peers and administration, over mutual TLS.
    pub peer: SocketAddr,
    /// Endpoints `/metrics`, `/healthz` and `/readyz`.
    pub metrics: SocketAddr,
}

/// Addresses under which others reach this pod, as `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdvertisedAddresses {
    /// Address for the other pods.
    pub peer: String,
    /// Address for clients that ask for the list of servers.
    pub grpc: String,
}

/// Certificates as PEM files, which are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificate authority that signed the certificates of all peers.
    pub ca_file: PathBuf,
    /// Certificate of this pod.
    pub cert_file: PathBuf,
    /// Private key of `cert_file`.
    pub key_file: PathBuf,
    /// Certificate chain and key of the client listeners. `None` means that they serve without TLS.
    pub client: Option<ClientTlsFiles>,
}

/// Settings of Raft (for the times see the Raft paper, §5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftConfig {
    /// Time between two heartbeats of the leader.
    pub heartbeat_interval: Duration,
    /// Shortest time without a heartbeat after which a follower starts an election.
    pub election_timeout_min: Duration,
    /// Longest time without a heartbeat after which a follower starts an election.
    pub election_timeout_max: Duration,
    /// Number of entries applied since the last checkpoint after which the next one is written.
    pub snapshot_entries: u64,
    /// Number of entries kept in the log behind a checkpoint, so that a restarted pod needs no snapshot.
    pub keep_log_entries: u64,
}

/// Policy for the registration of new accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Anyone who reaches a client listener may register.
    #[default]
    Open,
    /// Whoever knows the registration token may register.
    Token,
    /// Nobody may register an account.
    Closed,
}

/// Rules for accounts, and what clients are told before they log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountRules {
    /// File with the token for [`RegistrationMode::Token`].
    pub registration_token_file: Option<PathBuf>,
    /// File with the secret with which administrators register accounts.
    pub shared_secret_file: Option<PathBuf>,
    /// Localpart of the account that sends notices of the server.
    pub notices_user: String,
    /// Address of the terms of service.
    pub terms_url: Option<String>,
    /// Version of the terms of service.
    pub terms_version: String,
    /// Address under which clients reach this server.
    pub base_url: Option<String>,
    /// Lifetime of access tokens that are refreshed.
    pub access_token_lifetime: Duration,
    /// Logins with tokens of an identity provider.
    pub jwt: JwtRules,
}

/// Algorithm with which tokens are signed (RFC 7518 and RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl JwtAlgorithm {
    /// Returns the name of the algorithm in tokens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// Rules for JSON Web Tokens with which people log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwtRules {
    /// Algorithm of the tokens; `None` if none are accepted.
    pub algorithm: Option<JwtAlgorithm>,
    /// File with the provider's public key, or with the shared secret.
    pub key_file: Option<PathBuf>,
    /// Issuer that tokens must name.
    pub issuer: Option<String>,
    /// Audiences of which tokens must name one; empty if they do not matter.
    pub audiences: Vec<String>,
    /// Difference between the clocks of the provider and of this server that is tolerated.
    pub leeway: Duration,
}

/// Limits on what each user and address may do, enforced by the leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// `true` if there is a limit.
    pub enabled: bool,
    /// Number of messages that a user may send in each period.
    pub messages: u32,
    /// Length of a period.
    pub per: Duration,
    /// Number of changes to rooms in each period; `None` derives it from `messages`, here and below.
    pub state: Option<u32>,
    /// Number of changes to account data and the like in each period.
    pub account: Option<u32>,
    /// Number of receipts in each period.
    pub receipts: Option<u32>,
    /// Number of requests about encryption in each period.
    pub keys: Option<u32>,
    /// Number of sessions that may be opened for one account in ten minutes.
    pub logins: u32,
    /// Number of accounts that may be registered from one address in ten minutes.
    pub registrations: u32,
}

/// Settings of presence and typing, which pods tell each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceConfig {
    /// `true` if presence is kept and shown.
    pub enabled: bool,
    /// Time after which the presence and typing of a pod's users is dropped if nothing is heard from the pod.
    pub pod_timeout: Duration,
}

/// Settings of what is sent to push gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushConfig {
    /// `true` if gateways may have addresses that are not public.
    pub allow_private: bool,
    /// File with certificates of authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// Settings of the public directory of rooms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryConfig {
    /// `true` if callers without an access token may read the directory.
    pub without_token: bool,
}

/// Upper bounds on the data of one account. The pod that takes a request writes them into its commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountQuotas {
    /// Number of devices, each with its session.
    pub devices: u32,
    /// Number of `/sync` filters.
    pub filters: u32,
    /// Number of account data entries.
    pub account_data_entries: u32,
    /// Total size of the types and contents of all account data, in MiB.
    pub account_data_mebibytes: u32,
    /// Number of rooms that the account is joined to.
    pub joined_rooms: u32,
    /// Number of invitations that the account has not answered yet.
    pub pending_invites: u32,
}

/// Upper bounds on what callers of the client listeners may occupy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerLimits {
    /// Number of connections to each listener.
    pub connections: usize,
    /// Number of connections from one address, to both listeners together.
    pub connections_per_address: usize,
    /// Number of connections from one address that have not presented a session.
    pub strangers_per_address: usize,
    /// Bytes of request bodies in flight.
    pub request_bytes: usize,
    /// Bytes of responses that clients have not received yet.
    pub answer_bytes: usize,
    /// Proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: TrustedProxies,
}

/// Format and level of log lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// Output format of log lines.
    pub format: LogFormat,
    /// Least severe log level that is written, or filter directives such as `info,quorate_chatd::raft=debug`.
    pub level: String,
}

/// Output format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// Plain text for people.
    Text,
}

/// Export of the traces of sampled calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceConfig {
    /// URL of an OTLP receiver that takes traces over gRPC. `None` disables tracing.
    pub endpoint: Option<String>,
    /// Share of calls that are traced, among those whose callers do not say whether to trace them.
    pub sample_ratio: Ratio,
}

impl Config {
    /// Returns a configuration in which nothing is set; [`resolve_config()`] fills in every key.
    fn unset() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Self {
            server_name: String::new(),
            node_name: String::new(),
            data_dir: PathBuf::new(),
            listen: ListenAddresses { http: nowhere, grpc: nowhere, peer: nowhere, metrics: nowhere },
            advertise: AdvertisedAddresses::default(),
            tls: TlsConfig::default(),
            raft: RaftConfig::default(),
            state_cache_mebibytes: 0,
            storage_reserve_mebibytes: None,
            session_lifetime: Duration::ZERO,
            registration: RegistrationMode::default(),
            accounts: AccountRules::default(),
            administrators: Vec::new(),
            rate_limit: RateLimit::default(),
            presence: PresenceConfig::default(),
            push: PushConfig::default(),
            directory: DirectoryConfig::default(),
            quotas: AccountQuotas::default(),
            limits: CallerLimits::default(),
            log: LogConfig::default(),
            traces: TraceConfig::default(),
            shutdown_grace: Duration::ZERO,
        }
    }

    /// Returns the resolved configuration as the content of a file that would yield the same configuration.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut root = Map::new();
        for key in KEYS {
            insert_path(&mut root, key.path, (key.show)(self));
        }
        root.into()
    }
}

fn insert_path(level: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((section, rest)) = path.split_once('.') else {
        level.insert(path.to_owned(), value);
        return;
    };
    if let Value::Object(inner) = level.entry(section).or_insert_with(|| Map::new().into()) {
        insert_path(inner, rest, value);
    }
}

/// Errors of loading and resolving the configuration. An error about a single value names its key and the place where
/// the value is written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    /// The file is not YAML.
    #[error("the configuration file {path} is not valid YAML: {source}")]
    Yaml {
        path: PathBuf,
        /// Cause, with its place in the file.
        source: serde_yaml_ng::Error,
    },
    /// The key does not exist.
    #[error("{from}: unknown key `{key}`{}; `chatd config --reference` lists all keys", did_you_mean(.nearest))]
    UnknownKey {
        /// Place where the key is written.
        from: String,
        /// Path of the key.
        key: String,
        /// Known key that looks most like it; `None` if there is none.
        nearest: Option<&'static str>,
    },
    /// A list or section stands where a value belongs, or a value where a section belongs.
    #[error("{from}: `{key}` must be {expected}")]
    Shape {
        /// Place where the key is written.
        from: String,
        /// Path of the key.
        key: String,
        /// Shape that the key requires.
        expected: &'static str,
    },
    /// The key does not accept the value.
    #[error("{from}: `{key}` cannot be \"{value}\": {reason}")]
    Value {
        /// Place where the value is written.
        from: String,
        /// Path of the key.
        key: &'static str,
        /// Text of the value as written.
        value: String,
        /// Description of the values that the key accepts.
        reason: String,
    },
    /// A key without a default is not set.
    #[error("`{key}` is not set: set it in the configuration file, in {env} or with {flag}")]
    Missing {
        /// Path of the key.
        key: &'static str,
        /// Name of the environment variable.
        env: String,
        /// Name of the flag, with leading dashes.
        flag: String,
    },
    /// Two values contradict each other.
    #[error("`{key}` conflicts with other values: {reason}")]
    Together {
        /// Path of the key to change.
        key: &'static str,
        /// Explanation of the conflict.
        reason: String,
    },
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map(|key| format!(" (did you mean `{key}`?)")).unwrap_or_default()
}
