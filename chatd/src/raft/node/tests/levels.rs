//! Pods of two versions: what the newer one adds is used only once all pods know it.

use super::{
    chat::{accepted, by, register},
    harness::{Cluster, Setup, until},
};
use crate::raft::{cluster::NodeReadiness, propose::ProposeError, read_index::ReadFreshness};
use crate::store::StateStore as _;
use quorate_core::apply::KnownFormat;
use quorate_core::invariant::state_digest;
use quorate_core::proto::log::{Envelope, PutFilter, command::Kind};

/// Two versions, of which the newer one introduced filters.
const OLDER: KnownFormat = KnownFormat { level: 1, level_of: level_with_filters };
const NEWER: KnownFormat = KnownFormat { level: 2, level_of: level_with_filters };

fn level_with_filters(envelope: &Envelope) -> u32 {
    match envelope.command.as_ref().and_then(|command| command.kind.as_ref()) {
        Some(Kind::PutFilter(_)) => 2,
        _ => 1,
    }
}

fn filter(transaction_id: &str) -> Envelope {
    by("alice", transaction_id, Kind::PutFilter(PutFilter { filter: "{}".into(), max_filters: 0 }))
}

fn restart_as(cluster: &mut Cluster, place: usize, format: KnownFormat) {
    cluster.setup.format = Some(format);
    cluster.kill(place);
    cluster.start(place);
    cluster.wait(place, "ready", |status| status.readiness == NodeReadiness::Ready);
}

fn is_too_new<T>(result: &Result<T, ProposeError>) -> bool {
    matches!(result, Err(ProposeError::TooNew { .. }))
}

#[test]
fn what_a_version_adds_is_refused_until_the_last_pod_knows_it_and_then_means_the_same_everywhere() {
    let mut cluster = Cluster::started(3, Setup { format: Some(OLDER), ..Setup::default() });
    accepted(&cluster.nodes[0].propose(register("alice")).expect("applied"));
    for place in [0, 1] {
        restart_as(&mut cluster, place, NEWER);
    }
    // Whoever leads: an older leader refuses what it does not know, a newer one what is not in force.
    for place in [0, 1] {
        let refused = cluster.nodes[place].propose(filter("early"));
        assert!(is_too_new(&refused), "through node {place}: {refused:?}");
    }
    restart_as(&mut cluster, 2, NEWER);
    until("the level is raised", || cluster.nodes[0].propose(filter("early")).is_ok());
    for place in 0..3 {
        accepted(&cluster.nodes[place].propose(filter(&format!("through {place}"))).expect("applied"));
    }
    until("all pods have the same rows", || {
        assert!(cluster.nodes.iter().all(|node| node.read() == ReadFreshness::Linearizable));
        let digests: Vec<_> =
            cluster.nodes.iter().map(|node| state_digest(&node.store().view()).expect("reads")).collect();
        digests.iter().all(|digest| *digest == digests[0])
    });
}
