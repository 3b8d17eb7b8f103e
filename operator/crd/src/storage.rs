use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Persistent volume of each pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("isQuantity(string(self.size)) && quantity(string(self.size)).compareTo(quantity('1Gi')) >= 0")
        .message("size must be a quantity of at least 1Gi, such as 10Gi: the log and the state of a cluster need that much to start"),
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .message("storageClassName cannot be changed, because volumes cannot move between classes: create a new ChatCluster with the other class")
)]
pub struct StorageSpec {
    /// Size of each volume, at least 1Gi. It can grow if the storage class allows it, but never shrink.
    pub size: Quantity,
    /// Storage class of the volumes; the default class of the Kubernetes cluster if absent. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("storageClassName must be the name of a storage class (kubectl get storageclass): lower-case letters, digits, '-' and '.'"))]
    pub storage_class_name: Option<String>,
    /// Access mode of the volumes. `ReadWriteOncePod` keeps the successor of a replaced pod from starting beside it;
    /// use `ReadWriteOnce` only with drivers that do not support `ReadWriteOncePod`. Immutable.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("accessMode cannot be changed, because existing claims keep theirs: create a new ChatCluster"))]
    pub access_mode: AccessMode,
    /// Retention policy for the volume claims.
    #[serde(default)]
    pub persistent_volume_claim_retention_policy: ClaimRetention,
}

/// Access mode of a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// One pod at a time may mount the volume.
    #[default]
    ReadWriteOncePod,
    /// The pods of one node at a time may mount the volume.
    ReadWriteOnce,
}

/// Retention policy for the volume claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRetention {
    /// Policy for when the ChatCluster is deleted: `Retain` keeps the claims, `Delete` deletes them and the data.
    #[serde(default)]
    pub when_deleted: RetentionPolicy,
}

/// Retention policy for a volume claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetentionPolicy {
    /// Claims are kept; a ChatCluster created again under the same name finds its data.
    #[default]
    Retain,
    /// Claims are deleted, and the data with them.
    Delete,
}
