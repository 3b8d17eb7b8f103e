//! Proposals that meet no leader. The tests of `raft::node` cover whole streams.

use super::*;
use crate::raft::node::tests::{
    chat::{accepted, message, messages, room},
    harness::{Cluster, Setup},
};
use std::time::Duration;

type JobAnswer = oneshot::Receiver<Result<Outcome, ProposeError>>;

fn job(envelope: Envelope) -> (OrderedJob, JobAnswer) {
    let (answer, receiver) = oneshot::channel();
    let start = Instant::now();
    let deadline = start + Duration::from_secs(20);
    (
        OrderedJob { envelope, start, deadline, doubt: super::super::OutcomeDoubt::default(), span: None, answer },
        receiver,
    )
}

#[test]
fn a_proposal_that_met_no_leader_is_applied_before_the_next_one_that_met_one() {
    let cluster = Cluster::started(1, Setup::default());
    let room_id = room(&cluster.nodes[0], "alice");
    let of_room = room_id.clone();
    let outcomes = cluster.nodes[0].run(|node| async move {
        let inner = node.proposer.inner.clone();
        let (leadership, elect) = inner.leadership.without_leader();
        let mut pipeline = OrderedPipeline {
            inner,
            leadership,
            jobs: None,
            in_flight: 2,
            flying: FuturesOrdered::new(),
            waiting: VecDeque::new(),
            sequence: Sequence { id: 1, number: 0 },
            pause: FIRST_PAUSE,
        };
        let (first, first_answer) = job(message("alice", &of_room, "first"));
        let (second, second_answer) = job(message("alice", &of_room, "second"));
        assert!(pipeline.send(first).is_none(), "taken although there is no leader");
        elect();
        assert!(pipeline.send(second).is_none(), "sent to the leader");
        pipeline.run().await;
        [first_answer.await, second_answer.await]
    });
    for outcome in outcomes {
        accepted(&outcome.expect("answered").expect("applied"));
    }
    assert_eq!(messages(&cluster.nodes[0], "alice", &room_id), ["first", "second"]);
}
