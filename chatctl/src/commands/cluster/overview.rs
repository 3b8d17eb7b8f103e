//! An overview of the cluster as a document: the same that `/_quorate/status` of a server says.

use super::view;
use quorate_wire::admin::v1::{MemberOverview, OverviewResponse, Quorum, StatusResponse};
use serde_json::{Map, Value, json};

/// The document.
pub(super) fn document(overview: &OverviewResponse) -> Value {
    let OverviewResponse { asked_node_id, cluster_id, server_name, leader_node_id, term, quorum, members } = overview;
    let named = |id: u64| (id != 0).then(|| json!({ "node_id": id.to_string(), "name": name_of(overview, id) }));
    let Quorum { voters, healthy, needed, held, millis_since_ack } = quorum.unwrap_or_default();
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
        "members": members.iter().map(|one| member(one, *leader_node_id)).collect::<Vec<_>>(),
    })
}

/// The name of a member, if it is one.
pub(super) fn name_of(overview: &OverviewResponse, id: u64) -> Option<&str> {
    let mut nodes = overview.members.iter().filter_map(|member| member.node.as_ref());
    nodes.find(|node| node.node_id == id).map(|node| node.name.as_str())
}

/// Through all pods that answered.
pub(super) fn writes_per_second(overview: &OverviewResponse) -> f64 {
    let answered = overview.members.iter().filter_map(|member| member.status.as_ref());
    answered.map(|status| status.writes_per_second).sum()
}

fn member(member: &MemberOverview, leader: u64) -> Value {
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
        fields.extend(status(told));
    }
    document
}

/// What only the member itself can tell.
fn status(status: &StatusResponse) -> Map<String, Value> {
    let document = json!({
        "role": view::role(status.role()),
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
        "memory_bytes": status.memory_bytes,
    });
    match document {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
