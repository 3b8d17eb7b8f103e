//! Table of all configuration keys.

use super::values::{
    ELECTION_MAX, ELECTION_MIN, GRACE, HEARTBEAT, NOWHERE, PERIOD, localparts, receiver, server_name, session_lifetime,
    time,
};
use super::{ClientTlsFiles, Config, LogFormat, Ratio, Registration, TrustedProxies, duration};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::PathBuf};

/// Configuration key: its name, the values that it accepts and its field in [`Config`].
pub struct Key {
    /// Path in the file, with sections separated by dots.
    pub path: &'static str,
    /// Description of the accepted values, for the reference.
    pub kind: &'static str,
    /// Value if nothing sets the key.
    pub default: Default,
    /// Explanation for the reference: the effect of the key, and when to change it.
    pub meaning: &'static str,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
    pub(super) show: fn(&Config) -> Value,
}

/// Value of a key that nothing sets.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// The key has no default and must be set.
    Required,
    /// A fixed default value.
    Value(&'static str),
    /// The default is derived from other things, which this text describes.
    Computed(&'static str),
}

impl Key {
    /// Returns the name of the environment variable, such as `QUORATE_LISTEN_HTTP` for `listen.http`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("QUORATE_{}", self.words('_').to_ascii_uppercase())
    }

    /// Returns the name of the flag without leading dashes, such as `listen-http` for `listen.http`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.words('-').to_ascii_lowercase()
    }

    fn words(&self, between: char) -> String {
        let mut out = String::new();
        for c in self.path.chars() {
            match c {
                '.' => out.push(between),
                c if c.is_ascii_uppercase() => out.extend([between, c]),
                c => out.push(c),
            }
        }
        out
    }
}

