//! Resolution of the configuration as written: fills in defaults, then checks each value and the values together.

use super::keys::KeyDefault;
use super::written::WrittenConfig;
use super::{Config, ConfigError, KEYS};

/// Facts about the environment that computed defaults are derived from, looked up once by the caller.
#[derive(Clone, Debug)]
pub struct HostEnvironment {
    /// Host name of the machine or pod.
    pub host_name: String,
    /// Value of `QUORATE_POD_IP`: the address under which other pods reach this one, from the downward API of
    /// Kubernetes.
    pub pod_ip: Option<String>,
}

/// Resolves the configuration.
///
/// # Errors
/// Returns the first value that is missing, not accepted by its key, or in conflict with another value.
pub fn resolve_config(written: &WrittenConfig, around: &HostEnvironment) -> Result<Config, ConfigError> {
    let mut config = Config::unset();
    for key in KEYS {
        let (value, from) = match (written.get(key), key.default) {
            (Some(setting), _) => (setting.value.as_str(), setting.from.as_str()),
            (None, KeyDefault::Value(value)) => (value, "default"),
            // Derived from values that later keys may set.
            (None, KeyDefault::Computed(_)) => continue,
            (None, KeyDefault::Required) => {
                return Err(ConfigError::Missing { key: key.path, env: key.env(), flag: format!("--{}", key.flag()) });
            }
        };
        (key.set)(&mut config, value).map_err(|reason| ConfigError::Value {
            from: from.to_owned(),
            key: key.path,
            value: value.to_owned(),
            reason,
        })?;
    }
    compute_defaults(&mut config, around);
    check_times(&config)?;
    check_client_tls(&mut config)?;
    check_registration(&config)?;
    Ok(config)
}

fn compute_defaults(config: &mut Config, around: &HostEnvironment) {
    if config.node_name.is_empty() {
        config.node_name.clone_from(&around.host_name);
    }
    let host = match around.pod_ip.as_deref() {
        // The port of an IPv6 address could not be told from its last group (RFC 3986, section 3.2.2).
        Some(ip) if ip.contains(':') => format!("[{ip}]"),
        Some(ip) => ip.to_owned(),
        None => around.host_name.clone(),
    };
    for (address, port) in [
        (&mut config.advertise.peer, config.listen.peer.port()),
        (&mut config.advertise.grpc, config.listen.grpc.port()),
    ] {
        if address.is_empty() {
            *address = format!("{host}:{port}");
        }
    }
}

/// Checks that the certificate and the key of the client listeners are either both set or both absent. An empty path
/// counts as absent, because `chatd config` prints an absent one that way.
fn check_client_tls(config: &mut Config) -> Result<(), ConfigError> {
    let Some(files) = &config.tls.client else { return Ok(()) };
    let (key, reason) = match (files.cert.as_os_str().is_empty(), files.key.as_os_str().is_empty()) {
        (false, false) => return Ok(()),
        (true, true) => {
            config.tls.client = None;
            return Ok(());
        }
        (true, false) => ("tls.client.certFile", "tls.client.keyFile is set, so its certificate must be set, too"),
        (false, true) => ("tls.client.keyFile", "tls.client.certFile is set, so its private key must be set, too"),
    };
    Err(ConfigError::Together { key, reason: reason.into() })
}

/// Checks that there is a key if people log in with signed tokens.
fn check_registration(config: &Config) -> Result<(), ConfigError> {
    if config.accounts.jwt.algorithm.is_some() && config.accounts.jwt.key_file.is_none() {
        let reason = "accounts.jwt.algorithm is set, so this file must be set, too".to_owned();
        return Err(ConfigError::Together { key: "accounts.jwt.keyFile", reason });
    }
    Ok(())
}

