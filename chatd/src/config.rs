//! The configuration: as written (file, environment, flags: [`written`]) → resolved ([`Config`]), once, at the start.
//!
//! [`keys`] is the one table of keys; the file's grammar, the environment's and the flags' names, the defaults and
//! `docs/configuration.md` ([`reference`]) all come from it.

pub mod duration;
mod keys;
mod ratio;
pub mod reference;
mod resolve;
mod values;
pub mod written;

pub use crate::api::caller::TrustedProxies;
pub use crate::tls::ClientTlsFiles;
pub use keys::{KEYS, Key};
pub use ratio::Ratio;
pub use resolve::{Surroundings, resolve};

use serde_json::{Map, Value};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything a pod is told, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The Matrix server name.
    pub server_name: String,
    /// The pod's (or process's) name, stable over restarts.
    pub node_name: String,
    /// Everything durable lies under it.
    pub data_dir: PathBuf,
    /// Where the doors listen.
    pub listen: Listen,
    /// How others reach this pod.
    pub advertise: Advertise,
    /// Certificates.
    pub tls: Tls,
    /// Replication.
    pub raft: Raft,
    /// Memory for the state's database.
    pub state_cache_mebibytes: u64,
    /// Of the volume, left free by people's writes; `None` for a share of it.
    pub storage_reserve_mebibytes: Option<u64>,
    /// Disuse after which a session ends; zero: never.
    pub session_lifetime: Duration,
    /// Whether anyone may make an account.
    pub registration: Registration,
    /// Localparts of the users who may see how the cluster does.
    pub administrators: Vec<String>,
    /// Messages allowed to each user.
    pub rate_limit: RateLimit,
    /// What one account may have.
    pub quotas: Quotas,
    /// What callers may hold of the pod.
    pub limits: Limits,
    /// Log lines.
    pub log: Log,
    /// Traces.
    pub traces: Traces,
    /// Longest time from SIGTERM to the end of the process.
    pub shutdown_grace: Duration,
}

/// Where the doors listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Matrix API and web client.
    pub http: SocketAddr,
    /// Client gRPC.
    pub grpc: SocketAddr,
    /// Peers and administration, mutual TLS.
    pub peer: SocketAddr,
    /// `/metrics`, `/healthz`, `/readyz`.
    pub metrics: SocketAddr,
}

/// How others reach this pod: `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertise {
    /// For the other pods.
    pub peer: String,
    /// For clients that ask which servers there are.
    pub grpc: String,
}

/// Certificates as PEM files; they are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authority that signed all peers' certificates.
    pub ca_file: PathBuf,
    /// This pod's certificate.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// The certificate of the clients' doors, with intermediates; `None`: they speak without TLS.
    pub client: Option<ClientTlsFiles>,
}

/// Replication (Raft paper §5.2 for the times).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raft {
    /// How often the leader lets its followers hear from it.
    pub heartbeat_interval: Duration,
    /// Shortest wait for the leader before an election.
    pub election_timeout_min: Duration,
    /// Longest such wait.
    pub election_timeout_max: Duration,
    /// Entries since the last checkpoint after which the next is written.
    pub snapshot_entries: u64,
    /// Entries kept in the log behind a checkpoint, so that a restarted pod needs no snapshot.
    pub keep_log_entries: u64,
}

/// Whether anyone may make an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Anyone who reaches a door.
    #[default]
    Open,
    /// Nobody.
    Closed,
}

/// Messages allowed to each user, counted by the leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Whether there is a limit.
    pub enabled: bool,
    /// Messages in each period.
    pub messages: u32,
    /// The period.
    pub per: Duration,
}

/// What one account may have; a door writes these into its commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Devices, each with its session.
    pub devices: u32,
    /// Filters for `/sync`.
    pub filters: u32,
    /// Pieces of account data.
    pub account_data_entries: u32,
    /// Their types and contents together.
    pub account_data_mebibytes: u32,
    /// Rooms that it is in.
    pub joined_rooms: u32,
    /// Invitations that it has not answered.
    pub pending_invites: u32,
}

/// What callers at the clients' doors may hold of the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections of each door.
    pub connections: usize,
    /// Connections of one address, over both doors.
    pub connections_per_address: usize,
    /// Those of them that have shown no session.
    pub strangers_per_address: usize,
    /// Bytes of request bodies in flight.
    pub request_bytes: usize,
    /// Bytes of answers that were not taken yet.
    pub answer_bytes: usize,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
}

/// Log lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// How they look.
    pub format: LogFormat,
    /// From which weight on: a level, or directives as in `info,quorate_chatd::raft=debug`.
    pub level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Traces of sampled calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Where an OTLP receiver takes them over gRPC; `None`: there are none.
    pub endpoint: Option<String>,
    /// Of the calls whose callers say nothing about it.
    pub sample_ratio: Ratio,
}

impl Config {
    /// Nothing set yet: [`resolve`] fills in every key.
    fn unset() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Self {
            server_name: String::new(),
            node_name: String::new(),
            data_dir: PathBuf::new(),
            listen: Listen { http: nowhere, grpc: nowhere, peer: nowhere, metrics: nowhere },
            advertise: Advertise::default(),
            tls: Tls::default(),
            raft: Raft::default(),
            state_cache_mebibytes: 0,
            storage_reserve_mebibytes: None,
            session_lifetime: Duration::ZERO,
            registration: Registration::default(),
            administrators: Vec::new(),
            rate_limit: RateLimit::default(),
            quotas: Quotas::default(),
            limits: Limits::default(),
            log: Log::default(),
            traces: Traces::default(),
            shutdown_grace: Duration::ZERO,
        }
    }

    /// The resolved configuration, as the file that would say the same.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut root = Map::new();
        for key in KEYS {
            insert(&mut root, key.path, (key.show)(self));
        }
        root.into()
    }
}

fn insert(level: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((section, rest)) = path.split_once('.') else {
        level.insert(path.to_owned(), value);
        return;
    };
    if let Value::Object(inner) = level.entry(section).or_insert_with(|| Map::new().into()) {
        insert(inner, rest, value);
    }
}

/// Why there is no configuration. Each names its key, and where the value stood.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("the configuration file {path} is not valid YAML: {source}")]
    Yaml {
        /// Which.
        path: PathBuf,
        /// Why, and where.
        source: serde_yaml_ng::Error,
    },
    /// A key that there is not.
    #[error("{from}: there is no key `{key}`{}; `chatd config --reference` lists all", did_you_mean(.nearest))]
    UnknownKey {
        /// Where it stood.
        from: String,
        /// Its path.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A list or a section where a value belongs, or a value where a section belongs.
    #[error("{from}: `{key}` must be {expected}")]
    Shape {
        /// Where it stood.
        from: String,
        /// Its path.
        key: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A value that its key does not take.
    #[error("{from}: `{key}` cannot be \"{value}\": {reason}")]
    Value {
        /// Where it stood.
        from: String,
        /// Its path.
        key: &'static str,
        /// As written.
        value: String,
        /// What it takes.
        reason: String,
    },
    /// A key without a default that nobody set.
    #[error("`{key}` is not set: write it into the file, or set {env}, or give {flag}")]
    Missing {
        /// Its path.
        key: &'static str,
        /// Its environment variable.
        env: String,
        /// Its flag.
        flag: String,
    },
    /// Values that do not go together.
    #[error("`{key}` does not go with the other values: {reason}")]
    Together {
        /// The key to change.
        key: &'static str,
        /// Why.
        reason: String,
    },
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map(|key| format!(" (did you mean `{key}`?)")).unwrap_or_default()
}
