//! Context of the handlers: what they call, and what is known of the request.

use super::error::MatrixError;
use super::fresh::AnswerFreshness;
use super::shared_sync::SharedSync;
use crate::api::admin::AdminApi;
use crate::api::listen::CallerConnection;
use crate::caller::CallerAddress;
use crate::metrics::ChatMetrics;
use crate::service::{ChatService, ReadConsistency};
use quorate_core::id::Position;
use quorate_core::query::{QueryError, StateView};
use std::net::IpAddr;
use std::sync::Arc;

/// Context that every handler gets.
#[derive(Clone)]
pub(super) struct MatrixContext {
    /// Service that the handlers call.
    pub(super) service: ChatService,
    /// Metrics, by which requests are counted and timed per endpoint.
    pub(super) metrics: ChatMetrics,
    /// Admin API, for what administrators may see of the cluster.
    pub(super) admin: AdminApi,
    /// Freshness of this request's reads.
    pub(super) freshest: AnswerFreshness,
    /// Address of the request's caller, as limits count it.
    pub(super) caller: IpAddr,
    /// Connection of a request whose handler waits.
    pub(super) connection: Option<CallerConnection>,
    /// State that long polls have in common.
    pub(super) shared: Arc<SharedSync>,
}

impl MatrixContext {
    /// Creates the context from which that of each request is made.
    pub(super) fn new(service: ChatService, metrics: ChatMetrics, admin: AdminApi) -> Self {
        let caller = CallerAddress::UNKNOWN.0;
        let freshest = AnswerFreshness::default();
        Self { service, metrics, admin, freshest, caller, connection: None, shared: Arc::default() }
    }

    /// Notes that the request has nothing to do until something happens.
    pub(super) fn park(&self) {
        if let Some(connection) = &self.connection {
            connection.park();
        }
    }

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
