//! Which pod template is applied: the one that this operator makes, or the one that an earlier operator made.
//!
//! Upgrading the operator must not restart every chat (CloudNativePG #5950, #7727). So the template that was applied is
//! recorded on the StatefulSet together with a hash of what it was made from; while that is the same, the recorded
//! one is applied again.

use super::pod;
use crate::cluster::Cluster;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use quorate_crd::ChatClusterSpec;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The template as recorded on the live StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Hash of what it was made from.
    pub inputs: String,
    /// The template.
    pub pod: Value,
}

/// The template to apply.
#[derive(Clone, Debug, PartialEq)]
pub enum Template {
    /// Made by this operator from the spec.
    Current {
        /// Hash of what it was made from.
        inputs: String,
        /// The template.
        pod: Box<PodTemplateSpec>,
    },
    /// Made by an earlier operator from the same spec.
    Kept(Recorded, Box<PodTemplateSpec>),
}

/// The template to apply now.
#[must_use]
pub fn template(cluster: &Cluster, recorded: Option<&Recorded>) -> Template {
    let inputs = inputs(cluster);
    if let Some(recorded) = recorded.filter(|recorded| recorded.inputs == inputs)
        // One that cannot be read is as good as none.
        && let Ok(pod) = serde_json::from_value::<PodTemplateSpec>(recorded.pod.clone())
        && pod != pod::template(cluster)
    {
        return Template::Kept(recorded.clone(), Box::new(pod));
    }
    Template::Current { inputs, pod: Box::new(pod::template(cluster)) }
}

impl Template {
    /// Whether this operator made it.
    #[must_use]
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Current { .. })
    }

    /// The template.
    #[must_use]
    pub fn pod(&self) -> &PodTemplateSpec {
        match self {
            Self::Current { pod, .. } | Self::Kept(_, pod) => pod,
        }
    }

    /// What to record beside it.
    #[must_use]
    pub fn record(&self) -> Recorded {
        match self {
            Self::Current { inputs, pod } => {
                Recorded { inputs: inputs.clone(), pod: serde_json::to_value(pod).unwrap_or_default() }
            }
            Self::Kept(recorded, _) => recorded.clone(),
        }
    }
}

/// Hash of the part of the spec that pods are made from, and of the acceptance of a newer template.
fn inputs(cluster: &Cluster) -> String {
    // Without `..`: whoever adds a field decides here whether pods are made from it. One that was forgotten would be
    // reported as carried out and reach no pod.
    let ChatClusterSpec {
        server_name,
        image,
        image_pull_policy,
        image_pull_secrets,
        raft,
        pod_template,
        chat,
        log,
        traces,
        // In the StatefulSet beside the template, in other objects, or in the operator's own conduct.
        replicas: _,
        paused: _,
        progress_deadline: _,
        storage: _,
        service: _,
        pod_disruption_budget: _,
    } = &cluster.spec;
    let mut parts = vec![
        json!(server_name),
        json!(image),
        json!(image_pull_policy),
        json!(image_pull_secrets),
        json!(raft),
        json!(pod_template),
        json!(chat),
        json!(log),
        json!(cluster.accepted_template),
    ];
    // Only where it is said: the hash of a cluster without it is the one that an earlier operator has recorded, and its
    // pods are not restarted.
    parts.extend(traces.as_ref().map(|traces| json!(traces)));
    short_hash(Value::Array(parts).to_string().as_bytes())
}

/// The first 64 bits of a SHA-256, in hexadecimal: enough to tell versions of one object apart.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
