//! Request bodies as they come in: charged to the budget, and not waited for longer than they are worth.

use super::budget::BodyCharge;
use crate::metrics::ClientApi;
use axum::BoxError;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use quorate_wire::cause::causes_of;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Fault of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    /// The body is longer than the endpoint accepts.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// The body does not come, or drips.
    #[error("the body arrived too slowly; send it at once, in one piece")]
    TooSlow,
    /// The budget of the process or of the address is full.
    #[error("too many request bodies are in progress; try again in a moment")]
    Crowded,
}

impl BodyFault {
    /// Finds the fault behind the error that a reader of the body got.
    pub(crate) fn behind(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        std::iter::once(error).chain(causes_of(error)).find_map(|error| error.downcast_ref::<Self>().copied())
    }

    /// Returns the name of the fault in the metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::TooLarge(_) => "large_body",
            Self::TooSlow => "slow_body",
            Self::Crowded => "request_bytes",
        }
    }
}

/// Rules for what is held of a body, and for how long.
pub(super) struct BodyRules {
    limit: usize,
    messages: Option<GrpcFraming>,
    stream: bool,
}

impl BodyRules {
    /// Creates the rules for a body that is read whole.
    pub(super) fn plain() -> Self {
        Self { limit: usize::MAX, messages: None, stream: false }
    }

    /// Creates the rules for a body of gRPC messages. In a stream, only the message that has not come whole yet is
    /// held.
    pub(super) fn messages(limit: usize, stream: bool) -> Self {
        Self { limit, messages: Some(GrpcFraming::default()), stream }
    }
}

/// Position of a body in a sequence of gRPC messages: each begins with a header of five bytes, the last four of which
/// are its length.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GrpcFraming {
    head: [u8; 5],
    head_bytes: usize,
    left: usize,
}

impl GrpcFraming {
    pub(super) fn is_between(&self) -> bool {
        self.head_bytes == 0 && self.left == 0
    }

    pub(super) fn advance(&mut self, mut data: &[u8]) {
        while let Some(first) = data.first() {
            if self.left > 0 {
                let taken = self.left.min(data.len());
                self.left -= taken;
                data = data.get(taken..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.head.get_mut(self.head_bytes) {
                *place = *first;
            }
            self.head_bytes += 1;
            data = data.get(1..).unwrap_or_default();
            if self.head_bytes == self.head.len() {
                let [_, a, b, c, d] = self.head;
                self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.head_bytes = 0;
            }
        }
    }
}

/// Body of a request, charged to the budget.
pub(super) struct CallerBody<F> {
    incoming: Incoming,
    charge: Arc<BodyCharge>,
    api: ClientApi,
    holding: BodyRules,
    spell: F,
    /// Bytes received of the whole body; `awaited` are those of the part that must come in time.
    received: usize,
    awaited: usize,
    /// Time at which the body was first waited for; `None` for most bodies, which come with their head.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    failed: bool,
}

impl<F: Fn(BodyFault) -> BoxError + Unpin> CallerBody<F> {
    pub(super) fn new(
        incoming: Incoming,
        charge: Arc<BodyCharge>,
        api: ClientApi,
        holding: BodyRules,
        spell: F,
    ) -> Self {
        Self { incoming, charge, api, holding, spell, received: 0, awaited: 0, since: None, timer: None, failed: false }
    }

    fn fail(&mut self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.failed = true;
        self.charge.bounds().refused(self.api, fault.label());
        Poll::Ready(Some(Err((self.spell)(fault))))
    }

    fn take(&mut self, data: &Bytes) -> Result<(), BodyFault> {
        self.received = self.received.saturating_add(data.len());
        self.awaited = self.awaited.saturating_add(data.len());
        if self.received > self.holding.limit {
            return Err(BodyFault::TooLarge(self.holding.limit));
        }
        if let Some(messages) = &mut self.holding.messages {
            messages.advance(data);
        }
        if self.charge.take(data.len()) { Ok(()) } else { Err(BodyFault::Crowded) }
    }

    /// Returns `true` if the caller may take its time now: between two messages of a stream.
    fn rests(&self) -> bool {
        self.holding.stream && self.holding.messages.as_ref().is_some_and(GrpcFraming::is_between)
    }

    /// Gives back the charge of what came before: the handler has it, and bounds it itself.
    fn pass_on(&mut self) {
        self.charge.give_back();
        (self.awaited, self.since, self.timer) = (0, None, None);
    }

    /// Becomes ready when the body should have been there.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.charge.bounds().patience;
        let since = *self.since.get_or_insert_with(Instant::now);
        let awaited = u32::try_from(self.awaited).unwrap_or(u32::MAX);
        let earned = Duration::from_secs_f64(f64::from(awaited) / f64::from(patience.body_rate.max(1)));
        let until = since + patience.body + earned;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        // What has come since the timer was set has moved the deadline.
        if timer.as_mut().poll(cx).is_ready() && Instant::now() < until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }
}

impl<F: Fn(BodyFault) -> BoxError + Unpin> Body for CallerBody<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        // Whoever asks for the next frame has taken the message before it.
        if self.awaited > 0 && self.rests() {
            self.pass_on();
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref()
                    && let Err(fault) = self.take(data)
                {
                    return self.fail(fault);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if self.rests() => Poll::Pending,
            Poll::Pending => match self.poll_late(cx) {
                Poll::Ready(()) => self.fail(BodyFault::TooSlow),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_followed_over_any_cuts() {
        let mut body = vec![0, 0, 0, 0, 3, 7, 7, 7];
        body.extend([0, 0, 0, 0, 0]);
        body.extend([0, 0, 0, 1, 0]);
        body.extend([9; 256]);
        for cut in 1..body.len() {
            let mut messages = GrpcFraming::default();
            for piece in body.chunks(cut) {
                messages.advance(piece);
            }
            assert!(messages.is_between(), "pieces of {cut}");
        }
        let mut messages = GrpcFraming::default();
        messages.advance(&body[..7]);
        assert!(!messages.is_between());
        messages.advance(&body[7..8]);
        assert!(messages.is_between());
        messages.advance(&[0, 255]);
        assert!(!messages.is_between());
    }

    #[test]
    fn a_fault_is_found_behind_the_errors_around_it() {
        let error = axum::Error::new(axum::Error::new(BodyFault::TooSlow));
        assert_eq!(BodyFault::behind(&error), Some(BodyFault::TooSlow));
        assert_eq!(BodyFault::behind(&std::io::Error::other("broken")), None);
    }
}
