//! Syntax and bounds of values whose mistakes would only be noticed long after they were written. The schema of
//! `ChatCluster` (`operator/crd`) has the same rules; `operator/crd/tests/settings.json` is one table of cases for
//! both.

use quorate_duration::{format_duration, parse_duration};
use std::{ops::RangeInclusive, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Lower bound of most durations. Anything configured here is meaningless below it, and zero would turn some of it into
/// a busy loop.
const LEAST: Duration = Duration::from_millis(10);

/// Bounds of `raft.heartbeatInterval`. Writes are unavailable for several of these intervals after the leader is lost;
/// a longer one is a slip: minutes where milliseconds were meant.
pub(super) const HEARTBEAT: RangeInclusive<Duration> = LEAST..=Duration::from_secs(10);
/// Bounds of `raft.electionTimeoutMin`, for the same reason as [`HEARTBEAT`].
pub(super) const ELECTION_MIN: RangeInclusive<Duration> = LEAST..=Duration::from_secs(30);
/// Bounds of `raft.electionTimeoutMax`, for the same reason as [`HEARTBEAT`].
pub(super) const ELECTION_MAX: RangeInclusive<Duration> = LEAST..=MINUTE;
/// Bounds of `sessions.lifetime`. A shorter lifetime is a slip: milliseconds where minutes were meant. Ten years are as
/// good as for ever, and do not overflow wherever they are added to a time.
pub(super) const SESSION: RangeInclusive<Duration> = Duration::from_secs(1)..=HOUR.saturating_mul(87_600);
/// Bounds of `accounts.jwt.leeway`. More would accept tokens long after their time.
pub(super) const LEEWAY: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
/// Bounds of `rateLimit.per`. A user who has spent the budget has to wait that long.
pub(super) const PERIOD: RangeInclusive<Duration> = LEAST..=HOUR.saturating_mul(24);
/// Bounds of `presence.podTimeout`. A pod gives six signs of life in that time, at most ten a second; and nobody waits for
/// minutes to see that somebody is gone.
pub(super) const POD_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(600)..=Duration::from_secs(600);
/// Bounds of `shutdownGrace`. Kubernetes kills a pod at the end of its own grace period, and none is longer than an
/// hour.
pub(super) const GRACE: RangeInclusive<Duration> = LEAST..=HOUR;

/// Parses a duration within `bounds`.
pub(super) fn bounded_duration(bounds: &RangeInclusive<Duration>, value: &str) -> Result<Duration, String> {
    let parsed = any_duration(value)?;
    if bounds.contains(&parsed) {
        return Ok(parsed);
    }
    let least = format_duration(*bounds.start());
    let most = format_duration(*bounds.end());
    Err(format!("it must be from {least} to {most} (ms means milliseconds, m means minutes)"))
}

fn any_duration(value: &str) -> Result<Duration, String> {
    parse_duration(value).map_err(|error| error.to_string())
}

/// Parses the time for which an unused login stays valid; `0` means for ever.
pub(super) fn session_lifetime(value: &str) -> Result<Duration, String> {
    if any_duration(value)?.is_zero() { Ok(Duration::ZERO) } else { bounded_duration(&SESSION, value) }
}

/// Parses a server name (Matrix specification, "Server Name"): a host or address with an optional port. The limit of
/// 200 bytes leaves room for localparts.
pub(super) fn server_name(value: &str) -> Result<String, String> {
    if value.len() <= 200 && is_host_with_port(value) {
        return Ok(value.to_owned());
    }
    Err("write a host name in at most 200 bytes, such as chat.example.org, with an optional port from 1 to 65535"
        .into())
}

/// Parses a comma-separated list of localparts: names of users without `@` and server.
pub(super) fn localpart_list(value: &str) -> Result<Vec<String>, String> {
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_name = |name: &str| {
        name.len() <= 255 && name.bytes().any(plain) && name.bytes().all(|b| plain(b) || b"._=-/+".contains(&b))
    };
    let wrong = || {
        "write user names without @ and server, such as alice,bob: lower-case letters, digits and ._=-/+, with at least one letter or digit".to_owned()
    };
    names.map(|name| is_name(name).then(|| name.to_owned()).ok_or_else(wrong)).collect()
}

/// Notation for "no endpoint". An empty value is refused, because it is easily a mistake.
pub(super) const NOWHERE: &str = "none";

/// Parses the URL of the OTLP receiver; [`NOWHERE`] yields `None`. TLS is not supported: the receiver is a collector on
/// the same node or in the same cluster, which uses TLS towards anything outside.
pub(super) fn receiver_url(value: &str) -> Result<Option<String>, String> {
    if value == NOWHERE {
        return Ok(None);
    }
    let authority = value.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    // The grammar of URIs also accepts `http://[::` and port 99999, which would only fail much later.
    match authority.filter(|authority| is_host_with_port(authority)) {
        Some(_) if value.parse::<http::Uri>().is_ok() => Ok(Some(value.to_owned())),
        _ => Err(format!(
            "write the receiver's URL without a path, such as http://collector:4317 or http://[::1]:4317, or {NOWHERE}"
        )),
    }
}

/// Parses an address that people open, `http` or `https`; [`NOWHERE`] yields `None`.
pub(super) fn web_url(value: &str) -> Result<Option<String>, String> {
    if value == NOWHERE {
        return Ok(None);
    }
    let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    let authority = rest.map(|rest| rest.split_once(['/', '?', '#']).map_or(rest, |(authority, _)| authority));
    match authority.filter(|authority| is_host_with_port(authority)) {
        Some(_) if value.parse::<http::Uri>().is_ok() => Ok(Some(value.to_owned())),
        _ => Err(format!("write a URL such as https://chat.example.org, or {NOWHERE}")),
    }
}

/// Checks for `host`, `host:port`, `[address]` or `[address]:port`.
fn is_host_with_port(value: &str) -> bool {
    let (host, port) = match value.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("", rest),
        Some(_) => return false,
        None => value.split_at(value.find(':').unwrap_or(value.len())),
    };
    let bracketed = value.starts_with('[');
    (bracketed || is_host(host)) && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// Checks for a host name of RFC 1123: labels of letters, digits and hyphens, separated by single dots.
fn is_host(host: &str) -> bool {
    host.split('.').all(|label| {
        let ends = [label.bytes().next(), label.bytes().next_back()];
        label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && ends.into_iter().all(|end| end.is_some_and(|b| b != b'-'))
    })
}

fn is_port(port: &str) -> bool {
    // `parse` alone would also accept a plus sign.
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrators_are_named_without_their_server() {
        assert_eq!(localpart_list(" alice, bob,").unwrap(), ["alice", "bob"]);
        assert_eq!(localpart_list("").unwrap(), Vec::<String>::new());
        for wrong in ["@alice:chat.example.org", "=", "alice,..", "Alice"] {
            assert!(localpart_list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_and_ports_have_a_form() {
        for name in ["a.b", "Chat.example.org:8448", "10.0.0.1", "[::1]:8008", "[fd00::7]"] {
            assert!(server_name(name).is_ok(), "{name}");
        }
        for name in
            ["", "a..b", ".a", "a.", "-a", "a:", "a:0", "a:99999", "a:+1", "[::1", "[::1]x", "[a]", "::1", "a/b"]
        {
            assert!(server_name(name).is_err(), "{name}");
        }
        assert!(server_name(&"a".repeat(64)).is_err());
    }

    #[test]
    fn an_address_for_people_is_a_url() {
        for right in ["https://chat.example.org", "http://[::1]:8008/", "https://a.org/terms?v=1"] {
            assert_eq!(web_url(right), Ok(Some(right.into())));
        }
        for wrong in ["", "chat.example.org", "ftp://a.org", "https://", "https://a b"] {
            assert!(web_url(wrong).unwrap_err().contains("https://"), "{wrong}");
        }
        assert_eq!(web_url(NOWHERE), Ok(None));
    }

    #[test]
    fn an_endpoint_that_nobody_can_dial_is_refused_at_once() {
        for wrong in ["http://[::", "http://", "http://a:99999", "http://a b", "https://a", "http://a/path", "a:1"] {
            assert!(receiver_url(wrong).unwrap_err().contains("http://collector"), "{wrong}");
        }
        assert_eq!(receiver_url("http://[::1]:4317/"), Ok(Some("http://[::1]:4317/".into())));
        assert_eq!(receiver_url(NOWHERE), Ok(None));
    }
}
