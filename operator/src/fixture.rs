//! Objects that tests begin with.

use crate::cluster::Cluster;
use quorate_crd::ChatCluster;
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

pub(crate) fn cluster() -> Cluster {
    Cluster::validate(&chat_cluster()).expect("a valid object")
}
