use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The volume of each pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("isQuantity(string(self.size)) && quantity(string(self.size)).compareTo(quantity('1Gi')) >= 0")
        .message("size must be a quantity of at least 1Gi, such as 10Gi: the log and the state of a cluster need that much to start"),
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .message("storageClassName cannot be changed, because volumes cannot move between classes: make a new ChatCluster of the other class")
)]
pub struct StorageSpec {
    /// Size of each volume. It can grow, if the storage class allows it, never shrink.
    pub size: Quantity,
    /// Storage class of the volumes; the cluster's default class when absent. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("storageClassName must be the name of a storage class (kubectl get storageclass): lower-case letters, digits, '-' and '.'"))]
    pub storage_class_name: Option<String>,
    /// `ReadWriteOncePod` keeps a replaced pod's successor from starting beside it. `ReadWriteOnce` only for drivers
    /// that know no better. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("accessMode cannot be changed, because the claims that exist have theirs: make a new ChatCluster"))]
    pub access_mode: AccessMode,
    /// What becomes of the volumes.
    #[serde(default)]
    pub persistent_volume_claim_retention_policy: ClaimRetention,
}

/// How a volume may be mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// By one pod at a time.
    #[default]
    ReadWriteOncePod,
    /// By the pods of one node at a time.
    ReadWriteOnce,
}

/// What becomes of the volumes when what used them goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRetention {
    /// When the ChatCluster is deleted.
    #[serde(default)]
    pub when_deleted: RetentionPolicy,
}

/// Whether claims stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetentionPolicy {
    /// They stay; a ChatCluster of the same name finds its data again.
    #[default]
    Retain,
    /// They go, and the data with them.
    Delete,
}
