use super::object_meta;
use crate::{
    cluster::ValidCluster,
    names::{self, PORT_GRPC, PORT_HTTP, PORT_PEER},
};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use quorate_crd::label;

/// Builds the Service `X` for clients. Any ready pod serves any user.
pub(super) fn client_service(cluster: &ValidCluster) -> Service {
    let mut metadata = object_meta(cluster, cluster.name.clone());
    let annotations = &cluster.spec.service.annotations;
    metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(cluster.spec.service.r#type.as_str().to_owned()),
            selector: Some(names::selector_labels(&cluster.name)),
            ports: Some(vec![http_port(), grpc_port()]),
            ip_family_policy: family_policy(),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Builds the headless Service `X-peers`, which gives pods their DNS names. Pods that are not ready are included,
/// because a pod must be found before it can become ready.
pub(super) fn peer_service(cluster: &ValidCluster) -> Service {
    Service {
        metadata: object_meta(cluster, names::peer_service_name(&cluster.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(names::selector_labels(&cluster.name)),
            ports: Some(vec![grpc_port(), service_port("peer", PORT_PEER, None)]),
            ip_family_policy: family_policy(),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Builds the Service `X-leader` for people, on a best-effort basis. The Service follows the role label, so for a
/// moment after an election it routes to the former leader, which serves just as well.
pub(super) fn leader_service(cluster: &ValidCluster) -> Service {
    let mut selector = names::selector_labels(&cluster.name);
    selector.insert(label::ROLE.to_owned(), "leader".to_owned());
    Service {
        metadata: object_meta(cluster, names::leader_service_name(&cluster.name)),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector),
            ports: Some(vec![http_port(), grpc_port()]),
            ip_family_policy: family_policy(),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Returns the IP family policy: both families where the cluster has both, or else the one that it has.
fn family_policy() -> Option<String> {
    Some("PreferDualStack".to_owned())
}

fn http_port() -> ServicePort {
    service_port("http", PORT_HTTP, Some("http"))
}

fn grpc_port() -> ServicePort {
    // Plain HTTP/2: https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol
    service_port("grpc", PORT_GRPC, Some("kubernetes.io/h2c"))
}

fn service_port(name: &str, port: i32, protocol: Option<&str>) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        // Set although it is the default: server-side apply tells ports apart by port and protocol.
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        app_protocol: protocol.map(str::to_owned),
        node_port: None,
    }
}
