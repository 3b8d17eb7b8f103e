use crate::observed::{AdminStatus, RaftMembership, RaftNode, RaftRole, ReplicationProgress};
use quorate_wire::admin::v1 as proto;
use std::time::Duration;

/// Converts a status that the admin API sent `age` ago.
pub(crate) fn from_proto(status: &proto::StatusResponse, age: Duration) -> AdminStatus {
    let identity = status.identity.clone().unwrap_or_default();
    let millis = |millis: u64| Duration::from_millis(millis).saturating_add(age);
    AdminStatus {
        node: node_from_proto(identity.node.as_ref(), identity.node_id),
        cluster_id: Some(identity.cluster_id).filter(|id| !id.is_empty()),
        server_name: identity.server_name,
        version: identity.version,
        empty: identity.empty,
        role: role_from_proto(status.role()),
        term: status.term,
        leader: status.leader_node_id,
        membership: status.membership.as_ref().map(membership_from_proto).unwrap_or_default(),
        quorum_ack: status.millis_since_quorum_ack.map(millis),
        progress: status
            .progress
            .iter()
            .map(|peer| {
                (
                    peer.node_id,
                    ReplicationProgress {
                        matched: peer.matched_index,
                        lag: peer.lag,
                        contact: peer.millis_since_contact.map(millis),
                    },
                )
            })
            .collect(),
        ready: status.ready,
        not_ready_reason: status.not_ready_reason.clone(),
        storage_short: status.storage_short,
    }
}

fn role_from_proto(role: proto::Role) -> RaftRole {
    match role {
        proto::Role::Leader => RaftRole::Leader,
        proto::Role::Follower => RaftRole::Follower,
        proto::Role::Candidate => RaftRole::Candidate,
        proto::Role::Learner => RaftRole::Learner,
        proto::Role::Unspecified => RaftRole::Unknown,
    }
}

fn membership_from_proto(membership: &proto::Membership) -> RaftMembership {
    RaftMembership {
        // A node that belongs to no cluster has one voter set, which is empty.
        voter_sets: membership
            .voter_sets
            .iter()
            .filter(|set| !set.node_ids.is_empty())
            .map(|set| set.node_ids.iter().copied().collect())
            .collect(),
        learners: membership.learners.iter().copied().collect(),
        nodes: membership
            .nodes
            .iter()
            .map(|node| (node.node_id, self::node_from_proto(Some(node), node.node_id)))
            .collect(),
    }
}

fn node_from_proto(node: Option<&proto::Node>, id: u64) -> RaftNode {
    let node = node.cloned().unwrap_or_default();
    RaftNode { id, peer_address: node.peer_address, client_address: node.client_address, name: node.name }
}

/// Converts a node to its form in the admin API.
#[must_use]
pub fn to_proto(node: &RaftNode) -> proto::Node {
    proto::Node {
        node_id: node.id,
        peer_address: node.peer_address.clone(),
        client_address: node.client_address.clone(),
        name: node.name.clone(),
    }
}

/// Returns `true` if the difference is worth a reconcile. Lags and ages change all the time; they are read when
/// something else triggers a reconcile.
pub(crate) fn warrants_reconcile(one: &AdminStatus, two: &AdminStatus) -> bool {
    let essence = |answer: &AdminStatus| {
        (
            answer.node.id,
            answer.cluster_id.clone(),
            answer.empty,
            answer.role,
            answer.term,
            answer.leader,
            answer.membership.clone(),
            answer.ready,
            answer.storage_short,
            // Only whether it is recent, because the age is another one in every message.
            answer.quorum_ack.is_some_and(|age| age < Duration::from_secs(1)),
        )
    };
    essence(one) != essence(two)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_the_message_counts() {
        let status = proto::StatusResponse { millis_since_quorum_ack: Some(20), ..Default::default() };
        let answer = from_proto(&status, Duration::from_millis(30));
        assert_eq!(answer.quorum_ack, Some(Duration::from_millis(50)));
    }

    #[test]
    fn no_cluster_is_none_and_not_an_empty_name() {
        assert_eq!(from_proto(&proto::StatusResponse::default(), Duration::ZERO).cluster_id, None);
    }

    #[test]
    fn lag_alone_calls_nobody_but_a_new_term_does() {
        let one = AdminStatus { term: 1, ..AdminStatus::default() };
        let lagging = AdminStatus {
            progress: [(1, ReplicationProgress { lag: 5, ..ReplicationProgress::default() })].into(),
            ..one.clone()
        };
        assert!(!warrants_reconcile(&one, &lagging));
        assert!(warrants_reconcile(&one, &AdminStatus { term: 2, ..one.clone() }));
    }
}
