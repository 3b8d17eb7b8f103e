//! What things of a cluster are called. Contracts: people and dashboards rely on these.

use quorate_crd::label;
use std::collections::BTreeMap;

/// Who applies: the field manager and the value of `managed-by`.
pub const MANAGER: &str = "quorate-operator";
/// The container in each pod.
pub const CONTAINER: &str = "chatd";
/// The volume and claim template of each pod.
pub const DATA: &str = "data";
/// The name in every peer certificate; all diallers ask for it, so that addresses may be dialled.
pub const PEER_DOMAIN: &str = "quorate-peer";

/// Matrix API and web client.
pub const PORT_HTTP: i32 = 8008;
/// Client gRPC.
pub const PORT_GRPC: i32 = 7400;
/// Peer and admin gRPC, mutual TLS.
pub const PORT_PEER: i32 = 7401;
/// `/metrics`, `/healthz`, `/readyz`.
pub const PORT_METRICS: i32 = 9400;

/// The headless Service that gives pods their names, ready or not.
#[must_use]
pub fn peers(cluster: &str) -> String {
    format!("{cluster}-peers")
}

/// The Service for people who want to reach the leader.
#[must_use]
pub fn leader(cluster: &str) -> String {
    format!("{cluster}-leader")
}

/// The marker: proof that the cluster has been made, outliving the ChatCluster.
#[must_use]
pub fn marker(cluster: &str) -> String {
    format!("{cluster}-cluster")
}

/// Secret with the key that signs peer certificates. Only the operator reads it.
#[must_use]
pub fn peer_ca(cluster: &str) -> String {
    format!("{cluster}-peer-ca")
}

/// Secret with the peer certificate that all pods share.
#[must_use]
pub fn peer_tls(cluster: &str) -> String {
    format!("{cluster}-peer-tls")
}

/// Secret with an administrator's certificate, for the operator and for people with `chatctl`.
#[must_use]
pub fn admin_tls(cluster: &str) -> String {
    format!("{cluster}-admin-tls")
}

/// What the certificates of a cluster call it. The same when it is made again under its name, as its Secrets may outlive it.
#[must_use]
pub fn certified(namespace: &str, cluster: &str) -> String {
    format!("{namespace}.{cluster}")
}

/// The pod with this ordinal.
#[must_use]
pub fn pod(cluster: &str, ordinal: i32) -> String {
    format!("{cluster}-{ordinal}")
}

/// The claim of the pod with this ordinal.
#[must_use]
pub fn claim(cluster: &str, ordinal: i32) -> String {
    format!("{DATA}-{cluster}-{ordinal}")
}

/// The ordinal in a pod's name, if the pod is of this cluster.
#[must_use]
pub fn ordinal(cluster: &str, pod: &str) -> Option<i32> {
    pod.strip_prefix(cluster)?.strip_prefix('-')?.parse().ok()
}

/// Labels in selectors: they never change.
#[must_use]
pub fn selector(cluster: &str) -> BTreeMap<String, String> {
    [(label::NAME, "quorate"), (label::INSTANCE, cluster), (label::COMPONENT, "chatd"), (label::POOL, "voters")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Labels on every object of a cluster.
#[must_use]
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    let mut labels = selector(cluster);
    labels.insert(label::MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// The selector as the API and the scale subresource write it.
#[must_use]
pub fn selector_text(cluster: &str) -> String {
    let parts: Vec<String> = selector(cluster).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_read_back() {
        assert_eq!(ordinal("team", "team-2"), Some(2));
        assert_eq!(ordinal("team", "team-x-2"), None);
        assert_eq!(ordinal("team", "teams-2"), None);
    }

    #[test]
    fn claims_are_named_as_the_stateful_set_controller_names_them() {
        assert_eq!(claim("team", 0), "data-team-0");
    }
}
