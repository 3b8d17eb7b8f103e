//! `/_quorate/status`: the overview as JSON, for people without `chatctl`. This route is for holders of a certificate
//! of the cluster (port 7401); the Matrix API serves the page to administrators who log in.

use super::{AdminApi, overview};
use axum::{Json, Router, routing::get};
use quorate_wire::overview::overview_json;
use serde_json::Value;

/// Path of the page.
pub const PATH: &str = "/_quorate/status";

impl AdminApi {
    /// Returns the page as a route, for a port that lets in administrators only.
    pub fn page(self) -> Router {
        Router::new().route(PATH, get(move || async move { Json(self.overview_document().await) }))
    }

    /// Returns the contents of the page.
    pub async fn overview_document(&self) -> Value {
        overview_json(&overview::gather_overview(self, overview::member_timeout(0)).await)
    }
}
