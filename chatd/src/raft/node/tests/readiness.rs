//! Readiness that is withdrawn: a pod that cannot serve gets no clients while others can.

use super::{
    chat::room,
    harness::{Cluster, Setup},
};
use crate::raft::cluster::NodeReadiness;

#[test]
fn the_last_of_three_withdraws_and_is_ready_again_with_a_second() {
    let mut cluster = Cluster::started(3, Setup::default());
    let last = cluster.leader();
    room(&cluster.nodes[last], "alice");
    let others: Vec<usize> = (0..3).filter(|place| *place != last).collect();
    for place in &others {
        cluster.kill(*place);
    }
    cluster.wait(last, "withdrawn", |status| status.readiness == NodeReadiness::CutOff);
    cluster.start(others[0]);
    cluster.wait(last, "ready again", |status| status.readiness == NodeReadiness::Ready);
    cluster.wait(others[0], "ready", |status| status.readiness == NodeReadiness::Ready);
}

#[test]
fn a_pod_that_restarts_without_a_majority_is_not_ready() {
    let mut cluster = Cluster::started(3, Setup::default());
    room(&cluster.nodes[0], "alice");
    for place in 0..3 {
        cluster.kill(place);
    }
    cluster.start(0);
    let term = cluster.nodes[0].status().term;
    // The term does not measure time, as pre-votes do not raise it. The loop lasts several elections, as openraft
    // counts time.
    for _ in 0..1500 {
        let status = cluster.nodes[0].status();
        assert_eq!(status.readiness, NodeReadiness::CatchingUp, "in term {} after {term}", status.term);
        super::harness::breathe();
    }
    cluster.start(1);
    cluster.wait(0, "ready", |status| status.readiness == NodeReadiness::Ready);
}

#[test]
fn a_pod_that_is_cut_off_withdraws_while_the_others_stay() {
    let cluster = Cluster::started(3, Setup::default());
    let (leader, deaf) = (cluster.leader(), cluster.follower());
    cluster.nodes[deaf].proxy.cut();
    cluster.wait(deaf, "withdrawn", |status| status.readiness == NodeReadiness::CutOff);
    for place in (0..3).filter(|place| *place != deaf) {
        assert_eq!(cluster.nodes[place].status().readiness, NodeReadiness::Ready);
    }
    cluster.nodes[deaf].proxy.heal();
    cluster.wait(deaf, "ready again", |status| status.readiness == NodeReadiness::Ready);
    assert!(cluster.nodes[leader].status().leads());
}
