//! Overview of the cluster on one screen.

use crate::{
    output::{format_table, printable_line},
    screen::{LineTone, ScreenLine},
};
use quorate_wire::{
    admin::v1::{MemberOverview, OverviewResponse, Quorum, StatusResponse},
    overview::{name_of, role_name, writes_per_second},
};

const HEADINGS: [&str; 15] = [
    "NAME", "ROLE", "READY", "LAG", "CONTACT", "RTT", "CONNS", "WRITES/S", "WRITE", "TERM", "APPLIED", "MEMORY",
    "USED", "FREE", "VERSION",
];
/// Number of entries behind the leader from which on a member is shown as lagging: what a new voter may lag.
const LAGGING: u64 = 1000;

/// Renders the overview: the cluster, the leader, the quorum, one row for each member, and the problems of some.
pub(super) fn overview_lines(overview: &OverviewResponse, time: &str) -> Vec<ScreenLine> {
    let members = &overview.members;
    let asked = name_of(overview, overview.asked_node_id).unwrap_or("a server");
    let title = format!("{}   cluster {}   {time} UTC   seen from {asked}", overview.server_name, overview.cluster_id);
    let mut lines = vec![
        ScreenLine::new(LineTone::Strong, title),
        leader_line(overview),
        quorum_line(overview.quorum.unwrap_or_default()),
    ];
    let connections: u32 = members.iter().filter_map(|m| m.status.as_ref()).map(|s| s.client_connections).sum();
    let load = format!("{connections} client connections, {:.1} writes/s", writes_per_second(overview));
    lines.extend([ScreenLine::new(LineTone::Plain, load), ScreenLine::default()]);
    let rows: Vec<_> = members.iter().map(member_row).collect();
    let tones = [LineTone::Strong].into_iter().chain(members.iter().map(member_tone));
    lines.extend(format_table(&HEADINGS, &rows).lines().zip(tones).map(|(text, tone)| ScreenLine::new(tone, text)));
    let notes: Vec<ScreenLine> = members.iter().filter_map(member_note).collect();
    if !notes.is_empty() {
        lines.push(ScreenLine::default());
    }
    lines.extend(notes);
    lines
}

fn leader_line(overview: &OverviewResponse) -> ScreenLine {
    let OverviewResponse { leader_node_id: id, term, .. } = overview;
    let Some(name) = name_of(overview, *id) else {
        return ScreenLine::new(LineTone::Bad, format!("no known leader (term {term}): writes are waiting"));
    };
    let status = status_of(overview, *id);
    let age = status.and_then(|status| status.leader_age_ms).map(|age| format!(" for {}", format_age(age)));
    ScreenLine::new(LineTone::Plain, format!("leader: {name}{}, term {term}", age.unwrap_or_default()))
}

fn status_of(overview: &OverviewResponse, id: u64) -> Option<&StatusResponse> {
    let is = |member: &&MemberOverview| member.node.as_ref().is_some_and(|node| node.node_id == id);
    overview.members.iter().find(is).and_then(|member| member.status.as_ref())
}

fn quorum_line(Quorum { voters, healthy, needed, held, millis_since_ack }: Quorum) -> ScreenLine {
    let counts = format!("{healthy} of {voters} voters healthy, {needed} needed");
    if !held {
        return ScreenLine::new(LineTone::Bad, format!("NO QUORUM: {counts}"));
    }
    let acknowledged = millis_since_ack.map(|age| format!("; last acknowledged {} ago", format_age(age)));
    let text = format!("quorum held: {counts}{}", acknowledged.unwrap_or_default());
    // A cluster of one voter never tolerates a loss, so a warning would say nothing.
    if healthy <= needed && voters > 1 {
        return ScreenLine::new(LineTone::Bad, format!("{text}: losing one more voter stops writes"));
    }
    ScreenLine::new(LineTone::Good, text)
}

fn member_row(member: &MemberOverview) -> Vec<String> {
    let name = member.node.as_ref().map(|node| printable_line(&node.name)).unwrap_or_default();
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let lag = member.lag.map(|lag| lag.to_string());
    let contact = member.millis_since_contact.map(format_age);
    let Some(status) = &member.status else {
        return vec![name, "unreachable".into(), "-".into(), or_none(lag), or_none(contact)];
    };
    let role = match (role_name(status.role()), member.voter) {
        ("follower", false) => "learner",
        (role, _) => role,
    };
    let version = status.identity.as_ref().map(|identity| printable_line(&identity.version));
    vec![
        name,
        role.to_owned(),
        if status.ready { "yes" } else { "no" }.to_owned(),
        or_none(lag),
        or_none(contact),
        or_none(member.round_trip_ms.map(format_milliseconds)),
        status.client_connections.to_string(),
        format!("{:.1}", status.writes_per_second),
        or_none(status.write_ms.map(format_milliseconds)),
        status.term.to_string(),
        status.applied_index.to_string(),
        format_bytes(status.memory_bytes),
        format_bytes(status.storage_used_bytes),
        format_bytes(status.storage_free_bytes),
        or_none(version),
    ]
}

