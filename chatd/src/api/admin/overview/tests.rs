use super::*;

fn node(node_id: u64) -> pb::Node {
    pb::Node { node_id, name: format!("node-{node_id}"), ..pb::Node::default() }
}

fn membership_of(voters: &[u64]) -> pb::Membership {
    let set = pb::VoterSet { node_ids: voters.to_vec() };
    pb::Membership { voter_sets: vec![set], nodes: voters.iter().map(|id| node(*id)).collect(), ..Default::default() }
}

fn status(leader_node_id: u64, term: u64, last_log_index: u64) -> pb::StatusResponse {
    let membership = Some(membership_of(&[1, 2, 3]));
    pb::StatusResponse { leader_node_id, term, last_log_index, membership, ready: true, ..Default::default() }
}

/// Status of node 1, which leads and knows how far the others are.
fn leader() -> pb::StatusResponse {
    let progress = |node_id, lag| pb::PeerProgress { node_id, lag, millis_since_contact: Some(7), matched_index: 0 };
    pb::StatusResponse {
        millis_since_quorum_ack: Some(5),
        progress: vec![progress(2, 0), progress(3, 40)],
        ..status(1, 4, 100)
    }
}

fn answered(node_id: u64, status: pb::StatusResponse) -> MemberReply {
    MemberReply { node: node(node_id), answer: Ok(status), round_trip: Some(Duration::from_millis(2)) }
}

fn silent(node_id: u64) -> MemberReply {
    MemberReply { node: node(node_id), answer: Err("connection refused".into()), round_trip: None }
}

fn quorum_of(overview: &pb::OverviewResponse) -> (u32, u32, u32, bool) {
    let quorum = overview.quorum.unwrap();
    (quorum.voters, quorum.healthy, quorum.needed, quorum.held)
}

#[test]
fn a_member_that_does_not_answer_stands_there_with_its_lag_as_the_leader_knows_it() {
    let overview = assemble_overview(2, vec![answered(2, status(1, 4, 100)), answered(1, leader()), silent(3)]);
    assert_eq!((overview.leader_node_id, overview.term, quorum_of(&overview)), (1, 4, (3, 2, 2, true)));
    let names: Vec<_> = overview.members.iter().map(|m| m.node.as_ref().unwrap().name.as_str()).collect();
    assert_eq!(names, ["node-1", "node-2", "node-3"]);
    let away = &overview.members[2];
    assert_eq!((away.status.is_none(), away.error.as_str(), away.lag), (true, "connection refused", Some(40)));
    let leading = &overview.members[0];
    assert_eq!((leading.lag, leading.millis_since_contact), (Some(0), None));
}

#[test]
fn without_a_leader_the_lag_is_against_the_longest_log_and_no_quorum_is_held() {
    let overview = assemble_overview(2, vec![answered(2, status(0, 5, 100)), answered(3, status(0, 4, 90)), silent(1)]);
    assert_eq!((overview.leader_node_id, overview.term, quorum_of(&overview)), (0, 5, (3, 2, 2, false)));
    let lags: Vec<_> = overview.members.iter().map(|m| m.lag).collect();
    assert_eq!(lags, [None, Some(0), Some(10)]);
}

#[test]
fn a_leader_that_only_the_others_reach_holds_its_quorum() {
    let overview =
        assemble_overview(2, vec![answered(2, status(1, 4, 100)), answered(3, status(0, 4, 100)), silent(1)]);
    assert_eq!((overview.leader_node_id, quorum_of(&overview)), (1, (3, 2, 2, true)));
    let alone = assemble_overview(2, vec![answered(2, status(1, 4, 100)), silent(3), silent(1)]);
    assert_eq!(quorum_of(&alone), (3, 1, 2, true), "itself and the leader it heard within a second are two");
    let five = |s: pb::StatusResponse| pb::StatusResponse { membership: Some(membership_of(&[1, 2, 3, 4, 5])), ..s };
    let minority = vec![answered(2, five(status(1, 4, 9))), silent(1), silent(3), silent(4), silent(5)];
    assert_eq!(quorum_of(&assemble_overview(2, minority)), (5, 1, 3, false));
}

#[test]
fn a_leader_of_an_older_term_does_not_count() {
    let old = pb::StatusResponse { millis_since_quorum_ack: Some(900), ..status(3, 3, 80) };
    let overview = assemble_overview(3, vec![answered(3, old), answered(1, leader()), answered(2, status(1, 4, 100))]);
    assert_eq!((overview.leader_node_id, overview.quorum.unwrap().millis_since_ack), (1, Some(5)));
}

#[test]
fn a_pod_that_belongs_to_no_cluster_names_itself() {
    let overview = assemble_overview(9, vec![answered(9, pb::StatusResponse::default())]);
    assert_eq!((overview.members.len(), quorum_of(&overview)), (1, (0, 0, 1, false)));
}