/// All keys, in the order of the reference.
pub const KEYS: &[Key] = &[
    Key {
        path: "serverName",
        kind: "host name with an optional port, at most 200 bytes",
        default: Default::Required,
        meaning: "The Matrix server name: the part of user and room ids after the colon. It cannot change once the cluster is initialised.",
        set: |c, v| server_name(v).map(|v| c.server_name = v),
        show: |c| json!(c.server_name),
    },
    Key {
        path: "nodeName",
        kind: "name",
        default: Default::Computed("the host's name"),
        meaning: "The name of this pod or process, stable over restarts; people see it in status and lists of servers.",
        set: |c, v| filled(v).map(|v| c.node_name = v),
        show: |c| json!(c.node_name),
    },
    Key {
        path: "dataDir",
        kind: "path",
        default: Default::Value("/var/lib/quorate"),
        meaning: "Everything durable lies under it: `log`, `state`, `media`, `index`. One process at a time.",
        set: |c, v| filled(v).map(|v| c.data_dir = v.into()),
        show: |c| json!(c.data_dir),
    },
    Key {
        path: "listen.http",
        kind: "address:port",
        default: Default::Value("0.0.0.0:8008"),
        meaning: "Matrix Client-Server API.",
        set: |c, v| address(v).map(|v| c.listen.http = v),
        show: |c| json!(c.listen.http.to_string()),
    },
    Key {
        path: "listen.grpc",
        kind: "address:port",
        default: Default::Value("0.0.0.0:7400"),
        meaning: "Client gRPC (`quorate.chat.v1`, reflection, health).",
        set: |c, v| address(v).map(|v| c.listen.grpc = v),
        show: |c| json!(c.listen.grpc.to_string()),
    },
    Key {
        path: "listen.peer",
        kind: "address:port",
        default: Default::Value("0.0.0.0:7401"),
        meaning: "Peers and administration (`quorate.raft.v1`, `quorate.admin.v1`), mutual TLS only.",
        set: |c, v| address(v).map(|v| c.listen.peer = v),
        show: |c| json!(c.listen.peer.to_string()),
    },
    Key {
        path: "listen.metrics",
        kind: "address:port",
        default: Default::Value("0.0.0.0:9400"),
        meaning: "`/metrics`, `/healthz`, `/readyz`; open before the database is.",
        set: |c, v| address(v).map(|v| c.listen.metrics = v),
        show: |c| json!(c.listen.metrics.to_string()),
    },
    Key {
        path: "advertise.peer",
        kind: "host:port",
        default: Default::Computed("`QUORATE_POD_IP`, or else the host's name, with the port of `listen.peer`"),
        meaning: "Where the other pods reach this one's peer door.",
        set: |c, v| host_port(v).map(|v| c.advertise.peer = v),
        show: |c| json!(c.advertise.peer),
    },
    Key {
        path: "advertise.grpc",
        kind: "host:port",
        default: Default::Computed("`QUORATE_POD_IP`, or else the host's name, with the port of `listen.grpc`"),
        meaning: "Where clients reach this pod's gRPC door; told to clients that ask which servers there are.",
        set: |c, v| host_port(v).map(|v| c.advertise.grpc = v),
        show: |c| json!(c.advertise.grpc),
    },
    Key {
        path: "tls.caFile",
        kind: "path of a PEM file",
        default: Default::Value("/etc/quorate/tls/ca.crt"),
        meaning: "The authority that signed all peers' certificates. Read again when it changes, as are the other two.",
        set: |c, v| filled(v).map(|v| c.tls.ca_file = v.into()),
        show: |c| json!(c.tls.ca_file),
    },
    Key {
        path: "tls.certFile",
        kind: "path of a PEM file",
        default: Default::Value("/etc/quorate/tls/tls.crt"),
        meaning: "This pod's certificate for the peer door, as server and as client.",
        set: |c, v| filled(v).map(|v| c.tls.cert_file = v.into()),
        show: |c| json!(c.tls.cert_file),
    },
    Key {
        path: "tls.keyFile",
        kind: "path of a PEM file",
        default: Default::Value("/etc/quorate/tls/tls.key"),
        meaning: "The certificate's private key.",
        set: |c, v| filled(v).map(|v| c.tls.key_file = v.into()),
        show: |c| json!(c.tls.key_file),
    },
    Key {
        path: "tls.client.certFile",
        kind: "path of a PEM file",
        default: Default::Computed("none: the clients' doors speak without TLS"),
        meaning: "The certificate, with its intermediates, of the clients' doors (`listen.http`, `listen.grpc`), which then speak TLS 1.2 or newer and nothing else. Read again when it changes, as is its key.",
        set: |c, v| {
            client(c).cert = v.into();
            Ok(())
        },
        show: |c| json!(c.tls.client.as_ref().map(|files| &files.cert).unwrap_or(&PathBuf::new())),
    },
    Key {
        path: "tls.client.keyFile",
        kind: "path of a PEM file",
        default: Default::Computed("none"),
        meaning: "The private key of that certificate.",
        set: |c, v| {
            client(c).key = v.into();
            Ok(())
        },
        show: |c| json!(c.tls.client.as_ref().map(|files| &files.key).unwrap_or(&PathBuf::new())),
    },
    Key {
        path: "raft.heartbeatInterval",
        kind: "duration, 10ms to 10s",
        default: Default::Value("50ms"),
        meaning: "How often the leader lets its followers hear from it. At most a third of `raft.electionTimeoutMin`.",
        set: |c, v| time(&HEARTBEAT, v).map(|v| c.raft.heartbeat_interval = v),
        show: |c| json!(duration::show(c.raft.heartbeat_interval)),
    },
    Key {
        path: "raft.electionTimeoutMin",
        kind: "duration, at most 30s",
        default: Default::Value("150ms"),
        meaning: "Shortest wait for the leader before a follower stands for election. Longer for slower networks.",
        set: |c, v| time(&ELECTION_MIN, v).map(|v| c.raft.election_timeout_min = v),
        show: |c| json!(duration::show(c.raft.election_timeout_min)),
    },
    Key {
        path: "raft.electionTimeoutMax",
        kind: "duration, at most 1m",
        default: Default::Value("300ms"),
        meaning: "Longest such wait; each is drawn at random between the two, so that followers do not all stand at once.",
        set: |c, v| time(&ELECTION_MAX, v).map(|v| c.raft.election_timeout_max = v),
        show: |c| json!(duration::show(c.raft.election_timeout_max)),
    },
    Key {
        path: "raft.snapshotEntries",
        kind: "number, at least 100",
        default: Default::Value("100000"),
        meaning: "Log entries after which the next checkpoint of the state is written.",
        set: |c, v| at_least(100, v).map(|v| c.raft.snapshot_entries = v),
        show: |c| json!(c.raft.snapshot_entries),
    },
    Key {
        path: "raft.keepLogEntries",
        kind: "number",
        default: Default::Value("50000"),
        meaning: "Log entries kept behind a checkpoint, so that a restarted pod catches up without a whole snapshot.",
        set: |c, v| at_least(0, v).map(|v| c.raft.keep_log_entries = v),
        show: |c| json!(c.raft.keep_log_entries),
    },
    Key {
        path: "state.cacheMebibytes",
        kind: "number, at least 16",
        default: Default::Value("256"),
        meaning: "Memory of the state's database, in MiB: blocks that were read, indexes, filters, and a quarter for what is not flushed yet.",
        set: |c, v| at_least(16, v).map(|v| c.state_cache_mebibytes = v),
        show: |c| json!(c.state_cache_mebibytes),
    },
    Key {
        path: "storage.reserveMebibytes",
        kind: "number, `0` for none, or `auto`",
        default: Default::Value(AUTOMATIC),
        meaning: "What stays free of the volume of `dataDir`, in MiB: with less on any voter's volume, people's writes are refused, while reading, deleting and administration go on. They are taken again with a quarter more. `auto`: a tenth of the volume, at least 64 MiB (of a volume below 256 MiB a quarter), at most 2 GiB.",
        set: |c, v| reserve(v).map(|v| c.storage_reserve_mebibytes = v),
        show: |c| c.storage_reserve_mebibytes.map_or_else(|| json!(AUTOMATIC), |mebibytes| json!(mebibytes)),
    },
    Key {
        path: "sessions.lifetime",
        kind: "duration, 1s to 3650d, or 0 for ever",
        default: Default::Value("30d"),
        meaning: "A login ends when it was not used for this long.",
        set: |c, v| session_lifetime(v).map(|v| c.session_lifetime = v),
        show: |c| json!(duration::show(c.session_lifetime)),
    },
    Key {
        path: "registration",
        kind: "`open` or `closed`",
        default: Default::Value("open"),
        meaning: "Whether anyone who reaches a door may make an account.",
        set: |c, v| {
            one_of(v, &[("open", Registration::Open), ("closed", Registration::Closed)]).map(|v| c.registration = v)
        },
        show: |c| {
            json!(match c.registration {
                Registration::Open => "open",
                Registration::Closed => "closed",
            })
        },
    },
    Key {
        path: "administrators",
        kind: "localparts, separated by commas",
        default: Default::Computed("nobody"),
        meaning: "Users of this server who may read `/_quorate/status` on the Matrix door. Each account is made first and then named here: a name that stands here cannot be registered any more.",
        set: |c, v| localparts(v).map(|v| c.administrators = v),
        show: |c| json!(c.administrators.join(",")),
    },
    Key {
        path: "rateLimit.enabled",
        kind: "`true` or `false`",
        default: Default::Value("true"),
        meaning: "Whether the leader bounds how often one user may write, and each pod how many accounts one address may make and how much it may read without a session. Wrong passwords are bounded always.",
        set: |c, v| one_of(v, &[("true", true), ("false", false)]).map(|v| c.rate_limit.enabled = v),
        show: |c| json!(c.rate_limit.enabled),
    },
    Key {
        path: "rateLimit.messages",
        kind: "number, 1 to 1000000",
        default: Default::Value("10"),
        meaning: "Messages that one user may send in each period.",
        set: |c, v| messages(v).map(|v| c.rate_limit.messages = v),
        show: |c| json!(c.rate_limit.messages),
    },
    Key {
        path: "rateLimit.per",
        kind: "duration, 10ms to 1d",
        default: Default::Value("10s"),
        meaning: "The period.",
        set: |c, v| time(&PERIOD, v).map(|v| c.rate_limit.per = v),
        show: |c| json!(duration::show(c.rate_limit.per)),
    },
    Key {
        path: "quotas.devices",
        kind: "number, 1 to 1000000",
        default: Default::Value("100"),
        meaning: "Devices of one account. For one more, those that were not used for longest are logged out.",
        set: |c, v| messages(v).map(|v| c.quotas.devices = v),
        show: |c| json!(c.quotas.devices),
    },
    Key {
        path: "quotas.filters",
        kind: "number, 1 to 1000000",
        default: Default::Value("200"),
        meaning: "Different `/sync` filters of one account. For one more, the oldest goes.",
        set: |c, v| messages(v).map(|v| c.quotas.filters = v),
        show: |c| json!(c.quotas.filters),
    },
    Key {
        path: "quotas.accountDataEntries",
        kind: "number, 1 to 1000000",
        default: Default::Value("4096"),
        meaning: "Pieces of account data of one account, those of its rooms included. More are refused.",
        set: |c, v| messages(v).map(|v| c.quotas.account_data_entries = v),
        show: |c| json!(c.quotas.account_data_entries),
    },
    Key {
        path: "quotas.accountDataMebibytes",
        kind: "number, 1 to 1000000",
        default: Default::Value("4"),
        meaning: "MiB of one account's account data. What would be more is refused.",
        set: |c, v| messages(v).map(|v| c.quotas.account_data_mebibytes = v),
        show: |c| json!(c.quotas.account_data_mebibytes),
    },
    Key {
        path: "quotas.joinedRooms",
        kind: "number, 1 to 1000000",
        default: Default::Value("5000"),
        meaning: "Rooms that one account may be in. Who is in as many leaves one before joining or making another.",
        set: |c, v| messages(v).map(|v| c.quotas.joined_rooms = v),
        show: |c| json!(c.quotas.joined_rooms),
    },
    Key {
        path: "quotas.pendingInvites",
        kind: "number, 1 to 1000000",
        default: Default::Value("500"),
        meaning: "Invitations of one account that wait for an answer. More are refused to those who invite.",
        set: |c, v| messages(v).map(|v| c.quotas.pending_invites = v),
        show: |c| json!(c.quotas.pending_invites),
    },
    Key {
        path: "limits.connections",
        kind: "number, 16 to 1000000",
        default: Default::Value("16384"),
        meaning: "Connections that each of the clients' doors holds at one time; a quarter of them only for clients with a session. Where the process may open too few files (`ulimit -n`), it is fewer.",
        set: |c, v| between(16, 1_000_000, v).map(|v| c.limits.connections = v),
        show: |c| json!(c.limits.connections),
    },
    Key {
        path: "limits.connectionsPerAddress",
        kind: "number, 1 to 1000000",
        default: Default::Value("8192"),
        meaning: "Of these, connections of one address (IPv6: of one /64), over both doors. A load balancer that hides the addresses of its clients counts as one address; see `limits.trustedProxies`.",
        set: |c, v| between(1, 1_000_000, v).map(|v| c.limits.connections_per_address = v),
        show: |c| json!(c.limits.connections_per_address),
    },
    Key {
        path: "limits.strangersPerAddress",
        kind: "number, 1 to 1000000",
        default: Default::Value("1024"),
        meaning: "Of these, connections that have not shown a session yet. The next one ends the oldest of them.",
        set: |c, v| between(1, 1_000_000, v).map(|v| c.limits.strangers_per_address = v),
        show: |c| json!(c.limits.strangers_per_address),
    },
    Key {
        path: "limits.requestMebibytes",
        kind: "number, 16 to 65536",
        default: Default::Value("64"),
        meaning: "Memory for the bodies of requests that are being read or served, in MiB: a quarter of it for callers without a session, a quarter for each address. Beyond it requests are refused for a moment.",
        set: |c, v| mebibytes(v).map(|v| c.limits.request_bytes = v),
        show: |c| json!(c.limits.request_bytes >> 20),
    },
    Key {
        path: "limits.answerMebibytes",
        kind: "number, 16 to 65536",
        default: Default::Value("64"),
        meaning: "Memory for answers that clients have not taken yet, in MiB: half of it for each address. Beyond it requests are refused for a moment, and clients that take nothing are given up sooner.",
        set: |c, v| mebibytes(v).map(|v| c.limits.answer_bytes = v),
        show: |c| json!(c.limits.answer_bytes >> 20),
    },
    Key {
        path: "limits.trustedProxies",
        kind: "addresses and networks, separated by commas",
        default: Default::Computed("nobody"),
        meaning: "Proxies whose `X-Forwarded-For` is believed, such as `10.0.0.0/8`: their requests count for the right-most address in it that is not one of them. Name only proxies that write that header themselves: whoever is named here can claim any address.",
        set: |c, v| TrustedProxies::parse(v).map(|v| c.limits.trusted_proxies = v),
        show: |c| json!(c.limits.trusted_proxies.show()),
    },
    Key {
        path: "log.format",
        kind: "`json` or `text`",
        default: Default::Value("json"),
        meaning: "How log lines look; they go to standard error.",
        set: |c, v| one_of(v, &[("json", LogFormat::Json), ("text", LogFormat::Text)]).map(|v| c.log.format = v),
        show: |c| {
            json!(match c.log.format {
                LogFormat::Json => "json",
                LogFormat::Text => "text",
            })
        },
    },
    Key {
        path: "log.level",
        kind: "`error`, `warn`, `info`, `debug`, `trace`, or directives",
        default: Default::Value("info"),
        meaning: "From which weight on lines are written; by module as in `info,quorate_chatd::raft=debug`.",
        set: |c, v| level(v).map(|v| c.log.level = v),
        show: |c| json!(c.log.level),
    },
    Key {
        path: "traces.endpoint",
        kind: "`none`, or a URL such as `http://collector:4317`",
        default: Default::Value("none"),
        meaning: "Where an OpenTelemetry receiver takes traces (OTLP over gRPC); see [Traces](traces.md).",
        set: |c, v| receiver(v).map(|v| c.traces.endpoint = v),
        show: |c| json!(c.traces.endpoint.as_deref().unwrap_or(NOWHERE)),
    },
    Key {
        path: "traces.sampleRatio",
        kind: "number, 0 to 1",
        default: Default::Value("0.01"),
        meaning: "Which part of the calls is traced, of those whose callers do not say by a `traceparent` whether they want it.",
        set: |c, v| Ratio::parse(v).map(|v| c.traces.sample_ratio = v),
        show: |c| c.traces.sample_ratio.show(),
    },
    Key {
        path: "shutdownGrace",
        kind: "duration, 10ms to 1h",
        default: Default::Value("30s"),
        meaning: "Longest time from SIGTERM to the end of the process. Shorter than the pod's `terminationGracePeriodSeconds`.",
        set: |c, v| time(&GRACE, v).map(|v| c.shutdown_grace = v),
        show: |c| json!(duration::show(c.shutdown_grace)),
    },
];

