//! `/_quorate/status` for administrators who log in as users: the same page as on the admin listener.

use super::admission::RequestCredentials;
use super::context::MatrixContext;
use super::error::MatrixError;
use crate::metrics;
use axum::Json;
use axum::extract::{Request, State};
use serde_json::Value;

/// Name of the endpoint in the metrics.
pub(super) const NAME: &str = "quorateStatus";

/// Answers with the overview of the cluster, for administrators.
pub(super) async fn get_cluster_status(
    State(context): State<MatrixContext>,
    request: Request,
) -> Result<Json<Value>, MatrixError> {
    let claim = RequestCredentials::of(&request);
    let call = context.metrics.call(metrics::ClientApi::Matrix, NAME);
    call.run(async {
        let session = claim.session(&context).await?;
        if !context.service.is_administrator(&session).await? {
            let message = "Only administrators may read this; `administrators` in the configuration lists them.";
            return Err(MatrixError::forbidden(message));
        }
        Ok(Json(context.admin.overview_document().await))
    })
    .await
}
