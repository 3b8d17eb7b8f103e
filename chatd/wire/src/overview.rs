//! Overview of a cluster as a JSON document: the answer of `/_quorate/status`, and the output of `chatctl cluster
//! status --watch --output json`, one line each time. Node ids are strings, because JSON numbers lose bits.

use crate::admin::v1 as pb;
use serde_json::{Map, Value, json};

/// Returns the document: the figures of the cluster, and an object for each of its `members`. A member that did not
/// answer has an `error` and what the asked node knows about it, but none of the figures that only the member itself
/// can tell.
#[must_use]
pub fn overview_json(overview: &pb::OverviewResponse) -> Value {
    let pb::OverviewResponse { asked_node_id, cluster_id, server_name, leader_node_id, term, quorum, members } =
        overview;
    let named = |id: u64| (id != 0).then(|| json!({ "node_id": id.to_string(), "name": name_of(overview, id) }));
    let pb::Quorum { voters, healthy, needed, held, millis_since_ack } = quorum.unwrap_or_default();
    json!({
        "asked": named(*asked_node_id),
        "cluster_id": cluster_id,
        "server_name": server_name,
        "leader": named(*leader_node_id),
        "term": term,
        "quorum": {
            "voters": voters,
            "healthy": healthy,
            "needed": needed,
            "held": held,
            "millis_since_ack": millis_since_ack,
        },
        "writes_per_second": writes_per_second(overview),
        "members": members.iter().map(|one| member_json(one, *leader_node_id)).collect::<Vec<_>>(),
    })
}

/// Returns the name of a member; `None` if no member has this id.
#[must_use]
pub fn name_of(overview: &pb::OverviewResponse, node_id: u64) -> Option<&str> {
    let mut nodes = overview.members.iter().filter_map(|member| member.node.as_ref());
    nodes.find(|node| node.node_id == node_id).map(|node| node.name.as_str())
}

/// Returns the writes that were acknowledged to clients, per second, summed over all members that answered.
#[must_use]
pub fn writes_per_second(overview: &pb::OverviewResponse) -> f64 {
    let answered = overview.members.iter().filter_map(|member| member.status.as_ref());
    answered.map(|status| status.writes_per_second).sum()
}

/// Returns the word for a role.
#[must_use]
pub fn role_name(role: pb::Role) -> &'static str {
    match role {
        pb::Role::Unspecified => "unknown",
        pb::Role::Leader => "leader",
        pb::Role::Follower => "follower",
        pb::Role::Candidate => "candidate",
        pb::Role::Learner => "learner",
    }
}

fn member_json(member: &pb::MemberOverview, leader: u64) -> Value {
    let node = member.node.clone().unwrap_or_default();
    let mut document = json!({
        "node_id": node.node_id.to_string(),
        "name": node.name,
        "peer_address": node.peer_address,
        "client_address": node.client_address,
        "voter": member.voter,
        "leader": node.node_id == leader && leader != 0,
        "reachable": member.status.is_some(),
        "error": (!member.error.is_empty()).then_some(&member.error),
        "lag": member.lag,
        "millis_since_contact": member.millis_since_contact,
        "round_trip_ms": member.round_trip_ms,
    });
    if let (Some(fields), Some(told)) = (document.as_object_mut(), &member.status) {
        fields.extend(status_fields(told));
    }
    document
}

/// Returns the figures that only the member itself can tell.
fn status_fields(status: &pb::StatusResponse) -> Map<String, Value> {
    let document = json!({
        "role": role_name(status.role()),
        "ready": status.ready,
        "not_ready_reason": status.not_ready_reason,
        "term": status.term,
        "last_log_index": status.last_log_index,
        "committed_index": status.committed_index,
        "applied_index": status.applied_index,
        "snapshot_index": status.snapshot_index,
        "purged_index": status.purged_index,
        "leader_age_ms": status.leader_age_ms,
        "client_connections": status.client_connections,
        "writes_per_second": status.writes_per_second,
        "write_ms": status.write_ms,
        "version": status.identity.as_ref().map(|identity| identity.version.as_str()),
        "storage_used_bytes": status.storage_used_bytes,
        "storage_free_bytes": status.storage_free_bytes,
        "storage_total_bytes": status.storage_total_bytes,
        "storage_reserve_bytes": status.storage_reserve_bytes,
        "storage_short": status.storage_short,
        "writes_refused": status.writes_refused,
        "memory_bytes": status.memory_bytes,
    });
    match document {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_member_has_no_figures_of_its_own_and_no_leader_is_null() {
        let node = pb::Node { node_id: 1 << 62, name: "a".into(), ..pb::Node::default() };
        let away = pb::MemberOverview { node: Some(node), error: "no answer".into(), ..pb::MemberOverview::default() };
        let document = overview_json(&pb::OverviewResponse { members: vec![away], ..pb::OverviewResponse::default() });
        let member = &document["members"][0];
        assert_eq!((&document["leader"], &member["node_id"]), (&Value::Null, &json!("4611686018427387904")));
        assert_eq!((&member["reachable"], &member["error"]), (&json!(false), &json!("no answer")));
        assert!(member.get("memory_bytes").is_none());
    }
}
