//! Fixtures: objects that tests start from.

use crate::{
    cluster::ValidCluster,
    observed::{LeaderContact, ObservedState, PeerTls},
};
use quorate_crd::{ChatCluster, ChatClusterStatus};
use serde_json::json;

pub(crate) fn chat_cluster() -> ChatCluster {
    serde_json::from_value(json!({
        "apiVersion": "chat.quorate.dev/v1alpha1",
        "kind": "ChatCluster",
        "metadata": {"name": "team", "namespace": "chat", "uid": "cr-uid", "generation": 1},
        "spec": {
            "serverName": "chat.example.org",
            "image": "localhost/quorate:dev",
            "storage": {"size": "1Gi"},
        },
    }))
    .expect("a valid object")
}

pub(crate) fn cluster() -> ValidCluster {
    ValidCluster::validate(&chat_cluster()).expect("a valid object")
}

pub(crate) fn nothing_seen() -> ObservedState {
    ObservedState {
        now: "2026-01-01T00:00:00.5Z".parse().expect("a time"),
        fresh_cluster_id: String::new(),
        marker: None,
        stateful_set: None,
        slots: Vec::new(),
        beyond: Vec::new(),
        conflicts: Vec::new(),
        configs: Vec::new(),
        peer_tls: PeerTls::Present,
        sight: LeaderContact::default(),
        ownership: Vec::new(),
        previous: ChatClusterStatus::default(),
    }
}