fn client(config: &mut Config) -> &mut ClientTlsFiles {
    config.tls.client.get_or_insert_default()
}

fn filled(value: &str) -> Result<String, String> {
    if value.trim().is_empty() { Err("it is empty".into()) } else { Ok(value.to_owned()) }
}

fn address(value: &str) -> Result<SocketAddr, String> {
    value.parse().map_err(|_| "write an IP address and a port, such as 0.0.0.0:7400 or [::]:7400".to_owned())
}

fn host_port(value: &str) -> Result<String, String> {
    let port =
        value.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(port) if port > 0 && !value.contains('/') => Ok(value.to_owned()),
        _ => Err("write host:port, such as team-0.team-peers:7401".into()),
    }
}

fn at_least(least: u64, value: &str) -> Result<u64, String> {
    value.parse().ok().filter(|n| *n >= least).ok_or_else(|| format!("write a number from {least} on"))
}

/// Value that reserves a share of the volume.
const AUTOMATIC: &str = "auto";

fn reserve(value: &str) -> Result<Option<u64>, String> {
    match value.parse() {
        _ if value == AUTOMATIC => Ok(None),
        Ok(mebibytes) => Ok(Some(mebibytes)),
        Err(_) => Err(format!("write a number of MiB, 0 for none, or {AUTOMATIC}")),
    }
}

