//! Choice of the pod template to apply: the one that this operator builds, or the one that an earlier operator built.
//!
//! Upgrading the operator must not restart every chat (CloudNativePG #5950, #7727). The applied template is therefore
//! recorded on the StatefulSet together with a hash of its inputs; while the hash is the same, the recorded template is
//! applied again. So it is while a Secret that the spec refers to cannot be used, whatever else has changed: pods of a
//! new template would not start.

use super::pod;
use crate::cluster::ValidCluster;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use quorate_crd::ChatClusterSpec;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Template as recorded on the live StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedTemplate {
    /// Hash of the inputs that the template was built from.
    pub inputs: String,
    /// Pod template as JSON, as it was applied.
    pub pod: Value,
}

/// Pod template to apply.
#[derive(Clone, Debug, PartialEq)]
pub enum TemplateChoice {
    /// Template that this operator built from the spec.
    Current {
        /// Hash of the inputs that the template was built from.
        inputs: String,
        pod: Box<PodTemplateSpec>,
    },
    /// Template that was applied before: an earlier operator built it from the same spec, or no other one would start.
    Kept(RecordedTemplate, Box<PodTemplateSpec>),
}

/// Chooses the template to apply.
#[must_use]
pub fn choose_template(cluster: &ValidCluster, recorded: Option<&RecordedTemplate>) -> TemplateChoice {
    let inputs = hash_inputs(cluster);
    let stays = |recorded: &&RecordedTemplate| recorded.inputs == inputs || cluster.secrets.is_lacking();
    if let Some(recorded) = recorded.filter(stays)
        // An unreadable record counts as none.
        && let Ok(pod) = serde_json::from_value::<PodTemplateSpec>(recorded.pod.clone())
        // An equal template is as good as this operator's own, and with that its configuration is built, not only kept.
        && pod != pod::pod_template(cluster)
    {
        return TemplateChoice::Kept(recorded.clone(), Box::new(pod));
    }
    TemplateChoice::Current { inputs, pod: Box::new(pod::pod_template(cluster)) }
}

impl TemplateChoice {
    /// Returns `true` if this operator built the template.
    #[must_use]
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Current { .. })
    }

    /// Returns the pod template.
    #[must_use]
    pub fn pod(&self) -> &PodTemplateSpec {
        match self {
            Self::Current { pod, .. } | Self::Kept(_, pod) => pod,
        }
    }

    /// Returns the record to store beside the template.
    #[must_use]
    pub fn record(&self) -> RecordedTemplate {
        match self {
            Self::Current { inputs, pod } => {
                RecordedTemplate { inputs: inputs.clone(), pod: serde_json::to_value(pod).unwrap_or_default() }
            }
            Self::Kept(recorded, _) => recorded.clone(),
        }
    }
}

/// Returns a hash of the part of the spec that pods are built from, of the annotation that accepts a newer template, and
/// of the Secrets that the spec refers to.
fn hash_inputs(cluster: &ValidCluster) -> String {
    // Without `..`, so that whoever adds a field decides here whether pods are built from it. A forgotten field would
    // be reported as carried out and reach no pod.
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
        // Used in the StatefulSet outside the template, in other objects, or by the operator itself.
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
    // Only if set: without traces the hash equals the one that an earlier operator has recorded, and no pods are
    // restarted.
    parts.extend(traces.as_ref().map(|traces| json!(traces)));
    parts.extend(cluster.secrets.revision().map(|revision| json!(revision)));
    short_hash(Value::Array(parts).to_string().as_bytes())
}

/// Returns the first 64 bits of a SHA-256 in hexadecimal, which is enough to tell versions of one object apart.
pub(crate) fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
