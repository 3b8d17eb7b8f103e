//! Builder of the pod template.

use crate::{
    build::{
        config::{FILE, config_name},
        secrets::{secret_mount, secret_volume},
    },
    cluster::ValidCluster,
    names::{self, CONTAINER, DATA, PORT_GRPC, PORT_HTTP, PORT_METRICS, PORT_PEER},
};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
        HTTPGetAction, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
        SeccompProfile, SecretVolumeSource, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use quorate_crd::{PodUser, annotation};
use std::collections::BTreeMap;

pub(super) const DATA_FOLDER: &str = "/var/lib/quorate";
pub(super) const TLS_FOLDER: &str = "/etc/quorate/peer-tls";
const CONFIG_FOLDER: &str = "/etc/quorate";
/// User id of the image, and group id of the volume.
const USER: i64 = 65532;
/// Grace period of the pods. Leadership is handed over in milliseconds, and clients are asked to move for about 2 s;
/// the rest is room for a flush on a slow disk.
const GRACE_SECONDS: i64 = 60;

pub(super) fn pod_template(cluster: &ValidCluster) -> PodTemplateSpec {
    let wanted = &cluster.spec.pod_template;
    let mut labels = wanted.metadata.labels.clone();
    // After the labels of the spec, so that selectors match whatever it sets.
    labels.extend(names::object_labels(&cluster.name));
    let mut annotations = scrape_annotations();
    annotations.extend(wanted.metadata.annotations.clone());
    let revision = cluster.secrets.revision().map(|revision| (annotation::SECRETS.to_owned(), revision.to_owned()));
    annotations.extend(revision);
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }),
        spec: Some(pod_spec(cluster)),
    }
}

/// Returns the annotations that a Prometheus without its operator looks for. The ChatCluster's own annotations are
/// added later and may override them.
fn scrape_annotations() -> BTreeMap<String, String> {
    [("prometheus.io/scrape", "true".to_owned()), ("prometheus.io/port", PORT_METRICS.to_string())]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
}

fn pod_spec(cluster: &ValidCluster) -> PodSpec {
    let wanted = &cluster.spec.pod_template;
    let user = match wanted.user {
        PodUser::Fixed => Some(USER),
        // A platform that assigns users rejects pods that name one.
        PodUser::Assigned => None,
    };
    PodSpec {
        service_account_name: Some(cluster.name.clone()),
        automount_service_account_token: Some(false),
        // Otherwise the kubelet adds variables named after each Service of the namespace, and a Service `quorate-…`
        // would get the prefix of chatd's settings.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: user,
            run_as_group: user,
            fs_group: user,
            // Otherwise the kubelet walks the whole volume at each start.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        containers: vec![chatd_container(cluster)],
        volumes: Some(pod_volumes(cluster)),
        image_pull_secrets: non_empty(cluster.spec.image_pull_secrets.clone()),
        affinity: wanted.affinity.clone(),
        topology_spread_constraints: Some(spread_constraints(cluster)),
        node_selector: (!wanted.node_selector.is_empty()).then(|| wanted.node_selector.clone()),
        tolerations: non_empty(wanted.tolerations.clone()),
        priority_class_name: wanted.priority_class_name.clone(),
        ..PodSpec::default()
    }
}

fn non_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Returns the topology spread constraints. The default ones are soft, because a small cluster must start on the nodes
/// that there are.
fn spread_constraints(cluster: &ValidCluster) -> Vec<TopologySpreadConstraint> {
    let wanted = &cluster.spec.pod_template.topology_spread_constraints;
    if !wanted.is_empty() {
        return wanted.clone();
    }
    ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(LabelSelector {
                match_labels: Some(names::selector_labels(&cluster.name)),
                ..LabelSelector::default()
            }),
            ..TopologySpreadConstraint::default()
        })
        .into()
}

