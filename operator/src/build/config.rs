use super::{
    accounts::{AccountsConfig, PresenceConfig, accounts_config, presence_config},
    object_meta,
    template::short_hash,
};
use crate::{
    cluster::ValidCluster,
    names::{PORT_GRPC, PORT_HTTP, PORT_METRICS, PORT_PEER},
};
use k8s_openapi::api::core::v1::ConfigMap;
use quorate_crd::{ChatSpec, LogFormat, LogLevel, LogSpec, RateLimitSpec, RegistrationPolicy, TracesSpec, label};
use serde::Serialize;
use std::time::Duration;

/// Name of the file in which chatd finds its configuration.
pub(crate) const FILE: &str = "chatd.yaml";

/// Keys of chatd's configuration that the operator sets. The environment of each pod provides the rest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChatdConfig<'a> {
    server_name: &'a str,
    data_dir: &'static str,
    listen: ListenConfig,
    tls: TlsConfig,
    raft: RaftConfig,
    sessions: SessionConfig,
    registration: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts: Option<AccountsConfig<'a>>,
    // Absent rather than empty, like `traces`: a different text means a new ConfigMap and a rollout.
    #[serde(skip_serializing_if = "String::is_empty")]
    administrators: String,
    rate_limit: RateLimit,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_base_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<PresenceConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<DirectoryConfig>,
    log: LogConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    traces: Option<TraceConfig<'a>>,
}

