//! Names of a cluster's objects, labels and ports. They are contracts: people and dashboards rely on them.

use quorate_crd::label;
use std::collections::BTreeMap;

/// Field manager of all writes, and value of the `managed-by` label.
pub const MANAGER: &str = "quorate-operator";
/// Name of the container in each pod.
pub const CONTAINER: &str = "chatd";
/// Name of the volume and of the claim template of each pod.
pub const DATA: &str = "data";
/// DNS name in every peer certificate. All clients verify this name, so that pods can be dialled by address.
pub const PEER_DOMAIN: &str = "quorate-peer";

/// Port of the Matrix API and the web client.
pub const PORT_HTTP: i32 = 8008;
/// Port of the gRPC API for clients.
pub const PORT_GRPC: i32 = 7400;
/// Port of the peer and admin gRPC APIs, with mutual TLS.
pub const PORT_PEER: i32 = 7401;
/// Port of `/metrics`, `/healthz` and `/readyz`.
pub const PORT_METRICS: i32 = 9400;

/// Returns the name of the headless Service that gives pods their DNS names, ready or not.
#[must_use]
pub fn peer_service_name(cluster: &str) -> String {
    format!("{cluster}-peers")
}

/// Returns the name of the Service for people who want to reach the leader.
#[must_use]
pub fn leader_service_name(cluster: &str) -> String {
    format!("{cluster}-leader")
}

/// Returns the name of the marker, the ConfigMap that proves that the cluster has been initialized and that outlives
/// the ChatCluster.
#[must_use]
pub fn marker_name(cluster: &str) -> String {
    format!("{cluster}-cluster")
}

/// Returns the name of the Secret with the key that signs peer certificates. Only the operator reads it.
#[must_use]
pub fn peer_ca(cluster: &str) -> String {
    format!("{cluster}-peer-ca")
}

/// Returns the name of the Secret with the peer certificate that all pods share.
#[must_use]
pub fn peer_tls(cluster: &str) -> String {
    format!("{cluster}-peer-tls")
}

/// Returns the name of the Secret with an administrator's certificate, for the operator and for users of `chatctl`.
#[must_use]
pub fn admin_tls(cluster: &str) -> String {
    format!("{cluster}-admin-tls")
}

/// Returns the name of the cluster in its certificates. A cluster recreated under the same name keeps it, because its
/// Secrets may outlive the ChatCluster.
#[must_use]
pub fn certificate_name(namespace: &str, cluster: &str) -> String {
    format!("{namespace}.{cluster}")
}

/// Returns the name of the pod with this ordinal.
#[must_use]
pub fn pod_name(cluster: &str, ordinal: i32) -> String {
    format!("{cluster}-{ordinal}")
}

/// Returns the name of the claim of the pod with this ordinal.
#[must_use]
pub fn claim_name(cluster: &str, ordinal: i32) -> String {
    format!("{DATA}-{cluster}-{ordinal}")
}

/// Returns the ordinal in a pod's name, or `None` if the pod does not belong to the cluster.
#[must_use]
pub fn pod_ordinal(cluster: &str, pod: &str) -> Option<i32> {
    // `team-a-0` is no pod of `team`, because what is left is not a number.
    pod.strip_prefix(cluster)?.strip_prefix('-')?.parse().ok()
}

/// Returns the labels used in selectors, which never change.
#[must_use]
pub fn selector_labels(cluster: &str) -> BTreeMap<String, String> {
    [(label::NAME, "quorate"), (label::INSTANCE, cluster), (label::COMPONENT, "chatd"), (label::POOL, "voters")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Returns the labels that every object of a cluster has.
#[must_use]
pub fn object_labels(cluster: &str) -> BTreeMap<String, String> {
    let mut labels = selector_labels(cluster);
    labels.insert(label::MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// Returns the selector as the API and the scale subresource write it.
#[must_use]
pub fn selector_text(cluster: &str) -> String {
    let parts: Vec<String> =
        selector_labels(cluster).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_read_back() {
        assert_eq!(pod_ordinal("team", "team-2"), Some(2));
        assert_eq!(pod_ordinal("team", "team-x-2"), None);
        assert_eq!(pod_ordinal("team", "teams-2"), None);
    }

    #[test]
    fn claims_are_named_as_the_stateful_set_controller_names_them() {
        assert_eq!(claim_name("team", 0), "data-team-0");
    }
}
