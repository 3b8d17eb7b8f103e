//! Metrics of the client APIs: counts and times.

use super::Metrics;
use super::catalogue::Instruments;
use crate::trace::CallError;
use quorate_meter::{IntCounter, IntGauge};
use std::sync::Arc;
use std::time::Instant;

/// A client API of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The gRPC API, `quorate.chat.v1`.
    Grpc,
    /// The Matrix Client-Server API.
    Matrix,
}

impl Door {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Matrix => "matrix",
        }
    }
}

/// Measurement of one call, from its decoding to its answer.
pub struct Call {
    all: Arc<Instruments>,
    door: Door,
    endpoint: &'static str,
}

impl Call {
    /// Runs the call. A call that its client gave up is counted, too, as `cancelled`.
    ///
    /// # Errors
    /// The call's own error.
    pub async fn run<T, E: CallError>(self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut count = Count { call: self, code: "cancelled", began: Instant::now() };
        let answer = call.await;
        count.code = answer.as_ref().map_or_else(CallError::label, |_| "ok");
        answer
    }
}

struct Count {
    call: Call,
    code: &'static str,
    began: Instant,
}

impl Drop for Count {
    fn drop(&mut self) {
        let Call { all, door, endpoint } = &self.call;
        all.doors.requests.with_label_values(&[door.label(), *endpoint, self.code]).inc();
        all.doors.seconds.with_label_values(&[door.label(), *endpoint]).observe(self.began.elapsed().as_secs_f64());
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
pub struct Counted(IntGauge);

impl Counted {
    pub(super) fn one(open: &IntGauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Metrics {
    /// Measures a call to this endpoint. The name comes from the code, never from the request, so that labels stay few.
    #[must_use]
    pub fn door(&self, door: Door, endpoint: &'static str) -> Call {
        Call { all: Arc::clone(&self.all), door, endpoint }
    }

    /// Counts a stream or long poll of this endpoint, until the guard is dropped.
    #[must_use]
    pub fn stream(&self, door: Door, endpoint: &'static str) -> StreamGuard {
        let labels = [door.label(), endpoint];
        let open = self.all.doors.streams.with_label_values(&labels);
        open.inc();
        StreamGuard { open, events: self.all.doors.events.with_label_values(&labels) }
    }

    /// Counts a connection to this API, until the guard is dropped.
    #[must_use]
    pub fn connection(&self, door: Door) -> Counted {
        Counted::one(&self.all.doors.connections.with_label_values(&[door.label()]))
    }

    /// Counts a connection or request that was turned away; the reason is one from the code.
    pub(crate) fn door_refused(&self, door: Door, reason: &'static str) {
        self.all.doors.refused.with_label_values(&[door.label(), reason]).inc();
    }

    /// Counts a connection that the listener ended.
    pub(crate) fn door_closed(&self, door: Door, reason: &'static str) {
        self.all.doors.closed.with_label_values(&[door.label(), reason]).inc();
    }

    /// Sets the number of connections to a listener that have shown no session.
    pub(crate) fn door_strangers(&self, door: Door, strangers: usize) {
        self.all.doors.strangers.with_label_values(&[door.label()]).set(signed(strangers));
    }

    /// Sets the number of bytes that the requests and answers of both listeners hold.
    pub(crate) fn doors_hold(&self, requests: usize, answers: usize) {
        self.all.doors.request_bytes.set(signed(requests));
        self.all.doors.answer_bytes.set(signed(answers));
    }

    /// Counts a command on its way to the log and back, until the guard is dropped.
    #[must_use]
    pub fn proposal(&self) -> Counted {
        Counted::one(&self.all.proposals.in_flight)
    }

    /// Returns the number of client connections to both listeners.
    #[must_use]
    pub fn connections(&self) -> u32 {
        let open = |door: Door| self.all.doors.connections.with_label_values(&[door.label()]).get();
        u32::try_from(open(Door::Grpc).saturating_add(open(Door::Matrix))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Code, Refusal};

    #[tokio::test]
    async fn calls_are_counted_by_how_they_ended() {
        let metrics = Metrics::new().unwrap();
        metrics.door(Door::Grpc, "Send").run::<(), Refusal>(async { Ok(()) }).await.unwrap();
        let refused = metrics
            .door(Door::Grpc, "Send")
            .run::<(), Refusal>(async { Err(Refusal::new(Code::Forbidden, "no")) })
            .await;
        assert!(refused.is_err());
        drop(metrics.door(Door::Grpc, "Send").run(std::future::pending::<Result<(), Refusal>>()));
        let count = |code| metrics.all.doors.requests.with_label_values(&["grpc", "Send", code]).get();
        assert_eq!((count("ok"), count("forbidden")), (1, 1));
    }

    #[test]
    fn open_streams_and_connections_are_counted_until_they_close() {
        let metrics = Metrics::new().unwrap();
        let (one, two) = (metrics.connection(Door::Grpc), metrics.connection(Door::Matrix));
        assert_eq!(metrics.connections(), 2);
        drop((one, two));
        assert_eq!(metrics.connections(), 0);
        let stream = metrics.stream(Door::Grpc, "Post");
        stream.events(3);
        assert_eq!(metrics.all.doors.streams.with_label_values(&["grpc", "Post"]).get(), 1);
        drop(stream);
        assert_eq!(metrics.all.doors.streams.with_label_values(&["grpc", "Post"]).get(), 0);
    }
}
