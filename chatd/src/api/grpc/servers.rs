//! Call `ListServers`: the pods of the cluster, as this one sees them.

use super::auth;
use crate::api::convert;
use crate::metrics::ChatMetrics;
use crate::service::{ChatService, RequestRefusal};
use quorate_wire::chat::v1::{ListServersRequest, ListServersResponse};
use tonic::Request;

pub(super) async fn list_servers(
    s: &ChatService,
    metrics: &ChatMetrics,
    request: Request<ListServersRequest>,
) -> Result<ListServersResponse, RequestRefusal> {
    auth::caller_session(s, &request).await?;
    Ok(convert::servers_to_wire(&s.cluster().status(), metrics.connections()))
}
