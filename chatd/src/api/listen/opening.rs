//! First bytes of a connection, which tell the version of HTTP.

use super::places::{ConnectionSignal, TrackedConnection};
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes with which a connection of HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Version of HTTP, of those that are told apart by the first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVersion {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Version of a connection, and the bytes that were read to learn it.
pub(super) struct HttpOpening {
    pub(super) version: HttpVersion,
    pub(super) read: Bytes,
}

/// Reads the first bytes of a connection; `None` if it was told to end or to finish before they came.
pub(super) async fn read_opening<I: AsyncRead + Unpin>(
    io: &mut I,
    held: &TrackedConnection,
) -> io::Result<Option<HttpOpening>> {
    let mut bytes = [0; PREFACE.len()];
    let mut read = ReadBuf::new(&mut bytes);
    let version = poll_fn(|cx| {
        held.waker.register(cx.waker());
        if held.told() != ConnectionSignal::GoOn {
            return Poll::Ready(Ok(None));
        }
        poll_version(io, &mut read, cx).map_ok(Some)
    });
    let version = version.await?;
    Ok(version.map(|version| HttpOpening { version, read: Bytes::copy_from_slice(read.filled()) }))
}

/// Reads until the bytes are the preface of HTTP/2 or cannot become it. `read` has room for the preface and no more.
fn poll_version<I: AsyncRead + Unpin>(
    io: &mut I,
    read: &mut ReadBuf<'_>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<HttpVersion>> {
    while read.remaining() > 0 {
        let before = read.filled().len();
        ready!(Pin::new(&mut *io).poll_read(cx, read))?;
        // Also at the end of the stream: what HTTP/1 makes of it is for hyper to say.
        if read.filled().len() == before || !PREFACE.starts_with(read.filled()) {
            return Poll::Ready(Ok(HttpVersion::Http1));
        }
    }
    Poll::Ready(Ok(HttpVersion::Http2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    async fn version_of(first: &[u8], second: &[u8]) -> (HttpVersion, Vec<u8>) {
        let mut io = first.chain(second);
        let mut bytes = [0; PREFACE.len()];
        let mut read = ReadBuf::new(&mut bytes);
        let version = poll_fn(|cx| poll_version(&mut io, &mut read, cx)).await.unwrap();
        (version, read.filled().to_vec())
    }

    #[tokio::test]
    async fn a_preface_is_recognised_over_any_cut_and_anything_else_is_http_1() {
        for cut in 0..PREFACE.len() {
            let (first, second) = PREFACE.split_at(cut);
            assert_eq!(version_of(first, second).await, (HttpVersion::Http2, PREFACE.to_vec()), "cut at {cut}");
            assert_eq!(version_of(first, b"").await, (HttpVersion::Http1, first.to_vec()), "ends at {cut}");
        }
        let (version, read) = version_of(b"P", b"OST / HTTP/1.1\r\n").await;
        assert_eq!(version, HttpVersion::Http1);
        assert!(b"POST / HTTP/1.1\r\n".starts_with(&read), "{read:?}");
    }
}
