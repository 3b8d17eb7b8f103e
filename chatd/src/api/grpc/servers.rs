//! Call `ListServers`: the pods of the cluster, as this one sees them.

use super::auth;
use crate::api::convert;
use crate::metrics::Metrics;
use crate::service::{Refusal, Service};
use quorate_wire::chat::v1::{ListServersRequest, ListServersResponse};
use tonic::Request;

pub(super) async fn list(
    s: &Service,
    metrics: &Metrics,
    request: Request<ListServersRequest>,
) -> Result<ListServersResponse, Refusal> {
    auth::session(s, &request).await?;
    Ok(convert::servers(&s.cluster().status(), metrics.connections()))
}
