use super::*;
use crate::raft::propose::limit::LimitClass;
use serde_json::Value;

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
        if let KeyDefault::Value(default) = key.default {
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

#[test]
fn each_class_of_commands_has_a_key_except_wrong_passwords() {
    for class in LimitClass::ALL {
        let path = format!("rateLimit.{}", class.label());
        assert_eq!(KEYS.iter().any(|key| key.path == path), class != LimitClass::Guesses, "{path}");
    }
}
