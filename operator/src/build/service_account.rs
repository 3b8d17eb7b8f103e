use super::metadata;
use crate::cluster::Cluster;
use k8s_openapi::api::core::v1::ServiceAccount;

/// Builds the ServiceAccount, without a token or permissions, because chat pods do not use the Kubernetes API.
pub(super) fn service_account(cluster: &Cluster) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(cluster, cluster.name.clone()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
