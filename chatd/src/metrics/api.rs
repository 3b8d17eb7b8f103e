//! Metrics of the client APIs: counts and times.

use super::ChatMetrics;
use super::catalogue::Instruments;
use crate::trace::CallError;
use quorate_meter::{IntCounter, IntGauge};
use std::sync::Arc;
use std::time::Instant;

/// A client API of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientApi {
    /// The gRPC API, `quorate.chat.v1`.
    Grpc,
    /// The Matrix Client-Server API.
    Matrix,
}

impl ClientApi {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Matrix => "matrix",
        }
    }
}

/// Measurement of one call, from its decoding to its answer.
pub struct CallMeter {
    all: Arc<Instruments>,
    api: ClientApi,
    endpoint: &'static str,
}

impl CallMeter {
    /// Runs the call. A call that its client gave up is counted, too, as `cancelled`.
    ///
    /// # Errors
    /// The call's own error.
    pub async fn run<T, E: CallError>(self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut count = CallGuard { call: self, code: "cancelled", began: Instant::now() };
        let answer = call.await;
        count.code = answer.as_ref().map_or_else(CallError::label, |_| "ok");
        answer
    }
}

struct CallGuard {
    call: CallMeter,
    code: &'static str,
    began: Instant,
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let CallMeter { all, api, endpoint } = &self.call;
        all.listeners.requests.with_label_values(&[api.label(), *endpoint, self.code]).inc();
        all.listeners.seconds.with_label_values(&[api.label(), *endpoint]).observe(self.began.elapsed().as_secs_f64());
    }
}

/// An open stream or long poll, counted until this is dropped.
pub struct StreamGuard {
    open: IntGauge,
    events: IntCounter,
}

impl StreamGuard {
    /// Counts events that went through.
    pub fn events(&self, count: usize) {
        self.events.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// Something open or in flight, counted until this is dropped.
pub struct GaugeGuard(IntGauge);

impl GaugeGuard {
    pub(super) fn one(open: &IntGauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn gauge_count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl ChatMetrics {
    /// Measures a call to this endpoint. The name comes from the code, never from the request, so that labels stay few.
    #[must_use]
    pub fn call(&self, api: ClientApi, endpoint: &'static str) -> CallMeter {
        CallMeter { all: Arc::clone(&self.all), api, endpoint }
    }

    /// Counts a stream or long poll of this endpoint, until the guard is dropped.
    #[must_use]
    pub fn stream(&self, api: ClientApi, endpoint: &'static str) -> StreamGuard {
        let labels = [api.label(), endpoint];
        let open = self.all.listeners.streams.with_label_values(&labels);
        open.inc();
        StreamGuard { open, events: self.all.listeners.events.with_label_values(&labels) }
    }

    /// Counts a connection to this API, until the guard is dropped.
    #[must_use]
    pub fn connection(&self, api: ClientApi) -> GaugeGuard {
        GaugeGuard::one(&self.all.listeners.connections.with_label_values(&[api.label()]))
    }

    /// Counts a connection or request that was turned away; the reason is one from the code.
    pub(crate) fn client_refused(&self, api: ClientApi, reason: &'static str) {
        self.all.listeners.refused.with_label_values(&[api.label(), reason]).inc();
    }

    /// Counts a connection that the listener ended.
    pub(crate) fn connection_closed(&self, api: ClientApi, reason: &'static str) {
        self.all.listeners.closed.with_label_values(&[api.label(), reason]).inc();
    }

    /// Sets the number of connections to a listener that have shown no session.
    pub(crate) fn connections_without_session(&self, api: ClientApi, count: usize) {
        self.all.listeners.without_session.with_label_values(&[api.label()]).set(gauge_count(count));
    }

    /// Sets the number of bytes that the requests and responses of both listeners hold.
    pub(crate) fn bytes_in_flight(&self, requests: usize, responses: usize) {
        self.all.listeners.request_bytes.set(gauge_count(requests));
        self.all.listeners.response_bytes.set(gauge_count(responses));
    }

    /// Counts a command on its way to the log and back, until the guard is dropped.
    #[must_use]
    pub fn proposal(&self) -> GaugeGuard {
        GaugeGuard::one(&self.all.proposals.in_flight)
    }

    /// Returns the number of client connections to both listeners.
    #[must_use]
    pub fn connections(&self) -> u32 {
        let open = |api: ClientApi| self.all.listeners.connections.with_label_values(&[api.label()]).get();
        u32::try_from(open(ClientApi::Grpc).saturating_add(open(ClientApi::Matrix))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{RefusalCode, RequestRefusal};

    #[tokio::test]
    async fn calls_are_counted_by_how_they_ended() {
        let metrics = ChatMetrics::new().unwrap();
        metrics.call(ClientApi::Grpc, "Send").run::<(), RequestRefusal>(async { Ok(()) }).await.unwrap();
        let refused = metrics
            .call(ClientApi::Grpc, "Send")
            .run::<(), RequestRefusal>(async { Err(RequestRefusal::new(RefusalCode::Forbidden, "no")) })
            .await;
        assert!(refused.is_err());
        drop(metrics.call(ClientApi::Grpc, "Send").run(std::future::pending::<Result<(), RequestRefusal>>()));
        let count = |code| metrics.all.listeners.requests.with_label_values(&["grpc", "Send", code]).get();
        assert_eq!((count("ok"), count("forbidden")), (1, 1));
    }

    #[test]
    fn open_streams_and_connections_are_counted_until_they_close() {
        let metrics = ChatMetrics::new().unwrap();
        let (one, two) = (metrics.connection(ClientApi::Grpc), metrics.connection(ClientApi::Matrix));
        assert_eq!(metrics.connections(), 2);
        drop((one, two));
        assert_eq!(metrics.connections(), 0);
        let stream = metrics.stream(ClientApi::Grpc, "Post");
        stream.events(3);
        assert_eq!(metrics.all.listeners.streams.with_label_values(&["grpc", "Post"]).get(), 1);
        drop(stream);
        assert_eq!(metrics.all.listeners.streams.with_label_values(&["grpc", "Post"]).get(), 0);
    }
}
