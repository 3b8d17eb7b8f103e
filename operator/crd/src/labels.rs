/// Labels that the operator sets. Those used in selectors never change during an object's lifetime.
pub mod label {
    /// Name of the application, always `quorate`.
    pub const NAME: &str = "app.kubernetes.io/name";
    /// Name of the ChatCluster that the object belongs to.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
    /// Component of the application, always `chatd`.
    pub const COMPONENT: &str = "app.kubernetes.io/component";
    /// Manager of the object, always `quorate-operator`.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// Pool that the pod belongs to, always `voters`. The value is static, so that selectors can use it.
    pub const POOL: &str = "chat.quorate.dev/pool";
    /// Raft role of the pod: `leader`, `follower` or `learner`. Meant for people and for the `-leader` Service; updated
    /// with a delay.
    pub const ROLE: &str = "chat.quorate.dev/role";
    /// Mark of the ConfigMaps that hold chatd's configuration. They are pruned once nothing refers to them.
    pub const CONFIG: &str = "chat.quorate.dev/config";
}

/// Annotations that the operator sets or reads.
pub mod annotation {
    /// Identifier of the cluster whose data the volume holds. Set on claims and on the marker ConfigMap.
    pub const CLUSTER_ID: &str = "chat.quorate.dev/cluster-id";
    /// Raft node id found on the volume. Set on claims.
    pub const NODE_ID: &str = "chat.quorate.dev/node-id";
    /// Raft node id that was deliberately removed from the cluster. Set on claims whose volume is kept but no longer
    /// needed.
    pub const RETIRED: &str = "chat.quorate.dev/retired-node";
    /// Hash of the part of the spec that pods are built from. Set on the StatefulSet.
    pub const POD_INPUTS: &str = "chat.quorate.dev/pod-inputs";
    /// Pod template as it was applied. Set on the StatefulSet, so that a newer operator does not restart pods.
    pub const TEMPLATE: &str = "chat.quorate.dev/template";
    /// Contents of the configurations that are in use, by ConfigMap name. Set on the StatefulSet, so that a lost
    /// ConfigMap can be recreated unchanged.
    pub const CONFIGS: &str = "chat.quorate.dev/configs";
    /// Hash of the values of the Secrets that the spec refers to. Set on the pods, which read them at startup, so that a
    /// changed value restarts them one at a time.
    pub const SECRETS: &str = "chat.quorate.dev/secrets";
    /// Acceptance of a newer operator's pod template: any new value on a ChatCluster rolls that template out.
    pub const ACCEPT_TEMPLATE: &str = "chat.quorate.dev/accept-template";
}
