//! Freshness of answers. Without a quorum reads wait, then they are served from what this pod has applied, and the
//! answer says so in a header: gRPC has a field for it, the Matrix API has no place.

use crate::service::ServedFreshness;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Header on answers that may miss the newest acknowledged writes; on others it is absent.
pub(super) const HEADER: HeaderName = HeaderName::from_static("quorate-freshness");

/// The only value of the header.
const STALE: HeaderValue = HeaderValue::from_static("stale");

/// Freshness of the reads behind one answer.
#[derive(Clone, Default)]
pub(super) struct AnswerFreshness(Arc<AtomicBool>);

impl AnswerFreshness {
    /// Notes how fresh one of the reads was.
    pub(super) fn note(&self, freshness: ServedFreshness) {
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
