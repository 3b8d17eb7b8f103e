//! `validate`: turns a ChatCluster as written into a [`ValidCluster`] that is known to be valid.

use crate::secret_inputs::SecretInputs;
use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference};
use kube::{Resource as _, ResourceExt as _};
use quorate_crd::{ChatCluster, ChatClusterSpec, DurationError, QuantityError, annotation, label, parse_quantity};
use std::time::Duration;

/// ChatCluster that has been validated.
#[derive(Clone, Debug)]
pub struct ValidCluster {
    pub name: String,
    pub namespace: String,
    /// Uid of the ChatCluster, which the owner references of its objects contain.
    pub uid: String,
    /// Generation of the spec.
    pub generation: i64,
    /// Spec as the user wrote it.
    pub spec: ChatClusterSpec,
    /// Durations of the spec, parsed.
    pub times: SpecDurations,
    /// Size of each volume in bytes.
    pub storage_bytes: u64,
    /// `true` if pods have IPv6 addresses, alone or beside IPv4 ones.
    pub ipv6: bool,
    /// Values of the Secrets that the spec refers to, once they have been observed.
    pub secrets: SecretInputs,
    /// Value of the annotation that lets a newer operator's pod template roll out.
    pub accepted_template: Option<String>,
    /// Owner reference for the objects that the ChatCluster owns.
    pub owner: OwnerReference,
}

/// Durations of the spec, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecDurations {
    /// Parsed value of `raft.heartbeatInterval`.
    pub heartbeat: Duration,
    /// Parsed value of `raft.electionTimeout.min`.
    pub election_min: Duration,
    /// Parsed value of `raft.electionTimeout.max`.
    pub election_max: Duration,
    /// Parsed value of `chat.rateLimit.per`.
    pub rate_limit_per: Duration,
    /// Parsed value of `chat.sessionLifetime`.
    pub session_lifetime: Duration,
    /// Parsed value of `chat.accounts.accessTokenLifetime`.
    pub access_token_lifetime: Duration,
    /// Parsed value of `chat.accounts.jwt.leeway`; zero if there is none.
    pub jwt_leeway: Duration,
    /// Parsed value of `chat.presence.podTimeout`.
    pub presence_pod_timeout: Duration,
    /// Parsed value of `progressDeadline`.
    pub progress_deadline: Duration,
}

