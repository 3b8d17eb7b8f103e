//! State of the cluster as documents and tables. Node ids are strings in JSON, because JSON numbers lose bits.

use quorate_wire::{
    admin::v1::{Membership, Node, StatusResponse},
    overview::role_name,
};
use serde_json::{Value, json};

/// Formats a node id; `None` for 0, which means that no node is known.
pub(super) fn node_id(id: u64) -> Option<String> {
    (id != 0).then(|| id.to_string())
}

/// Returns the name of a node, or its id if the name is unknown.
pub(super) fn name_of(membership: Option<&Membership>, id: u64) -> String {
    let node = membership.and_then(|membership| membership.nodes.iter().find(|node| node.node_id == id));
    node.map(|node| node.name.clone()).filter(|name| !name.is_empty()).unwrap_or_else(|| id.to_string())
}

/// Returns the role of a member in votes: "voter", "learner", or, in a joint configuration, "joining" or "leaving".
pub(super) fn voting_role(membership: &Membership, id: u64) -> &'static str {
    let within: Vec<bool> = membership.voter_sets.iter().map(|set| set.node_ids.contains(&id)).collect();
    match within.as_slice() {
        sets if sets.iter().all(|within| *within) && !sets.is_empty() => "voter",
        sets if !sets.iter().any(|within| *within) => "learner",
        [true, ..] => "leaving",
        _ => "joining",
    }
}

/// Returns one member as a document.
pub(super) fn node_document(status: &StatusResponse, membership: &Membership, node: &Node) -> Value {
    let progress = status.progress.iter().find(|progress| progress.node_id == node.node_id);
    json!({
        "node_id": node.node_id.to_string(),
        "name": node.name,
        "peer_address": node.peer_address,
        "client_address": node.client_address,
        "vote": voting_role(membership, node.node_id),
        "leader": node.node_id == status.leader_node_id && status.leader_node_id != 0,
        "lag": progress.map(|progress| progress.lag),
        "millis_since_contact": progress.and_then(|progress| progress.millis_since_contact),
    })
}

/// Returns a document of what one server says about itself and the cluster.
pub(super) fn status_document(status: &StatusResponse) -> Value {
    let identity = status.identity.clone().unwrap_or_default();
    let membership = status.membership.clone().unwrap_or_default();
    let sets = membership.voter_sets.iter();
    let voters: Vec<Vec<String>> = sets.map(|set| set.node_ids.iter().map(u64::to_string).collect()).collect();
    json!({
        "node_id": identity.node_id.to_string(),
        "name": identity.node.map(|node| node.name).unwrap_or_default(),
        "cluster_id": identity.cluster_id,
        "server_name": identity.server_name,
        "version": identity.version,
        "role": role_name(status.role()),
        "term": status.term,
        "leader_node_id": node_id(status.leader_node_id),
        "voters": voters,
        "learners": membership.learners.iter().map(u64::to_string).collect::<Vec<_>>(),
        "members": membership.nodes.iter().map(|node| node_document(status, &membership, node)).collect::<Vec<_>>(),
        "last_log_index": status.last_log_index,
        "committed_index": status.committed_index,
        "applied_index": status.applied_index,
        "snapshot_index": status.snapshot_index,
        "purged_index": status.purged_index,
        "millis_since_quorum_ack": status.millis_since_quorum_ack,
        "millis_since_leader_contact": status.millis_since_leader_contact,
        "leader_age_ms": status.leader_age_ms,
        "ready": status.ready,
        "not_ready_reason": status.not_ready_reason,
        "clock_offset_ms": status.clock_offset_ms,
        "time_confirmed": status.time_confirmed,
        "log_time_ahead_ms": status.log_time_ahead_ms,
        "format_level": status.format_level,
        "known_format_level": status.known_format_level,
        "client_connections": status.client_connections,
        "storage_used_bytes": status.storage_used_bytes,
        "storage_free_bytes": status.storage_free_bytes,
        "storage_total_bytes": status.storage_total_bytes,
        "storage_reserve_bytes": status.storage_reserve_bytes,
        "storage_short": status.storage_short,
        "writes_refused": status.writes_refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_wire::admin::v1::VoterSet;

    #[test]
    fn a_joint_configuration_shows_who_comes_and_who_goes() {
        let set = |ids: &[u64]| VoterSet { node_ids: ids.to_vec() };
        let membership = Membership { voter_sets: vec![set(&[1, 2]), set(&[2, 3])], ..Membership::default() };
        assert_eq!([1, 2, 3, 4].map(|id| voting_role(&membership, id)), ["leaving", "voter", "joining", "learner"]);
    }

    #[test]
    fn node_ids_are_strings_and_no_leader_is_null() {
        let document = status_document(&StatusResponse::default());
        assert_eq!((&document["node_id"], &document["leader_node_id"]), (&json!("0"), &Value::Null));
    }
}
