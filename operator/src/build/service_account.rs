use super::object_meta;
use crate::cluster::ValidCluster;
use k8s_openapi::api::core::v1::ServiceAccount;

/// Builds the ServiceAccount, without a token or permissions, because chat pods do not use the Kubernetes API.
pub(super) fn service_account(cluster: &ValidCluster) -> ServiceAccount {
    ServiceAccount {
        metadata: object_meta(cluster, cluster.name.clone()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
