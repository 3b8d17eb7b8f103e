/// Labels that the operator writes. Those in selectors never change during an object's life.
pub mod label {
    /// Always `quorate`.
    pub const NAME: &str = "app.kubernetes.io/name";
    /// The ChatCluster's name.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
    /// Always `chatd`.
    pub const COMPONENT: &str = "app.kubernetes.io/component";
    /// Always `quorate-operator`.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// `voters`: static, so it may stand in selectors.
    pub const POOL: &str = "chat.quorate.dev/pool";
    /// `leader`, `follower` or `learner`: for people and for the `-leader` Service; follows with a delay.
    pub const ROLE: &str = "chat.quorate.dev/role";
    /// On configuration ConfigMaps: they are pruned once nothing refers to them.
    pub const CONFIG: &str = "chat.quorate.dev/config";
}

/// Annotations that the operator writes.
pub mod annotation {
    /// On claims and on the marker: the cluster whose data the volume holds.
    pub const CLUSTER_ID: &str = "chat.quorate.dev/cluster-id";
    /// On claims: the Raft node id found on the volume.
    pub const NODE_ID: &str = "chat.quorate.dev/node-id";
    /// On claims: the Raft node id that was taken out of the cluster on purpose; its volume is kept and not needed.
    pub const RETIRED: &str = "chat.quorate.dev/retired-node";
    /// On the StatefulSet: hash of the part of the spec that pods are made from.
    pub const POD_INPUTS: &str = "chat.quorate.dev/pod-inputs";
    /// On the StatefulSet: the pod template as it was applied, so that a newer operator does not restart pods.
    pub const TEMPLATE: &str = "chat.quorate.dev/template";
    /// On the StatefulSet: the texts of the configurations that something names, by the name of the ConfigMap, so that
    /// one that is lost can be made again as it was.
    pub const CONFIGS: &str = "chat.quorate.dev/configs";
    /// On a ChatCluster: any new value lets a newer operator's pod template roll out.
    pub const ACCEPT_TEMPLATE: &str = "chat.quorate.dev/accept-template";
}