fn chatd_container(cluster: &ValidCluster) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(cluster.spec.image.clone()),
        image_pull_policy: Some(cluster.spec.image_pull_policy.as_str().to_owned()),
        args: Some(vec!["--config".to_owned(), format!("{CONFIG_FOLDER}/{FILE}")]),
        env: Some(env_vars(cluster)),
        ports: Some(
            [("http", PORT_HTTP), ("grpc", PORT_GRPC), ("peer", PORT_PEER), ("metrics", PORT_METRICS)]
                .map(|(name, port)| ContainerPort {
                    name: Some(name.to_owned()),
                    container_port: port,
                    protocol: Some("TCP".to_owned()),
                    ..ContainerPort::default()
                })
                .into(),
        ),
        // Both probes are answered before the database is open, so that a long recovery is not killed for being long.
        startup_probe: Some(http_probe("/healthz", 1, 120)),
        liveness_probe: Some(http_probe("/healthz", 10, 6)),
        // Every second: until it has failed twice, the Services send clients to a pod that cannot serve them.
        readiness_probe: Some(http_probe("/readyz", 1, 2)),
        resources: Some(cluster.spec.pod_template.resources.clone().unwrap_or_else(default_resources)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        // chatd writes no termination message; the end of its log says why it ended, and the status reports it.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(volume_mounts(cluster)),
        ..Container::default()
    }
}

/// Returns the default resources. There is no CPU limit, because throttling costs elections at an election timeout of
/// 150 ms. Memory request and limit are equal, so that no pod is evicted for memory that it was promised.
fn default_resources() -> ResourceRequirements {
    let quantity = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
    ResourceRequirements {
        requests: Some([quantity("cpu", "100m"), quantity("memory", "1Gi")].into()),
        limits: Some([quantity("memory", "1Gi")].into()),
        claims: None,
    }
}

fn env_vars(cluster: &ValidCluster) -> Vec<EnvVar> {
    let host = format!("$(QUORATE_NODE_NAME).{}.{}.svc", names::peer_service_name(&cluster.name), cluster.namespace);
    // In this order: Kubernetes expands `$(NAME)` only if the variable stands earlier in the list.
    let mut environment = vec![
        env_field("QUORATE_NODE_NAME", "metadata.name"),
        env_field("QUORATE_POD_IP", "status.podIP"),
        env_value("QUORATE_ADVERTISE_PEER", format!("{host}:{PORT_PEER}")),
        env_value("QUORATE_ADVERTISE_GRPC", format!("{host}:{PORT_GRPC}")),
    ];
    environment.extend(cluster.spec.pod_template.env.iter().cloned());
    environment
}

fn env_value(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}

fn env_field(name: &str, path: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() }),
    }
}

fn http_probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("metrics".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failures),
        timeout_seconds: Some(if period_seconds > 1 { 5 } else { 1 }),
        ..Probe::default()
    }
}

fn volume_mounts(cluster: &ValidCluster) -> Vec<VolumeMount> {
    let mut mounts = vec![
        volume_mount(DATA, DATA_FOLDER, false),
        // Whole directories without subPath, because files mounted by subPath never change.
        volume_mount("config", CONFIG_FOLDER, true),
        volume_mount("peer-tls", TLS_FOLDER, true),
        // Writable, because the root file system is not.
        volume_mount("tmp", "/tmp", false),
    ];
    mounts.extend(secret_mount(cluster));
    mounts
}

pub(super) fn volume_mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// Returns the permissions of files that hold secrets: readable only by the group of the volume. If the platform assigns
/// the user, readable by everyone, because the pod's user is not known in advance.
pub(super) fn file_mode(cluster: &ValidCluster) -> i32 {
    match cluster.spec.pod_template.user {
        PodUser::Fixed => 0o440,
        PodUser::Assigned => 0o444,
    }
}

fn pod_volumes(cluster: &ValidCluster) -> Vec<Volume> {
    let mut volumes = vec![
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource { name: config_name(cluster), ..ConfigMapVolumeSource::default() }),
            ..Volume::default()
        },
        Volume {
            name: "peer-tls".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(names::peer_tls(&cluster.name)),
                default_mode: Some(file_mode(cluster)),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "tmp".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource { medium: None, size_limit: Some(Quantity("256Mi".to_owned())) }),
            ..Volume::default()
        },
    ];
    volumes.extend(secret_volume(cluster));
    volumes
}
