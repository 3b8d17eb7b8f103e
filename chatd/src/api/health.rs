//! `/healthz`, `/readyz` and `/metrics` on port 9400, served before the database is open: a long recovery must not be
//! killed.
//!
//! Ready means joined, open, caught up, with the right time, and not cut off from those who can serve
//! (`raft::cluster::readiness`). A pod without a leader may be ready: otherwise the loss of the leader would empty the
//! Service and take the promised stale reads with it.

use crate::metrics::ChatMetrics;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use std::sync::{Arc, PoisonError, RwLock};

/// Function that tells why a pod is not ready, in words; `Ok` if it is.
pub type ReadinessCheck = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;
/// Function that updates the gauges that are read only for a scrape.
pub type GaugeRefresh = Arc<dyn Fn() + Send + Sync>;

/// State that the probes report. Clones share it.
#[derive(Clone)]
pub struct PodHealth {
    phase: Arc<RwLock<LifecyclePhase>>,
    metrics: ChatMetrics,
}

#[derive(Clone)]
enum LifecyclePhase {
    /// Startup, while the named component is opened.
    Opening(&'static str),
    Open {
        readiness: ReadinessCheck,
        refresh: GaugeRefresh,
    },
    Stopping,
}

impl PodHealth {
    /// Creates the state of a pod that starts, which is not ready yet.
    #[must_use]
    pub fn new(metrics: ChatMetrics) -> Self {
        Self { phase: Arc::new(RwLock::new(LifecyclePhase::Opening("starting"))), metrics }
    }

    /// Sets what the startup is waiting for.
    pub fn opening(&self, what: &'static str) {
        self.set(LifecyclePhase::Opening(what));
    }

    /// Reports that everything is open; from now on `readiness` decides.
    pub fn open(&self, readiness: ReadinessCheck, refresh: GaugeRefresh) {
        self.set(LifecyclePhase::Open { readiness, refresh });
    }

    /// Reports that the pod is about to end.
    pub fn stopping(&self) {
        self.set(LifecyclePhase::Stopping);
    }

    /// Checks that the pod is ready.
    ///
    /// # Errors
    /// The reason for which it is not.
    pub fn ready(&self) -> Result<(), String> {
        match self.phase() {
            LifecyclePhase::Opening(what) => Err(what.to_owned()),
            LifecyclePhase::Open { readiness, .. } => readiness(),
            LifecyclePhase::Stopping => Err("stopping".to_owned()),
        }
    }

    /// Returns the routes of the three pages.
    pub fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(scrape_metrics))
            .with_state(self)
    }

    fn set(&self, phase: LifecyclePhase) {
        *self.phase.write().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn phase(&self) -> LifecyclePhase {
        self.phase.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn readyz(State(health): State<PodHealth>) -> Response {
    match health.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn scrape_metrics(State(health): State<PodHealth>) -> Response {
    // A scrape reads /proc and asks the store, so it runs off the runtime's threads.
    let rendered = tokio::task::spawn_blocking(move || {
        health.metrics.scrape(|| {
            if let LifecyclePhase::Open { refresh, .. } = health.phase() {
                refresh();
            }
            health.metrics.all.process.ready.set(i64::from(health.ready().is_ok()));
        })
    });
    match rendered.await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    async fn get(health: &PodHealth, path: &str) -> StatusCode {
        let request = Request::get(path).body(Body::empty()).unwrap();
        health.clone().router().oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_pod_lives_before_it_is_ready_and_while_it_stops() {
        let health = PodHealth::new(ChatMetrics::new().unwrap());
        assert_eq!(get(&health, "/healthz").await, StatusCode::OK);
        assert_eq!(get(&health, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        health.open(Arc::new(|| Ok(())), Arc::new(|| ()));
        assert_eq!(get(&health, "/readyz").await, StatusCode::OK);
        assert_eq!(get(&health, "/metrics").await, StatusCode::OK);
        health.stopping();
        assert_eq!(get(&health, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(get(&health, "/healthz").await, StatusCode::OK);
        assert_eq!(health.ready(), Err("stopping".into()));
    }
}