/// The spec cannot be carried out. The API server rejects such objects, but one admitted under an older schema may
/// still exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ValidationError {
    #[error("spec.{0}: {1}")]
    Duration(&'static str, #[source] DurationError),
    #[error("spec.storage.size: {0}")]
    Size(#[from] QuantityError),
    #[error("spec.replicas is {0}: it must be an odd number from 1 to 9")]
    Replicas(i32),
    #[error("the object has no {0}: it did not come from an API server")]
    Metadata(&'static str),
}

impl ValidCluster {
    /// Checks and parses a ChatCluster.
    ///
    /// # Errors
    /// Fails if the spec cannot be carried out; the error names the field and what to write.
    pub fn validate(object: &ChatCluster) -> Result<Self, ValidationError> {
        let spec = object.spec.clone();
        // An even number tolerates no more failures than the odd one below it, and needs a larger majority.
        if spec.replicas % 2 != 1 || !(1..=9).contains(&spec.replicas) {
            return Err(ValidationError::Replicas(spec.replicas));
        }
        let Quantity(_) = &spec.storage.size;
        Ok(Self {
            name: object.name_any(),
            namespace: object.namespace().ok_or(ValidationError::Metadata("namespace"))?,
            uid: object.uid().ok_or(ValidationError::Metadata("uid"))?,
            generation: object.metadata.generation.unwrap_or_default(),
            times: SpecDurations::parse(&spec)?,
            storage_bytes: parse_quantity(&spec.storage.size)?,
            ipv6: false,
            secrets: SecretInputs::default(),
            accepted_template: object.annotations().get(annotation::ACCEPT_TEMPLATE).cloned(),
            owner: object.controller_owner_ref(&()).ok_or(ValidationError::Metadata("uid"))?,
            spec,
        })
    }

    /// Sets whether pods have IPv6 addresses. The operator derives the address families of the pods from those of its
    /// own pod.
    #[must_use]
    pub fn in_network(self, ipv6: bool) -> Self {
        Self { ipv6, ..self }
    }

    /// Sets what has become known of the Secrets that the spec refers to.
    #[must_use]
    pub fn with_secrets(self, secrets: SecretInputs) -> Self {
        Self { secrets, ..self }
    }

    /// Returns `namespace/name`, the key under which the operator remembers things about the cluster.
    #[must_use]
    pub fn key(&self) -> String {
        cluster_key(&self.namespace, &self.name)
    }

    /// Returns a warning for each part of the spec that is overruled. The API server rejects such objects, but one
    /// admitted under an older schema may still exist, and leaving it without an operator would be worse than
    /// overruling a label.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let owned = crate::names::object_labels(&self.name);
        let metadata = &self.spec.pod_template.metadata;
        let overruled = metadata.labels.keys().filter(|key| owned.contains_key(*key) || *key == label::ROLE);
        let tell = |key: &String| {
            format!(
                "spec.podTemplate.metadata.labels sets {key}, which is reserved for the operator and has no effect: remove it"
            )
        };
        overruled.map(tell).collect()
    }

    /// Returns the ordinals of the pods that the spec asks for.
    pub fn ordinals(&self) -> impl DoubleEndedIterator<Item = i32> + use<> {
        0..self.spec.replicas
    }
}

/// Returns `namespace/name` of a ChatCluster.
#[must_use]
pub fn cluster_key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

impl SpecDurations {
    fn parse(spec: &ChatClusterSpec) -> Result<Self, ValidationError> {
        let field = |name: &'static str| move |error| ValidationError::Duration(name, error);
        let raft = &spec.raft;
        let accounts = &spec.chat.accounts;
        let leeway = accounts.jwt.as_ref().map(|jwt| jwt.leeway.parse()).transpose();
        Ok(Self {
            heartbeat: raft.heartbeat_interval.parse().map_err(field("raft.heartbeatInterval"))?,
            election_min: raft.election_timeout.min.parse().map_err(field("raft.electionTimeout.min"))?,
            election_max: raft.election_timeout.max.parse().map_err(field("raft.electionTimeout.max"))?,
            rate_limit_per: spec.chat.rate_limit.per.parse().map_err(field("chat.rateLimit.per"))?,
            session_lifetime: spec.chat.session_lifetime.parse().map_err(field("chat.sessionLifetime"))?,
            access_token_lifetime: accounts
                .access_token_lifetime
                .parse()
                .map_err(field("chat.accounts.accessTokenLifetime"))?,
            jwt_leeway: leeway.map_err(field("chat.accounts.jwt.leeway"))?.unwrap_or_default(),
            presence_pod_timeout: spec.chat.presence.pod_timeout.parse().map_err(field("chat.presence.podTimeout"))?,
            progress_deadline: spec.progress_deadline.parse().map_err(field("progressDeadline"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_sample_is_valid() {
        let cluster = ValidCluster::validate(&fixture::chat_cluster()).expect("valid");
        assert_eq!(cluster.times.heartbeat, Duration::from_millis(50));
        assert_eq!(cluster.storage_bytes, 1 << 30);
        assert_eq!(cluster.ordinals().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn labels_of_the_operator_are_told_of_and_others_are_not() {
        let mut cluster = fixture::cluster();
        assert!(cluster.warnings().is_empty());
        let labels = &mut cluster.spec.pod_template.metadata.labels;
        labels.insert("example.org/team".into(), "red".into());
        labels.insert(label::INSTANCE.into(), "another".into());
        let warnings = cluster.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains(label::INSTANCE), "{warnings:?}");
    }

    #[test]
    fn what_an_older_schema_let_pass_is_named() {
        let mut object = fixture::chat_cluster();
        object.spec.replicas = 2;
        assert_eq!(ValidCluster::validate(&object).err(), Some(ValidationError::Replicas(2)));
        let mut object = fixture::chat_cluster();
        object.spec.chat.rate_limit.per = "soon".into();
        let error = ValidCluster::validate(&object).expect_err("not a duration").to_string();
        assert!(error.starts_with("spec.chat.rateLimit.per:"), "{error}");
    }
}
