//! Answers, which count against their budget until the caller has taken them.

use super::places::{OpenRequest, TrackedConnection};
use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Minimum size of frames that are counted: an answer to a post is on the way of every message, and the number of such
/// answers that wait on a connection is bounded by its streams.
const COUNTED_FROM: usize = 1024;
/// Size of the pieces in which larger frames are handed over, so that taking one shows that the caller is there. Each
/// piece costs a `writev`.
const PIECE: usize = 64 * 1024;

/// Body of an answer. The request is open until all of the body was handed to the connection; its bytes count until the
/// connection has let go of them, which is when the socket has taken them.
pub(super) struct AnswerBody {
    inner: Body,
    /// Counted bytes that `inner` still has: over HTTP/2 it is not polled while the caller's window is shut.
    ahead: usize,
    /// Rest of the last frame; `counted` says whether its bytes are counted.
    rest: Bytes,
    counted: bool,
    busy: OpenRequest,
}

impl AnswerBody {
    pub(super) fn new(inner: Body, busy: OpenRequest) -> Self {
        let size = inner.size_hint().exact().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let ahead = if size < COUNTED_FROM { 0 } else { size };
        if ahead > 0 {
            busy.held().made(ahead);
        }
        Self { inner, ahead, rest: Bytes::new(), counted: false, busy }
    }

    fn take(&mut self, data: Bytes) {
        self.counted = self.ahead > 0 || data.len() >= COUNTED_FROM;
        if self.counted {
            // What the body announced was counted when it was made.
            let new = data.len().saturating_sub(self.ahead);
            self.ahead = self.ahead.saturating_sub(data.len());
            if new > 0 {
                self.busy.held().made(new);
            }
        }
        self.rest = data;
    }

    fn next_piece(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        if self.counted && !piece.is_empty() {
            let held = Arc::clone(self.busy.held());
            return Bytes::from_owner(UnsentBytes { bytes: piece, held });
        }
        piece
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let rest = if self.counted { self.rest.len() } else { 0 };
        let left = self.ahead.saturating_add(rest);
        if left > 0 {
            self.busy.held().gone(left);
        }
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.take(data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.next_piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.size_hint();
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// Bytes that are counted until the last copy of them is dropped.
struct UnsentBytes {
    bytes: Bytes,
    held: Arc<TrackedConnection>,
}

impl AsRef<[u8]> for UnsentBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for UnsentBytes {
    fn drop(&mut self) {
        self.held.gone(self.bytes.len());
    }
}
