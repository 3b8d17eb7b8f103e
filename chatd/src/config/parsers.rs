//! Parsers of values that any configuration has; an error says what to write instead.

use std::{net::SocketAddr, path::PathBuf};

pub(super) fn optional_path(value: &str) -> Option<PathBuf> {
    (!value.is_empty()).then(|| value.into())
}

pub(super) fn non_empty(value: &str) -> Result<String, String> {
    if value.trim().is_empty() { Err("it is empty".into()) } else { Ok(value.to_owned()) }
}

pub(super) fn socket_address(value: &str) -> Result<SocketAddr, String> {
    value.parse().map_err(|_| "write an IP address and a port, such as 0.0.0.0:7400 or [::]:7400".to_owned())
}

pub(super) fn host_port(value: &str) -> Result<String, String> {
    let port =
        value.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(port) if port > 0 && !value.contains('/') => Ok(value.to_owned()),
        _ => Err("write host:port, such as team-0.team-peers:7401".into()),
    }
}

pub(super) fn at_least(least: u64, value: &str) -> Result<u64, String> {
    value.parse().ok().filter(|n| *n >= least).ok_or_else(|| format!("write a number of at least {least}"))
}

/// Value that reserves a share of the volume.
pub(super) const AUTOMATIC: &str = "auto";

/// Parses a positive count; `None` if it is to be derived from other settings.
pub(super) fn automatic_count(value: &str) -> Result<Option<u32>, String> {
    if value == AUTOMATIC {
        return Ok(None);
    }
    positive_count(value).map(Some).map_err(|error| format!("{error}; or write {AUTOMATIC}"))
}

pub(super) fn storage_reserve(value: &str) -> Result<Option<u64>, String> {
    match value.parse() {
        _ if value == AUTOMATIC => Ok(None),
        Ok(mebibytes) => Ok(Some(mebibytes)),
        Err(_) => Err(format!("write a number of MiB, 0 for none, or {AUTOMATIC}")),
    }
}

pub(super) fn positive_count(value: &str) -> Result<u32, String> {
    value.parse().ok().filter(|n| (1..=1_000_000).contains(n)).ok_or_else(|| "write a number from 1 to 1000000".into())
}

pub(super) fn number_between(least: usize, most: usize, value: &str) -> Result<usize, String> {
    let range = || format!("write a number from {least} to {most}");
    value.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(range)
}

/// Parses a size in MiB into bytes. The largest request (2 MiB) must fit into the smallest part of the budget, an
/// eighth; hence the lower bound of 16.
pub(super) fn parse_mebibytes(value: &str) -> Result<usize, String> {
    number_between(16, 65_536, value).map(|mebibytes| mebibytes << 20)
}

pub(super) fn one_of<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)).map(|(_, choice)| *choice);
    found.ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("write {}", names.join(" or "))
    })
}

pub(super) fn log_level(value: &str) -> Result<String, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("write error, warn, info, debug, trace or directives ({e})");
    if value.trim().is_empty() {
        return Err("it is empty".into());
    }
    tracing_subscriber::EnvFilter::try_new(value).map(|_| value.to_owned()).map_err(|e| wrong(&e))
}
