//! Configuration: printing what was read and reading it again must yield the same.

use crate::config::written::WrittenConfig;
use crate::config::{Config, HostEnvironment, resolve_config};
use quorate_duration::{format_duration, parse_duration};
use std::path::Path;

/// Parses a configuration file.
pub(super) fn check_config_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some(config) = resolve_text(text) else { return false };
    let printed = config.to_json().to_string();
    assert_eq!(resolve_text(&printed), Some(config), "{printed}");
    true
}

fn resolve_text(text: &str) -> Option<Config> {
    let mut written = WrittenConfig::default();
    written.add_yaml(text, Path::new("c.yaml")).ok()?;
    resolve_config(&written, &HostEnvironment { host_name: "host".into(), pod_ip: None }).ok()
}

/// Parses a duration in text.
pub(super) fn check_duration(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(read) = parse_duration(text) else { return false };
    assert_eq!(parse_duration(&format_duration(read)), Ok(read), "{text}");
    true
}
