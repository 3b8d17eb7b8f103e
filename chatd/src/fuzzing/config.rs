//! Configuration: printing what was read and reading it again must yield the same.

use crate::config::written::Written;
use crate::config::{Config, Surroundings, duration as durations, resolve};
use std::path::Path;

/// Parses a configuration file.
pub(super) fn file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some(config) = resolved(text) else { return false };
    let printed = config.to_json().to_string();
    assert_eq!(resolved(&printed), Some(config), "{printed}");
    true
}

fn resolved(text: &str) -> Option<Config> {
    let mut written = Written::default();
    written.add_yaml(text, Path::new("c.yaml")).ok()?;
    resolve(&written, &Surroundings { host_name: "host".into(), pod_ip: None }).ok()
}

/// Parses a duration in text.
pub(super) fn duration(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(read) = durations::parse(text) else { return false };
    assert_eq!(durations::parse(&durations::show(read)), Ok(read), "{text}");
    true
}