#[derive(Serialize)]
struct ListenConfig {
    http: String,
    grpc: String,
    peer: String,
    metrics: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TlsConfig {
    ca_file: String,
    cert_file: String,
    key_file: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RaftConfig {
    heartbeat_interval: String,
    election_timeout_min: String,
    election_timeout_max: String,
}

#[derive(Serialize)]
struct SessionConfig {
    lifetime: String,
}

#[derive(Serialize)]
struct RateLimit {
    enabled: bool,
    messages: u32,
    per: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logins: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registrations: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DirectoryConfig {
    without_token: bool,
}

#[derive(Serialize)]
struct LogConfig {
    format: &'static str,
    level: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceConfig<'a> {
    endpoint: &'a str,
    sample_ratio: &'a str,
}

/// Builds the ConfigMap with chatd's configuration. The ConfigMap is immutable and its name contains a hash of its
/// content, so that a pod of an older revision that is lost during a rollout comes back with the configuration that its
/// image knows.
#[must_use]
pub fn config_map(cluster: &ValidCluster) -> ConfigMap {
    named_config_map(cluster, config_name(cluster), config_text(cluster))
}

/// Builds a ConfigMap with the given name and content.
pub(super) fn named_config_map(cluster: &ValidCluster, name: String, text: String) -> ConfigMap {
    let mut metadata = object_meta(cluster, name);
    metadata.labels.get_or_insert_default().insert(label::CONFIG.to_owned(), "true".to_owned());
    ConfigMap { metadata, immutable: Some(true), data: Some([(FILE.to_owned(), text)].into()), binary_data: None }
}

/// Returns the name of the ConfigMap with chatd's configuration.
#[must_use]
pub fn config_name(cluster: &ValidCluster) -> String {
    format!("{}-config-{}", cluster.name, short_hash(config_text(cluster).as_bytes()))
}

fn rate_limit_config(spec: &RateLimitSpec, per: String) -> RateLimit {
    let RateLimitSpec { enabled, messages, per: _, state, account, receipts, keys, logins, registrations } = *spec;
    RateLimit { enabled, messages, per, state, account, receipts, keys, logins, registrations }
}

/// Returns chatd's configuration file. JSON would be valid YAML too, but YAML is easier for people to read.
#[must_use]
pub fn config_text(cluster: &ValidCluster) -> String {
    let times = cluster.times;
    // Without `..`, as in `template::inputs`, so that a newly added setting is written or left out on purpose.
    let ChatSpec {
        registration,
        accounts: _,
        administrators,
        rate_limit,
        session_lifetime: _,
        public_base_url,
        presence: _,
        directory_without_token,
    } = &cluster.spec.chat;
    let LogSpec { format, level: least } = cluster.spec.log;
    // On Linux `[::]` covers both families; on an IPv4-only cluster the kernel may support no other.
    let host = if cluster.ipv6 { "[::]" } else { "0.0.0.0" };
    let listen = |port: i32| format!("{host}:{port}");
    let tls = |file: &str| format!("{}/{file}", super::pod::TLS_FOLDER);
    let config = ChatdConfig {
        server_name: &cluster.spec.server_name,
        data_dir: super::pod::DATA_FOLDER,
        listen: ListenConfig {
            http: listen(PORT_HTTP),
            grpc: listen(PORT_GRPC),
            peer: listen(PORT_PEER),
            metrics: listen(PORT_METRICS),
        },
        tls: TlsConfig { ca_file: tls("ca.crt"), cert_file: tls("tls.crt"), key_file: tls("tls.key") },
        raft: RaftConfig {
            heartbeat_interval: duration_text(times.heartbeat),
            election_timeout_min: duration_text(times.election_min),
            election_timeout_max: duration_text(times.election_max),
        },
        sessions: SessionConfig { lifetime: duration_text(times.session_lifetime) },
        registration: match registration {
            RegistrationPolicy::Open => "open",
            RegistrationPolicy::Token => "token",
            RegistrationPolicy::Closed => "closed",
        },
        accounts: accounts_config(cluster),
        administrators: administrators.join(","),
        rate_limit: rate_limit_config(rate_limit, duration_text(times.rate_limit_per)),
        public_base_url: public_base_url.as_deref(),
        presence: presence_config(cluster),
        directory: directory_without_token.then_some(DirectoryConfig { without_token: true }),
        log: LogConfig {
            format: match format {
                LogFormat::Json => "json",
                LogFormat::Text => "text",
            },
            level: level_name(least),
        },
        traces: cluster
            .spec
            .traces
            .as_ref()
            .map(|TracesSpec { endpoint, sample_ratio }| TraceConfig { endpoint, sample_ratio }),
    };
    // Strings, numbers and structs always serialize, as the golden test shows.
    serde_yaml_ng::to_string(&config).unwrap_or_default()
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

/// Formats a duration in a single unit, which every parser of durations accepts.
pub(super) fn duration_text(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_changed_setting_makes_another_config_map() {
        let one = fixture::cluster();
        let mut two = one.clone();
        two.spec.chat.rate_limit.enabled = false;
        assert_ne!(config_name(&one), config_name(&two));
        assert_eq!(config_name(&one), config_name(&one.clone()));
    }

    #[test]
    fn pods_listen_on_both_families_where_there_are_both() {
        let mut cluster = fixture::cluster();
        assert!(config_text(&cluster).contains("http: 0.0.0.0:8008"));
        cluster.ipv6 = true;
        for line in ["http: '[::]:8008'", "grpc: '[::]:7400'", "peer: '[::]:7401'", "metrics: '[::]:9400'"] {
            assert!(config_text(&cluster).contains(line), "{line}: {}", config_text(&cluster));
        }
    }

    #[test]
    fn administrators_are_those_of_the_spec() {
        let mut cluster = fixture::cluster();
        assert!(!config_text(&cluster).contains("administrators"));
        cluster.spec.chat.administrators = vec!["alice".into(), "bob".into()];
        assert!(config_text(&cluster).contains("administrators: alice,bob\n"));
    }

    #[test]
    fn traces_are_sent_where_the_spec_says() {
        let mut cluster = fixture::cluster();
        assert!(!config_text(&cluster).contains("traces"));
        let traces = TracesSpec { endpoint: "http://collector:4317".into(), sample_ratio: "0.5".into() };
        cluster.spec.traces = Some(traces);
        let text = config_text(&cluster);
        assert!(text.contains("traces:\n  endpoint: http://collector:4317\n  sampleRatio: '0.5'\n"), "{text}");
    }

    #[test]
    fn times_have_one_unit() {
        assert_eq!(duration_text(Duration::from_millis(1500)), "1500ms");
        assert_eq!(duration_text(Duration::from_secs(720 * 3600)), "2592000s");
    }
}
