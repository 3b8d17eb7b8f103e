//! Freshness of answers. Without a quorum reads wait, then they are served from what this pod has applied, and the
//! answer says so in a header: gRPC has a field for it, the Matrix API has no place.

use super::MatrixContext;
use super::error::MatrixError;
use crate::service::{ReadConsistency, ServedFreshness};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use quorate_core::id::Position;
use quorate_core::query::{QueryError, StateView};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Header on answers that may miss the newest acknowledged writes; on others it is absent.
pub(super) const HEADER: HeaderName = HeaderName::from_static("quorate-freshness");

/// The only value of the header.
const STALE: HeaderValue = HeaderValue::from_static("stale");

/// Freshness of the reads behind one answer.
#[derive(Clone, Default)]
pub(crate) struct AnswerFreshness(Arc<AtomicBool>);

impl AnswerFreshness {
    fn note(&self, freshness: ServedFreshness) {
        if freshness == ServedFreshness::Stale {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Marks the answer if one of its reads was stale.
    pub(super) fn mark(&self, response: &mut Response) {
        if self.0.load(Ordering::Relaxed) {
            response.headers_mut().insert(HEADER, STALE);
        }
    }
}

impl MatrixContext {
    /// Answers a question about the state, as fresh as this API promises, and notes how fresh it was.
    pub(super) async fn read<T, F>(&self, question: F) -> Result<T, MatrixError>
    where
        T: Send + 'static,
        F: FnOnce(&StateView<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        self.read_at(None, question).await
    }

    /// Answers a question once this pod has applied `token`, if there is one, as fresh as this API promises.
    pub(super) async fn read_at<T, F>(&self, token: Option<Position>, question: F) -> Result<T, MatrixError>
    where
        T: Send + 'static,
        F: FnOnce(&StateView<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        let (answer, freshness) = self.service.read_at_cursor(ReadConsistency::default(), token, question).await?;
        self.freshest.note(freshness);
        Ok(answer)
    }

    /// Answers a question as fresh as the caller may ask for.
    pub(super) async fn read_with<T, F>(&self, consistency: ReadConsistency, question: F) -> Result<T, MatrixError>
    where
        T: Send + 'static,
        F: FnOnce(&StateView<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        let (answer, freshness) = self.service.read_at_cursor(consistency, None, question).await?;
        self.freshest.note(freshness);
        Ok(answer)
    }
}