fn member_tone(member: &MemberOverview) -> LineTone {
    match &member.status {
        Some(status) if status.ready && member.lag.is_none_or(|lag| lag < LAGGING) => LineTone::Plain,
        _ => LineTone::Bad,
    }
}

/// Returns the reason why a member is unreachable or not ready; `None` if it is ready.
fn member_note(member: &MemberOverview) -> Option<ScreenLine> {
    let reason = match &member.status {
        Some(status) if status.ready => return None,
        Some(status) => &status.not_ready_reason,
        None => &member.error,
    };
    let name = member.node.as_ref().map(|node| node.name.as_str()).unwrap_or_default();
    Some(ScreenLine::new(LineTone::Bad, format!("{name}: {reason}")))
}

/// Formats an age in milliseconds in the largest unit that leaves about two digits.
fn format_age(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..120_000 => format!("{} s", millis / 1000),
        120_000..7_200_000 => format!("{} min", millis / 60_000),
        7_200_000..172_800_000 => format!("{} h", millis / 3_600_000),
        _ => format!("{} d", millis / 86_400_000),
    }
}

fn format_milliseconds(millis: f64) -> String {
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

fn format_bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let steps = UNITS.iter().enumerate().map(|(n, unit)| (1_u64 << (10 * n), unit));
    let (size, unit) = steps.rev().find(|(size, _)| count >= *size).unwrap_or((1, &"B"));
    // Whole units are exact enough from ten on; below, there is one more digit, cut off and not rounded.
    let whole = count / size;
    let tenths = count % size * 10 / size;
    if whole >= 10 || size == 1 { format!("{whole} {unit}") } else { format!("{whole}.{tenths} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_wire::admin::v1::{Node, Role};

    fn member(node_id: u64, status: Option<StatusResponse>) -> MemberOverview {
        let node = Some(Node { node_id, name: format!("node-{node_id}"), ..Node::default() });
        let error = if status.is_none() { "connection refused".to_owned() } else { String::new() };
        MemberOverview { node, voter: true, status, error, lag: Some(3), ..MemberOverview::default() }
    }

    fn ready(role: Role) -> StatusResponse {
        StatusResponse { role: role.into(), ready: true, leader_age_ms: Some(65_000), ..StatusResponse::default() }
    }

    fn overview(members: Vec<MemberOverview>, quorum: Quorum, leader_node_id: u64) -> OverviewResponse {
        let quorum = Some(quorum);
        OverviewResponse { members, quorum, leader_node_id, asked_node_id: 1, term: 4, ..OverviewResponse::default() }
    }

    fn text(lines: &[ScreenLine]) -> String {
        lines.iter().map(|line| format!("{:?} {}\n", line.tone, line.text)).collect()
    }

    #[test]
    fn an_unreachable_member_stands_in_its_row_and_below_with_the_reason() {
        let members =
            vec![member(1, Some(ready(Role::Leader))), member(2, Some(ready(Role::Follower))), member(3, None)];
        let quorum = Quorum { voters: 3, healthy: 2, needed: 2, held: true, millis_since_ack: Some(12) };
        let shown = text(&overview_lines(&overview(members, quorum, 1), "now"));
        for line in [
            "Plain leader: node-1 for 65 s, term 4",
            "Bad quorum held: 2 of 3 voters healthy, 2 needed; last acknowledged 12 ms ago: losing one more voter stops writes",
            "Bad node-3  unreachable  -      3    -",
            "Bad node-3: connection refused",
        ] {
            assert!(shown.contains(&format!("{line}\n")), "{line:?} is not in\n{shown}");
        }
    }

    #[test]
    fn a_lost_leader_and_quorum_are_said_first() {
        let quorum = Quorum { voters: 3, healthy: 1, needed: 2, held: false, millis_since_ack: None };
        let shown = overview_lines(&overview(vec![member(1, Some(ready(Role::Follower)))], quorum, 0), "now");
        assert_eq!(shown[1], ScreenLine::new(LineTone::Bad, "no known leader (term 4): writes are waiting"));
        assert_eq!(shown[2], ScreenLine::new(LineTone::Bad, "NO QUORUM: 1 of 3 voters healthy, 2 needed"));
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(
            [0, 1023, 1024, 1536, 10 << 20, 3 << 40].map(format_bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 MiB", "3.0 TiB"]
        );
        assert_eq!(
            [7, 90_000, 600_000, 86_400_000, 864_000_000].map(format_age),
            ["7 ms", "90 s", "10 min", "24 h", "10 d"]
        );
    }
}
