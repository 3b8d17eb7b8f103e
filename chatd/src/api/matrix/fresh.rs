//! How fresh an answer is. Without a quorum reads wait, then they are served from what this pod has applied, and the
//! answer says so in a header: gRPC has a field for it, the Matrix API has no place.

use super::Door;
use super::error::MatrixError;
use crate::service::{Consistency, Freshness};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use quorate_core::id::Position;
use quorate_core::query::{QueryError, View};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// On answers that may miss the newest acknowledged writes; on others it is absent.
pub(super) const HEADER: HeaderName = HeaderName::from_static("quorate-freshness");

/// The header's only value.
const STALE: HeaderValue = HeaderValue::from_static("stale");

/// What the reads behind one answer were like.
#[derive(Clone, Default)]
pub(crate) struct Freshest(Arc<AtomicBool>);

impl Freshest {
    fn note(&self, freshness: Freshness) {
        if freshness == Freshness::Stale {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Marks the answer if it has to be.
    pub(super) fn mark(&self, response: &mut Response) {
        if self.0.load(Ordering::Relaxed) {
            response.headers_mut().insert(HEADER, STALE);
        }
    }
}

impl Door {
    /// Answers a question about the state, as fresh as this door promises, and notes how fresh it was.
    pub(super) async fn read<T, F>(&self, question: F) -> Result<T, MatrixError>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        self.read_at(None, question).await
    }

    /// The same for a question that names a token: this pod has then applied that far.
    pub(super) async fn read_at<T, F>(&self, token: Option<Position>, question: F) -> Result<T, MatrixError>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        let (answer, freshness) = self.service.read_at_cursor(Consistency::default(), token, question).await?;
        self.freshest.note(freshness);
        Ok(answer)
    }

    /// The same as fresh as the caller may ask for.
    pub(super) async fn read_with<T, F>(&self, consistency: Consistency, question: F) -> Result<T, MatrixError>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        let (answer, freshness) = self.service.read_at_cursor(consistency, None, question).await?;
        self.freshest.note(freshness);
        Ok(answer)
    }
}
