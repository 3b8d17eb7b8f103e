//! Table of all configuration keys.

mod config_key;

pub use config_key::ConfigKey;
pub(super) use config_key::KeyDefault;
mod rate_limit;

use super::parsers::{
    AUTOMATIC, at_least, host_port, log_level, non_empty, number_between, one_of, optional_path, parse_mebibytes,
    positive_count, socket_address, storage_reserve,
};
use super::values::{
    ELECTION_MAX, ELECTION_MIN, GRACE, HEARTBEAT, LEEWAY, NOWHERE, POD_TIMEOUT, SESSION, bounded_duration,
    localpart_list, receiver_url, server_name, session_lifetime, web_url,
};
use super::{ClientTlsFiles, Config, JwtAlgorithm, LogFormat, Ratio, RegistrationMode, TrustedProxies};
use quorate_duration::format_duration;
use rate_limit::ConfigurableClass;
use serde_json::json;
use std::path::PathBuf;

/// All keys, in the order of the reference.
pub const KEYS: &[ConfigKey] = &[
    ConfigKey {
        path: "serverName",
        kind: "host name with an optional port, at most 200 bytes",
        default: KeyDefault::Required,
        meaning: "Matrix server name: the part of user and room ids after the colon. It cannot change once the cluster is initialised.",
        set: |c, v| server_name(v).map(|v| c.server_name = v),
        show: |c| json!(c.server_name),
    },
    ConfigKey {
        path: "nodeName",
        kind: "name",
        default: KeyDefault::Computed("host name"),
        meaning: "Name of this pod or process, stable across restarts; shown in status output and lists of servers.",
        set: |c, v| non_empty(v).map(|v| c.node_name = v),
        show: |c| json!(c.node_name),
    },
    ConfigKey {
        path: "dataDir",
        kind: "path",
        default: KeyDefault::Value("/var/lib/quorate"),
        meaning: "Directory of all durable data: `log`, `state`, `media`, `index`. Only one process at a time can use it.",
        set: |c, v| non_empty(v).map(|v| c.data_dir = v.into()),
        show: |c| json!(c.data_dir),
    },
    ConfigKey {
        path: "listen.http",
        kind: "address:port",
        default: KeyDefault::Value("0.0.0.0:8008"),
        meaning: "Listen address of the Matrix Client-Server API.",
        set: |c, v| socket_address(v).map(|v| c.listen.http = v),
        show: |c| json!(c.listen.http.to_string()),
    },
    ConfigKey {
        path: "listen.grpc",
        kind: "address:port",
        default: KeyDefault::Value("0.0.0.0:7400"),
        meaning: "Listen address of the gRPC API for clients (`quorate.chat.v1`, reflection, health).",
        set: |c, v| socket_address(v).map(|v| c.listen.grpc = v),
        show: |c| json!(c.listen.grpc.to_string()),
    },
    ConfigKey {
        path: "listen.peer",
        kind: "address:port",
        default: KeyDefault::Value("0.0.0.0:7401"),
        meaning: "Listen address for peers and administration (`quorate.raft.v1`, `quorate.admin.v1`), mutual TLS only.",
        set: |c, v| socket_address(v).map(|v| c.listen.peer = v),
        show: |c| json!(c.listen.peer.to_string()),
    },
    ConfigKey {
        path: "listen.metrics",
        kind: "address:port",
        default: KeyDefault::Value("0.0.0.0:9400"),
        meaning: "Listen address of `/metrics`, `/healthz` and `/readyz`; open before the database is.",
        set: |c, v| socket_address(v).map(|v| c.listen.metrics = v),
        show: |c| json!(c.listen.metrics.to_string()),
    },
    ConfigKey {
        path: "advertise.peer",
        kind: "host:port",
        default: KeyDefault::Computed("`QUORATE_POD_IP`, otherwise the host name, with the port of `listen.peer`"),
        meaning: "Address at which the other pods reach the peer listener of this one.",
        set: |c, v| host_port(v).map(|v| c.advertise.peer = v),
        show: |c| json!(c.advertise.peer),
    },
    ConfigKey {
        path: "advertise.grpc",
        kind: "host:port",
        default: KeyDefault::Computed("`QUORATE_POD_IP`, otherwise the host name, with the port of `listen.grpc`"),
        meaning: "Address at which clients reach the gRPC API of this pod; returned to clients that ask for the list of servers.",
        set: |c, v| host_port(v).map(|v| c.advertise.grpc = v),
        show: |c| json!(c.advertise.grpc),
    },
    ConfigKey {
        path: "tls.caFile",
        kind: "path of a PEM file",
        default: KeyDefault::Value("/etc/quorate/tls/ca.crt"),
        meaning: "Certificate authority that signed the certificates of all peers. Reloaded when it changes, as are the other two files.",
        set: |c, v| non_empty(v).map(|v| c.tls.ca_file = v.into()),
        show: |c| json!(c.tls.ca_file),
    },
    ConfigKey {
        path: "tls.certFile",
        kind: "path of a PEM file",
        default: KeyDefault::Value("/etc/quorate/tls/tls.crt"),
        meaning: "Certificate of this pod for the peer listener, as server and as client.",
        set: |c, v| non_empty(v).map(|v| c.tls.cert_file = v.into()),
        show: |c| json!(c.tls.cert_file),
    },
    ConfigKey {
        path: "tls.keyFile",
        kind: "path of a PEM file",
        default: KeyDefault::Value("/etc/quorate/tls/tls.key"),
        meaning: "Private key of that certificate.",
        set: |c, v| non_empty(v).map(|v| c.tls.key_file = v.into()),
        show: |c| json!(c.tls.key_file),
    },
    ConfigKey {
        path: "tls.client.certFile",
        kind: "path of a PEM file",
        default: KeyDefault::Computed("none: the client listeners use no TLS"),
        meaning: "Certificate, with its intermediates, of the client listeners (`listen.http`, `listen.grpc`), which then accept only TLS 1.2 or newer. Reloaded when it changes, as is its key.",
        set: |c, v| {
            client_tls_files(c).cert = v.into();
            Ok(())
        },
        show: |c| json!(c.tls.client.as_ref().map(|files| &files.cert).unwrap_or(&PathBuf::new())),
    },
    ConfigKey {
        path: "tls.client.keyFile",
        kind: "path of a PEM file",
        default: KeyDefault::Computed("none"),
        meaning: "Private key of that certificate.",
        set: |c, v| {
            client_tls_files(c).key = v.into();
            Ok(())
        },
        show: |c| json!(c.tls.client.as_ref().map(|files| &files.key).unwrap_or(&PathBuf::new())),
    },
    ConfigKey {
        path: "raft.heartbeatInterval",
        kind: "duration, 10ms to 10s",
        default: KeyDefault::Value("50ms"),
        meaning: "Interval at which the leader sends heartbeats to its followers. At most a third of `raft.electionTimeoutMin`.",
        set: |c, v| bounded_duration(&HEARTBEAT, v).map(|v| c.raft.heartbeat_interval = v),
        show: |c| json!(format_duration(c.raft.heartbeat_interval)),
    },
    ConfigKey {
        path: "raft.electionTimeoutMin",
        kind: "duration, at most 30s",
        default: KeyDefault::Value("150ms"),
        meaning: "Shortest time without contact with the leader after which a follower starts an election. Increase it for slow networks.",
        set: |c, v| bounded_duration(&ELECTION_MIN, v).map(|v| c.raft.election_timeout_min = v),
        show: |c| json!(format_duration(c.raft.election_timeout_min)),
    },
    ConfigKey {
        path: "raft.electionTimeoutMax",
        kind: "duration, at most 1m",
        default: KeyDefault::Value("300ms"),
        meaning: "Longest such time; each timeout is drawn at random between the two, so that followers do not all start elections at once.",
        set: |c, v| bounded_duration(&ELECTION_MAX, v).map(|v| c.raft.election_timeout_max = v),
        show: |c| json!(format_duration(c.raft.election_timeout_max)),
    },
    ConfigKey {
        path: "raft.snapshotEntries",
        kind: "number, at least 100",
        default: KeyDefault::Value("100000"),
        meaning: "Number of log entries after which the next snapshot (a checkpoint of the state) is taken.",
        set: |c, v| at_least(100, v).map(|v| c.raft.snapshot_entries = v),
        show: |c| json!(c.raft.snapshot_entries),
    },
    ConfigKey {
        path: "raft.keepLogEntries",
        kind: "number",
        default: KeyDefault::Value("50000"),
        meaning: "Number of log entries kept behind a snapshot, so that a restarted pod catches up without a full snapshot.",
        set: |c, v| at_least(0, v).map(|v| c.raft.keep_log_entries = v),
        show: |c| json!(c.raft.keep_log_entries),
    },
    ConfigKey {
        path: "state.cacheMebibytes",
        kind: "number, at least 16",
        default: KeyDefault::Value("256"),
        meaning: "Memory of the state database, in MiB: cached blocks, indexes, filters, and a quarter for data that is not flushed yet.",
        set: |c, v| at_least(16, v).map(|v| c.state_cache_mebibytes = v),
        show: |c| json!(c.state_cache_mebibytes),
    },
    ConfigKey {
        path: "storage.reserveMebibytes",
        kind: "number, `0` for none, or `auto`",
        default: KeyDefault::Value(AUTOMATIC),
        meaning: "Space to keep free on the volume of `dataDir`, in MiB: with less on any voter's volume, user writes are refused, while reading, deleting and administration continue. Writes are accepted again when a quarter more is free. `auto`: a tenth of the volume, at least 64 MiB (a quarter of a volume smaller than 256 MiB), at most 2 GiB.",
        set: |c, v| storage_reserve(v).map(|v| c.storage_reserve_mebibytes = v),
        show: |c| c.storage_reserve_mebibytes.map_or_else(|| json!(AUTOMATIC), |mebibytes| json!(mebibytes)),
    },
    ConfigKey {
        path: "sessions.lifetime",
        kind: "duration, 1s to 3650d, or 0 for no limit",
        default: KeyDefault::Value("30d"),
        meaning: "Time without use after which a session expires.",
        set: |c, v| session_lifetime(v).map(|v| c.session_lifetime = v),
        show: |c| json!(format_duration(c.session_lifetime)),
    },
    ConfigKey {
        path: "registration",
        kind: "`open`, `token` or `closed`",
        default: KeyDefault::Value("open"),
        meaning: "Who may create an account: anyone who can reach a client listener, whoever knows a token (with Matrix clients only): that in `accounts.registrationTokenFile`, or one that `chatctl admin tokens` created; or nobody.",
        set: |c, v| {
            let modes = [
                ("open", RegistrationMode::Open),
                ("token", RegistrationMode::Token),
                ("closed", RegistrationMode::Closed),
            ];
            one_of(v, &modes).map(|v| c.registration = v)
        },
        show: |c| {
            json!(match c.registration {
                RegistrationMode::Open => "open",
                RegistrationMode::Token => "token",
                RegistrationMode::Closed => "closed",
            })
        },
    },
    ConfigKey {
        path: "accounts.registrationTokenFile",
        kind: "path of a file",
        default: KeyDefault::Computed("none"),
        meaning: "File with a token that lets people register if `registration` is `token`, beside those that `chatctl admin tokens` creates. Read at startup; give all pods the same.",
        set: |c, v| {
            c.accounts.registration_token_file = optional_path(v);
            Ok(())
        },
        show: |c| json!(c.accounts.registration_token_file.clone().unwrap_or_default()),
    },
    ConfigKey {
        path: "accounts.sharedSecretFile",
        kind: "path of a file",
        default: KeyDefault::Computed("none: nobody can register accounts that way"),
        meaning: "File with the secret with which administrators register accounts at `/_synapse/admin/v1/register`, whatever `registration` says. Read at startup; give all pods the same.",
        set: |c, v| {
            c.accounts.shared_secret_file = optional_path(v);
            Ok(())
        },
        show: |c| json!(c.accounts.shared_secret_file.clone().unwrap_or_default()),
    },
    ConfigKey {
        path: "accounts.noticesUser",
        kind: "user name",
        default: KeyDefault::Value("notices"),
        meaning: "Account that sends the notices of `chatctl admin notices`. It is created with the first notice; nobody can register this name or log in to it. Give all pods the same.",
        set: |c, v| {
            let mut names = localpart_list(v)?;
            match (names.pop(), names.is_empty()) {
                (Some(name), true) => {
                    c.accounts.notices_user = name;
                    Ok(())
                }
                _ => Err("write one user name without @ and server, such as notices".to_owned()),
            }
        },
        show: |c| json!(c.accounts.notices_user),
    },
    ConfigKey {
        path: "accounts.termsUrl",
        kind: "`none`, or a URL",
        default: KeyDefault::Value(NOWHERE),
        meaning: "Terms of service that people must accept to register, with Matrix clients only.",
        set: |c, v| web_url(v).map(|v| c.accounts.terms_url = v),
        show: |c| json!(c.accounts.terms_url.as_deref().unwrap_or(NOWHERE)),
    },
    ConfigKey {
        path: "accounts.termsVersion",
        kind: "text",
        default: KeyDefault::Value("1.0"),
        meaning: "Version of these terms.",
        set: |c, v| non_empty(v).map(|v| c.accounts.terms_version = v),
        show: |c| json!(c.accounts.terms_version),
    },
    ConfigKey {
        path: "accounts.accessTokenLifetime",
        kind: "duration, 1s to 3650d",
        default: KeyDefault::Value("5m"),
        meaning: "Lifetime of the access tokens of clients that use refresh tokens. `sessions.lifetime` is then the time without a refresh after which the session expires.",
        set: |c, v| bounded_duration(&SESSION, v).map(|v| c.accounts.access_token_lifetime = v),
        show: |c| json!(format_duration(c.accounts.access_token_lifetime)),
    },
    ConfigKey {
        path: "accounts.jwt.algorithm",
        kind: "`none`, `HS256`, `RS256`, `ES256` or `EdDSA`",
        default: KeyDefault::Value(NOWHERE),
        meaning: "Signature of the JSON Web Tokens with which people log in (`org.matrix.login.jwt`): the claim `sub` names the account, which the first login registers.",
        set: |c, v| {
            let known = [JwtAlgorithm::Hs256, JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::EdDsa];
            let mut choices = vec![(NOWHERE, None)];
            choices.extend(known.map(|algorithm| (algorithm.name(), Some(algorithm))));
            one_of(v, &choices).map(|v| c.accounts.jwt.algorithm = v)
        },
        show: |c| json!(c.accounts.jwt.algorithm.map_or(NOWHERE, JwtAlgorithm::name)),
    },
    ConfigKey {
        path: "accounts.jwt.keyFile",
        kind: "path of a file",
        default: KeyDefault::Computed("none"),
        meaning: "File with the public key that verifies these tokens (PEM, `BEGIN PUBLIC KEY`), or with the secret for `HS256`. Read at startup; give all pods the same.",
        set: |c, v| {
            c.accounts.jwt.key_file = optional_path(v);
            Ok(())
        },
        show: |c| json!(c.accounts.jwt.key_file.clone().unwrap_or_default()),
    },
    ConfigKey {
        path: "accounts.jwt.issuer",
        kind: "text",
        default: KeyDefault::Computed("none: any issuer"),
        meaning: "Issuer (`iss`) that these tokens must name.",
        set: |c, v| {
            c.accounts.jwt.issuer = Some(v.to_owned()).filter(|issuer| !issuer.is_empty());
            Ok(())
        },
        show: |c| json!(c.accounts.jwt.issuer.clone().unwrap_or_default()),
    },
    ConfigKey {
        path: "accounts.jwt.audiences",
        kind: "texts, separated by commas",
        default: KeyDefault::Computed("none: any audience"),
        meaning: "Audiences (`aud`) of which these tokens must name one.",
        set: |c, v| {
            let named = v.split(',').map(str::trim).filter(|audience| !audience.is_empty());
            c.accounts.jwt.audiences = named.map(str::to_owned).collect();
            Ok(())
        },
        show: |c| json!(c.accounts.jwt.audiences.join(",")),
    },
    ConfigKey {
        path: "accounts.jwt.leeway",
        kind: "duration, at most 1h",
        default: KeyDefault::Value("1m"),
        meaning: "Difference between the clocks of the issuer and of this server that is tolerated in the times of these tokens.",
        set: |c, v| bounded_duration(&LEEWAY, v).map(|v| c.accounts.jwt.leeway = v),
        show: |c| json!(format_duration(c.accounts.jwt.leeway)),
    },
    ConfigKey {
        path: "publicBaseUrl",
        kind: "`none`, or a URL such as `https://chat.example.org`",
        default: KeyDefault::Value(NOWHERE),
        meaning: "Address at which Matrix clients reach this server, which `/.well-known/matrix/client` tells them.",
        set: |c, v| web_url(v).map(|v| c.accounts.base_url = v),
        show: |c| json!(c.accounts.base_url.as_deref().unwrap_or(NOWHERE)),
    },
    ConfigKey {
        path: "administrators",
        kind: "localparts, separated by commas",
        default: KeyDefault::Computed("none"),
        meaning: "Users of this server who may read `/_quorate/status` on the Matrix listener. Create each account before you list it here: a listed name can no longer be registered.",
        set: |c, v| localpart_list(v).map(|v| c.administrators = v),
        show: |c| json!(c.administrators.join(",")),
    },
    rate_limit::ENABLED,
    ConfigurableClass::Messages.key(),
    rate_limit::PER,
    ConfigurableClass::State.key(),
    ConfigurableClass::Account.key(),
    ConfigurableClass::Receipts.key(),
    ConfigurableClass::Keys.key(),
    ConfigurableClass::Logins.key(),
    ConfigurableClass::Registrations.key(),
    ConfigKey {
        path: "presence.enabled",
        kind: "`true` or `false`",
        default: KeyDefault::Value("true"),
        meaning: "Whether users see who is there of those with whom they share a room. Where thousands share a room, turning it off saves work.",
        set: |c, v| one_of(v, &[("true", true), ("false", false)]).map(|v| c.presence.enabled = v),
        show: |c| json!(c.presence.enabled),
    },
    ConfigKey {
        path: "presence.podTimeout",
        kind: "duration, 600ms to 10m",
        default: KeyDefault::Value("30s"),
        meaning: "Time after which the presence and typing of a pod's users is dropped if nothing was heard from the pod. Those users are present again as soon as their clients reach another pod.",
        set: |c, v| bounded_duration(&POD_TIMEOUT, v).map(|v| c.presence.pod_timeout = v),
        show: |c| json!(format_duration(c.presence.pod_timeout)),
    },
    ConfigKey {
        path: "push.allowPrivate",
        kind: "`true` or `false`",
        default: KeyDefault::Value("false"),
        meaning: "Whether notifications are also sent to push gateways with private, local or otherwise special addresses. Users choose the addresses of gateways, and could otherwise make the pods send requests to machines of your network.",
        set: |c, v| one_of(v, &[("true", true), ("false", false)]).map(|v| c.push.allow_private = v),
        show: |c| json!(c.push.allow_private),
    },
    ConfigKey {
        path: "push.caFile",
        kind: "path of a file",
        default: KeyDefault::Computed("none: the certificate authorities of the system"),
        meaning: "File with the certificates of authorities (PEM) by which push gateways are recognised, in addition to those of the system. Read at startup.",
        set: |c, v| {
            c.push.ca_file = optional_path(v);
            Ok(())
        },
        show: |c| json!(c.push.ca_file.clone().unwrap_or_default()),
    },
    ConfigKey {
        path: "directory.withoutToken",
        kind: "`true` or `false`",
        default: KeyDefault::Value("false"),
        meaning: "Whether `GET /_matrix/client/v3/publicRooms` also answers callers without an access token, as the specification says. Whoever reaches the port then sees the names, topics and sizes of all rooms that are listed.",
        set: |c, v| one_of(v, &[("true", true), ("false", false)]).map(|v| c.directory.without_token = v),
        show: |c| json!(c.directory.without_token),
    },
    ConfigKey {
        path: "quotas.devices",
        kind: "number, 1 to 1000000",
        default: KeyDefault::Value("100"),
        meaning: "Maximum number of devices of one account. When another one logs in, those unused for longest are logged out.",
        set: |c, v| positive_count(v).map(|v| c.quotas.devices = v),
        show: |c| json!(c.quotas.devices),
    },
    ConfigKey {
        path: "quotas.filters",
        kind: "number, 1 to 1000000",
        default: KeyDefault::Value("200"),
        meaning: "Maximum number of different `/sync` filters of one account. When another one is added, the oldest is removed.",
        set: |c, v| positive_count(v).map(|v| c.quotas.filters = v),
        show: |c| json!(c.quotas.filters),
    },
    ConfigKey {
        path: "quotas.accountDataEntries",
        kind: "number, 1 to 1000000",
        default: KeyDefault::Value("4096"),
        meaning: "Maximum number of account data entries of one account, including those of its rooms. More are refused.",
        set: |c, v| positive_count(v).map(|v| c.quotas.account_data_entries = v),
        show: |c| json!(c.quotas.account_data_entries),
    },
    ConfigKey {
        path: "quotas.accountDataMebibytes",
        kind: "number, 1 to 1000000",
        default: KeyDefault::Value("4"),
        meaning: "Maximum size of the account data of one account, in MiB. Anything beyond it is refused.",
        set: |c, v| positive_count(v).map(|v| c.quotas.account_data_mebibytes = v),
        show: |c| json!(c.quotas.account_data_mebibytes),
    },
    ConfigKey {
        path: "quotas.joinedRooms",
        kind: "number, 1 to 1000000",
        default: KeyDefault::Value("5000"),
        meaning: "Maximum number of rooms that one account may be in. At the limit, it must leave one before it joins or creates another.",
        set: |c, v| positive_count(v).map(|v| c.quotas.joined_rooms = v),
        show: |c| json!(c.quotas.joined_rooms),
    },
    ConfigKey {
        path: "quotas.pendingInvites",
        kind: "number, 1 to 1000000",
        default: KeyDefault::Value("500"),
        meaning: "Maximum number of unanswered invitations of one account. Further invitations to it are refused.",
        set: |c, v| positive_count(v).map(|v| c.quotas.pending_invites = v),
        show: |c| json!(c.quotas.pending_invites),
    },
    ConfigKey {
        path: "limits.connections",
        kind: "number, 16 to 1000000",
        default: KeyDefault::Value("16384"),
        meaning: "Maximum number of open connections of each client listener; a quarter of them is reserved for clients with a session. Reduced where the process may open too few files (`ulimit -n`).",
        set: |c, v| number_between(16, 1_000_000, v).map(|v| c.limits.connections = v),
        show: |c| json!(c.limits.connections),
    },
    ConfigKey {
        path: "limits.connectionsPerAddress",
        kind: "number, 1 to 1000000",
        default: KeyDefault::Value("8192"),
        meaning: "Maximum number of these connections from one address (IPv6: from one /64), over both listeners. A load balancer that hides the addresses of its clients counts as one address; see `limits.trustedProxies`.",
        set: |c, v| number_between(1, 1_000_000, v).map(|v| c.limits.connections_per_address = v),
        show: |c| json!(c.limits.connections_per_address),
    },
    ConfigKey {
        path: "limits.strangersPerAddress",
        kind: "number, 1 to 1000000",
        default: KeyDefault::Value("1024"),
        meaning: "Maximum number of these connections that have not shown a session yet. Another one closes the oldest of them.",
        set: |c, v| number_between(1, 1_000_000, v).map(|v| c.limits.strangers_per_address = v),
        show: |c| json!(c.limits.strangers_per_address),
    },
    ConfigKey {
        path: "limits.requestMebibytes",
        kind: "number, 16 to 65536",
        default: KeyDefault::Value("64"),
        meaning: "Memory for the bodies of requests that are being read or served, in MiB: a quarter of it for callers without a session, a quarter for each address. Beyond it, requests are temporarily refused.",
        set: |c, v| parse_mebibytes(v).map(|v| c.limits.request_bytes = v),
        show: |c| json!(c.limits.request_bytes >> 20),
    },
    ConfigKey {
        path: "limits.answerMebibytes",
        kind: "number, 16 to 65536",
        default: KeyDefault::Value("64"),
        meaning: "Memory for responses that clients have not read yet, in MiB: half of it for each address. Beyond it, requests are temporarily refused, and clients that read nothing are disconnected sooner.",
        set: |c, v| parse_mebibytes(v).map(|v| c.limits.answer_bytes = v),
        show: |c| json!(c.limits.answer_bytes >> 20),
    },
    ConfigKey {
        path: "limits.trustedProxies",
        kind: "addresses and networks, separated by commas",
        default: KeyDefault::Computed("none"),
        meaning: "Proxies whose `X-Forwarded-For` is trusted, such as `10.0.0.0/8`: their requests count for the right-most address in it that is not one of them. List only proxies that write that header themselves: anyone listed here can claim any address.",
        set: |c, v| TrustedProxies::parse(v).map(|v| c.limits.trusted_proxies = v),
        show: |c| json!(c.limits.trusted_proxies.show()),
    },
    ConfigKey {
        path: "log.format",
        kind: "`json` or `text`",
        default: KeyDefault::Value("json"),
        meaning: "Format of log lines, which go to standard error.",
        set: |c, v| one_of(v, &[("json", LogFormat::Json), ("text", LogFormat::Text)]).map(|v| c.log.format = v),
        show: |c| {
            json!(match c.log.format {
                LogFormat::Json => "json",
                LogFormat::Text => "text",
            })
        },
    },
    ConfigKey {
        path: "log.level",
        kind: "`error`, `warn`, `info`, `debug`, `trace`, or directives",
        default: KeyDefault::Value("info"),
        meaning: "Minimum log level; by module as in `info,quorate_chatd::raft=debug`.",
        set: |c, v| log_level(v).map(|v| c.log.level = v),
        show: |c| json!(c.log.level),
    },
    ConfigKey {
        path: "traces.endpoint",
        kind: "`none`, or a URL such as `http://collector:4317`",
        default: KeyDefault::Value("none"),
        meaning: "OpenTelemetry receiver to which traces are sent (OTLP over gRPC); see [Traces](traces.md).",
        set: |c, v| receiver_url(v).map(|v| c.traces.endpoint = v),
        show: |c| json!(c.traces.endpoint.as_deref().unwrap_or(NOWHERE)),
    },
    ConfigKey {
        path: "traces.sampleRatio",
        kind: "number, 0 to 1",
        default: KeyDefault::Value("0.01"),
        meaning: "Fraction of calls that are traced, among those whose callers do not decide it with a `traceparent`.",
        set: |c, v| Ratio::parse(v).map(|v| c.traces.sample_ratio = v),
        show: |c| c.traces.sample_ratio.show(),
    },
    ConfigKey {
        path: "shutdownGrace",
        kind: "duration, 10ms to 1h",
        default: KeyDefault::Value("30s"),
        meaning: "Maximum time from SIGTERM to the end of the process. Must be shorter than the pod's `terminationGracePeriodSeconds`.",
        set: |c, v| bounded_duration(&GRACE, v).map(|v| c.shutdown_grace = v),
        show: |c| json!(format_duration(c.shutdown_grace)),
    },
];

fn client_tls_files(config: &mut Config) -> &mut ClientTlsFiles {
    config.tls.client.get_or_insert_default()
}

#[cfg(test)]
mod tests;
