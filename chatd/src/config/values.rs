//! Forms and bounds of values that hurt long after they were written. The ChatCluster's schema has the same
//! (`operator/crd`); both sides are tried on one table, `operator/crd/tests/settings.json`.

use super::duration;
use std::{ops::RangeInclusive, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Shorter times mean nothing for anything configured here, and a zero would mean "busy loop" to some of it.
const LEAST: Duration = Duration::from_millis(10);

/// After the loss of a leader nobody can write for some of these. Longer ones are minutes in place of milliseconds.
pub(super) const HEARTBEAT: RangeInclusive<Duration> = LEAST..=Duration::from_secs(10);
/// See [`HEARTBEAT`].
pub(super) const ELECTION_MIN: RangeInclusive<Duration> = LEAST..=Duration::from_secs(30);
/// See [`HEARTBEAT`].
pub(super) const ELECTION_MAX: RangeInclusive<Duration> = LEAST..=MINUTE;
/// Shorter ones are milliseconds in place of minutes; ten years are as good as for ever, and fit wherever they are added.
const SESSION: RangeInclusive<Duration> = Duration::from_secs(1)..=HOUR.saturating_mul(87_600);
/// Who has used the budget up waits for that long.
pub(super) const PERIOD: RangeInclusive<Duration> = LEAST..=HOUR.saturating_mul(24);
/// Kubernetes kills a pod at the end of its grace period; an hour is more than any has.
pub(super) const GRACE: RangeInclusive<Duration> = LEAST..=HOUR;

/// A duration between two bounds.
pub(super) fn time(bounds: &RangeInclusive<Duration>, value: &str) -> Result<Duration, String> {
    let parsed = duration::parse(value)?;
    if bounds.contains(&parsed) {
        return Ok(parsed);
    }
    let (least, most) = (duration::show(*bounds.start()), duration::show(*bounds.end()));
    Err(format!("it must be from {least} to {most} (ms are milliseconds, m are minutes)"))
}

/// How long a login lives unused; `0` is for ever.
pub(super) fn session_lifetime(value: &str) -> Result<Duration, String> {
    if duration::parse(value)?.is_zero() { Ok(Duration::ZERO) } else { time(&SESSION, value) }
}

/// Matrix spec, "Server Name": host or address with an optional port; 200 bytes leave room for localparts.
pub(super) fn server_name(value: &str) -> Result<String, String> {
    if value.len() <= 200 && is_host_with_port(value) {
        return Ok(value.to_owned());
    }
    Err("write a host name in at most 200 bytes, such as chat.example.org, with an optional port from 1 to 65535"
        .into())
}

/// Names of users without their server.
pub(super) fn localparts(value: &str) -> Result<Vec<String>, String> {
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_name = |name: &str| {
        name.len() <= 255 && name.bytes().any(plain) && name.bytes().all(|b| plain(b) || b"._=-/+".contains(&b))
    };
    let wrong = || {
        "write names of users without @ and server, such as alice,bob: lower-case letters, digits and ._=-/+, with at least one letter or digit".to_owned()
    };
    names.map(|name| is_name(name).then(|| name.to_owned()).ok_or_else(wrong)).collect()
}

/// How no endpoint is written: nothing at all is easily a mistake.
pub(super) const NOWHERE: &str = "none";

/// Where traces go. Without TLS: it is a collector of the same node or cluster, which speaks it to whoever is outside.
pub(super) fn receiver(value: &str) -> Result<Option<String>, String> {
    if value == NOWHERE {
        return Ok(None);
    }
    let authority = value.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    // What the grammar of a URI lets pass is not yet an address: `http://[::` and port 99999 would be met much later.
    match authority.filter(|authority| is_host_with_port(authority)) {
        Some(_) if value.parse::<http::Uri>().is_ok() => Ok(Some(value.to_owned())),
        _ => Err(format!(
            "write the receiver's URL without a path, such as http://collector:4317 or http://[::1]:4317, or {NOWHERE}"
        )),
    }
}

/// `host`, `host:port`, `[address]` or `[address]:port`.
fn is_host_with_port(value: &str) -> bool {
    let (host, port) = match value.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("", rest),
        Some(_) => return false,
        None => value.split_at(value.find(':').unwrap_or(value.len())),
    };
    let bracketed = value.starts_with('[');
    (bracketed || is_host(host)) && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// RFC 1123: labels of letters, digits and dashes, parted by single dots.
fn is_host(host: &str) -> bool {
    host.split('.').all(|label| {
        let ends = [label.bytes().next(), label.bytes().next_back()];
        label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && ends.into_iter().all(|end| end.is_some_and(|b| b != b'-'))
    })
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrators_are_named_without_their_server() {
        assert_eq!(localparts(" alice, bob,").unwrap(), ["alice", "bob"]);
        assert_eq!(localparts("").unwrap(), Vec::<String>::new());
        for wrong in ["@alice:chat.example.org", "=", "alice,..", "Alice"] {
            assert!(localparts(wrong).is_err(), "{wrong}");
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
    fn an_endpoint_that_nobody_can_dial_is_refused_at_once() {
        for wrong in ["http://[::", "http://", "http://a:99999", "http://a b", "https://a", "http://a/path", "a:1"] {
            assert!(receiver(wrong).unwrap_err().contains("http://collector"), "{wrong}");
        }
        assert_eq!(receiver("http://[::1]:4317/"), Ok(Some("http://[::1]:4317/".into())));
        assert_eq!(receiver(NOWHERE), Ok(None));
    }
}