fn messages(value: &str) -> Result<u32, String> {
    value.parse().ok().filter(|n| (1..=1_000_000).contains(n)).ok_or_else(|| "write a number from 1 to 1000000".into())
}

fn between(least: usize, most: usize, value: &str) -> Result<usize, String> {
    let range = || format!("write a number from {least} to {most}");
    value.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(range)
}

/// Parses a size in MiB into bytes. The largest request (2 MiB) must fit into the smallest part of the budget, an
/// eighth; hence the lower bound of 16.
fn mebibytes(value: &str) -> Result<usize, String> {
    between(16, 65_536, value).map(|mebibytes| mebibytes << 20)
}

fn one_of<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)).map(|(_, choice)| *choice);
    found.ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("write {}", names.join(" or "))
    })
}

fn level(value: &str) -> Result<String, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("write error, warn, info, debug, trace or directives ({e})");
    if value.trim().is_empty() {
        return Err("it is empty".into());
    }
    tracing_subscriber::EnvFilter::try_new(value).map(|_| value.to_owned()).map_err(|e| wrong(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_and_flags_follow_from_the_path() {
        let key = |path| KEYS.iter().find(|key| key.path == path).unwrap();
        assert_eq!(key("raft.heartbeatInterval").env(), "QUORATE_RAFT_HEARTBEAT_INTERVAL");
        assert_eq!(key("tls.caFile").flag(), "tls-ca-file");
        assert_eq!(key("serverName").env(), "QUORATE_SERVER_NAME");
    }

    #[test]
    fn each_key_stands_once() {
        let mut paths: Vec<_> = KEYS.iter().map(|key| key.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), KEYS.len());
    }

    #[test]
    fn each_default_is_a_value_that_its_key_takes_and_shows() {
        for key in KEYS {
            if let Default::Value(default) = key.default {
                let mut config = Config::unset();
                (key.set)(&mut config, default).unwrap_or_else(|e| panic!("{}: {e}", key.path));
                let shown = match (key.show)(&config) {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                assert_eq!(shown, default, "{}", key.path);
            }
        }
    }
}
