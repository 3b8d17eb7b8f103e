//! Conversions between this pod's own types and `quorate.admin.v1`.

use crate::raft::{
    cluster::{ClusterMember, MembershipView, NodeReadiness, NodeRole, NodeStatus, PeerProgress},
    membership::{AdminError, ClusterAdmin},
};
use quorate_wire::admin::v1 as pb;
use quorate_wire::whole_millis;
use std::time::Duration;
use tonic::Status;

/// Metadata key of a refusal that carries the leader's node id, as a decimal string, so that a caller need not look for
/// the leader.
pub(super) const LEADER_KEY: &str = "quorate-leader-node-id";

pub(super) fn admin_error_to_status(error: AdminError) -> Status {
    let message = error.to_string();
    match error {
        AdminError::NotLeader { leader } => {
            // Not UNAVAILABLE: repeating the call here is in vain, and the metadata says where to go.
            let mut status = Status::failed_precondition(message);
            if let Some(id) = leader
                && let Ok(id) = id.to_string().parse()
            {
                status.metadata_mut().insert(LEADER_KEY, id);
            }
            status
        }
        AdminError::Invalid(_) => Status::invalid_argument(message),
        AdminError::Refused(_) => Status::failed_precondition(message),
        // ABORTED: the caller has to read the status again, and decide anew.
        AdminError::Conflict(_) => Status::aborted(message),
        AdminError::TimedOut { .. } => Status::deadline_exceeded(message),
        AdminError::Stopped(_) => Status::unavailable(message),
    }
}

pub(super) fn member_from_pb(node: pb::Node) -> ClusterMember {
    let pb::Node { node_id, peer_address, client_address, name } = node;
    ClusterMember { node_id, peer_address, client_address, name }
}

pub(super) fn member_to_pb(member: &ClusterMember) -> pb::Node {
    let ClusterMember { node_id, peer_address, client_address, name } = member.clone();
    pb::Node { node_id, peer_address, client_address, name }
}

pub(super) fn identity_to_pb(
    administration: &ClusterAdmin,
    own: &ClusterMember,
    version: &str,
) -> pb::IdentityResponse {
    let identity = administration.identity();
    let cluster_id = identity.cluster_id();
    pb::IdentityResponse {
        node_id: identity.node_id(),
        node: Some(member_to_pb(own)),
        empty: cluster_id.is_none() && identity.is_empty(),
        cluster_id: cluster_id.as_deref().unwrap_or_default().to_owned(),
        server_name: administration.server_name().to_owned(),
        version: version.to_owned(),
    }
}

pub(super) fn membership_to_pb(membership: &MembershipView) -> pb::Membership {
    let set = |ids: &std::collections::BTreeSet<u64>| pb::VoterSet { node_ids: ids.iter().copied().collect() };
    pb::Membership {
        voter_sets: membership.voter_sets.iter().map(set).collect(),
        learners: membership.learners.iter().copied().collect(),
        nodes: membership.members.iter().map(member_to_pb).collect(),
        log_index: membership.log_index,
    }
}

fn age_millis(age: Duration) -> u64 {
    whole_millis(age)
}

fn progress_to_pb(progress: &PeerProgress) -> pb::PeerProgress {
    pb::PeerProgress {
        node_id: progress.node_id,
        matched_index: progress.matched_index.unwrap_or(0),
        lag: progress.lag,
        millis_since_contact: progress.contact_age.map(age_millis),
    }
}

/// Converts all that Raft knows; the caller adds what the process knows.
pub(super) fn status_to_pb(status: &NodeStatus) -> pb::StatusResponse {
    let role = match status.role {
        NodeRole::Leader => pb::Role::Leader,
        NodeRole::Follower => pb::Role::Follower,
        NodeRole::Candidate => pb::Role::Candidate,
        NodeRole::Learner => pb::Role::Learner,
    };
    pb::StatusResponse {
        role: role.into(),
        term: status.term,
        leader_node_id: status.leader.unwrap_or(0),
        leader_age_ms: status.leader_age.map(age_millis),
        membership: Some(membership_to_pb(&status.membership)),
        last_log_index: status.last_log_index,
        committed_index: status.committed_index,
        applied_index: status.applied_index,
        snapshot_index: status.snapshot_index,
        purged_index: status.purged_index,
        millis_since_quorum_ack: status.quorum_ack_age.map(age_millis),
        millis_since_leader_contact: status.leader_contact_age.map(age_millis),
        progress: status.progress.iter().map(progress_to_pb).collect(),
        ready: status.readiness == NodeReadiness::Ready,
        not_ready_reason: status.readiness.reason(),
        clock_offset_ms: status.time.offset_ms,
        time_confirmed: status.time.confirmed,
        log_time_ahead_ms: status.time.log_ahead_ms,
        format_level: status.levels.in_force,
        known_format_level: status.levels.known,
        ..pb::StatusResponse::default()
    }
}
