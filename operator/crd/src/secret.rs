use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Reference to a key of a Secret in the namespace of the ChatCluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("name must be the name of a Secret: lower-case letters, digits, '-' and '.'"))]
    pub name: String,
    /// Key in the Secret. Its value is text of at most 4096 bytes; white space around it does not count.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')")
        .message("key must be a key of a Secret: letters, digits, '-', '_' and '.'"))]
    pub key: String,
}