fn check_times(config: &Config) -> Result<(), ConfigError> {
    let raft = &config.raft;
    if raft.heartbeat_interval.saturating_mul(3) > raft.election_timeout_min {
        return Err(ConfigError::Together {
            key: "raft.electionTimeoutMin",
            reason:
                "it must be at least three times raft.heartbeatInterval, or one late heartbeat unseats a healthy leader"
                    .into(),
        });
    }
    if raft.election_timeout_min >= raft.election_timeout_max {
        return Err(ConfigError::Together {
            key: "raft.electionTimeoutMax",
            reason: "it must be longer than raft.electionTimeoutMin (twice is usual), or votes split".into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn resolved(yaml: &str, pod_ip: Option<&str>) -> Result<Config, String> {
        let mut written = WrittenConfig::default();
        written.add_yaml(yaml, Path::new("c.yaml")).map_err(|e| e.to_string())?;
        let around = HostEnvironment { host_name: "host".into(), pod_ip: pod_ip.map(str::to_owned) };
        resolve_config(&written, &around).map_err(|e| e.to_string())
    }

    #[test]
    fn a_server_name_is_all_that_is_needed() {
        let config = resolved("serverName: a.org", None).unwrap();
        assert_eq!(config.node_name, "host");
        assert_eq!(config.advertise.peer, "host:7401");
        assert_eq!(config.session_lifetime.as_secs(), 30 * 86_400);
        assert!(resolved("", None).unwrap_err().contains("QUORATE_SERVER_NAME"));
    }

    #[test]
    fn a_pods_address_is_advertised() {
        assert_eq!(resolved("serverName: a.org", Some("10.1.2.3")).unwrap().advertise.grpc, "10.1.2.3:7400");
        assert_eq!(resolved("serverName: a.org", Some("fd00::1")).unwrap().advertise.grpc, "[fd00::1]:7400");
        let config = resolved("serverName: a.org\nadvertise: {peer: 'x:1'}", Some("10.1.2.3")).unwrap();
        assert_eq!(config.advertise.peer, "x:1");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_place() {
        for (yaml, parts) in [
            ("serverName: a.org\nlisten: {http: '8008'}", ["listen.http", "c.yaml", "0.0.0.0:7400"]),
            ("serverName: a.org\nlog: {level: 'a=b=c'}", ["log.level", "c.yaml", "a=b=c"]),
            ("serverName: 'a b'", ["serverName", "c.yaml", "host name"]),
            (
                "serverName: a.org\ntraces: {endpoint: 'collector:4317'}",
                ["traces.endpoint", "c.yaml", "http://collector"],
            ),
            ("serverName: a.org\ntraces: {sampleRatio: 1%}", ["traces.sampleRatio", "c.yaml", "0.01"]),
            ("serverName: a.org\nregistration: maybe", ["registration", "c.yaml", "open or token or closed"]),
        ] {
            let error = resolved(yaml, None).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn a_registration_by_token_needs_no_file_as_administrators_create_tokens() {
        for accounts in ["", "accounts: {registrationTokenFile: /x}"] {
            let yaml = format!("serverName: a.org\nregistration: token\n{accounts}");
            assert_eq!(resolved(&yaml, None).unwrap().registration, crate::config::RegistrationMode::Token);
        }
    }

    #[test]
    fn times_must_go_together() {
        let error = resolved("serverName: a.org\nraft: {heartbeatInterval: 100ms}", None).unwrap_err();
        assert!(error.contains("raft.electionTimeoutMin"), "{error}");
        let error = resolved("serverName: a.org\nraft: {electionTimeoutMax: 150ms}", None).unwrap_err();
        assert!(error.contains("raft.electionTimeoutMax"), "{error}");
    }

    /// The schema of `ChatCluster` accepts and refuses the same values: `operator/crd/tests/rules.rs` reads the same
    /// table.
    #[test]
    fn what_a_chatcluster_takes_is_taken_and_what_it_refuses_is_refused() {
        let table = include_str!("../../../operator/crd/tests/settings.json");
        let table: Vec<serde_json::Value> = serde_json::from_str(table).unwrap();
        for row in table {
            let path = row["chatd"].as_str().unwrap();
            let values = |verdict: &str| row[verdict].as_array().unwrap().clone();
            let resolved = |value: &serde_json::Value| {
                let mut written = WrittenConfig::default();
                written.add_yaml("serverName: a.org", Path::new("c.yaml")).unwrap();
                let key = KEYS.iter().find(|key| key.path == path).unwrap();
                written.add_flag(key, value.as_str().unwrap().to_owned());
                resolve_config(&written, &HostEnvironment { host_name: "host".into(), pod_ip: None })
                    .map_err(|e| e.to_string())
            };
            for value in values("taken") {
                assert!(resolved(&value).is_ok(), "{path} {value}: {:?}", resolved(&value));
            }
            for value in values("refused") {
                assert!(resolved(&value).unwrap_err().contains(path), "{path} {value}");
            }
        }
    }

    #[test]
    fn a_certificate_for_clients_needs_its_key() {
        let error = resolved("serverName: a.org\ntls: {client: {certFile: c}}", None).unwrap_err();
        assert!(error.contains("`tls.client.keyFile`"), "{error}");
        let error = resolved("serverName: a.org\ntls: {client: {keyFile: k}}", None).unwrap_err();
        assert!(error.contains("`tls.client.certFile`"), "{error}");
        let config = resolved("serverName: a.org\ntls: {client: {certFile: c, keyFile: k}}", None).unwrap();
        let printed = serde_yaml_ng::to_string(&config.to_json()).unwrap();
        assert_eq!(resolved(&printed, None).unwrap(), config);
        assert_eq!(resolved("serverName: a.org", None).unwrap().tls.client, None);
    }

    #[test]
    fn what_is_printed_resolves_to_the_same() {
        let config = resolved("serverName: a.org\nrateLimit: {enabled: false}", Some("10.0.0.1")).unwrap();
        let printed = serde_yaml_ng::to_string(&config.to_json()).unwrap();
        assert_eq!(resolved(&printed, None).unwrap(), config);
    }
}
