//! Versions of HTTP that a listener speaks, with their limits.

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;

/// Builder of hyper's connections, with the limits of a listener.
pub(crate) struct ConnectionBuilder {
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    pub(super) is_http2_only: bool,
}

impl ConnectionBuilder {
    /// Creates a builder for HTTP/1 and HTTP/2, with the limits that hyper sets.
    pub(crate) fn new() -> Self {
        Self { http1: http1::Builder::new(), http2: http2::Builder::new(TokioExecutor::new()), is_http2_only: false }
    }

    /// Returns the builder for a listener that speaks HTTP/2 alone, even to those who do not begin with its preface.
    pub(crate) fn http2_only(self) -> Self {
        Self { is_http2_only: true, ..self }
    }

    /// Returns the limits of HTTP/1, to be set.
    pub(crate) fn http1(&mut self) -> &mut http1::Builder {
        &mut self.http1
    }

    /// Returns the limits of HTTP/2, to be set.
    pub(crate) fn http2(&mut self) -> &mut http2::Builder<TokioExecutor> {
        &mut self.http2
    }
}
