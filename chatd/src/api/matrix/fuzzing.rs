//! Fuzzed decoders of the Matrix API; see [`crate::fuzzing`].

use super::endpoint::RequestReader;
use axum::http::{Request, Uri};
use bytes::Bytes;
use std::sync::LazyLock;

static READERS: LazyLock<Vec<RequestReader>> = LazyLock::new(|| super::all_routes().into_readers());

/// Reads a request: the first byte is the endpoint, then follow a line of the path's arguments between spaces, a line
/// with the query, and the body. Returns `true` if the request is valid.
pub(crate) fn check_matrix_request(bytes: &[u8]) -> bool {
    let Some((number, rest)) = bytes.split_first() else { return false };
    let Some(reader) = READERS.get(usize::from(*number)) else { return false };
    let mut lines = rest.splitn(3, |byte| *byte == b'\n');
    let mut text = || lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let (Some(path), Some(query)) = (text(), text()) else { return false };
    let body = Bytes::copy_from_slice(lines.next().unwrap_or_default());
    let mut arguments: Vec<&str> = path.split(' ').collect();
    // The router gives as many arguments as the path has places.
    arguments.resize(reader.arguments, "");
    let Ok(uri) = format!("/x?{query}").parse::<Uri>() else { return false };
    let Ok(request) = Request::builder().method(reader.method.clone()).uri(uri).body(body) else { return false };
    reader.read(&arguments, request).is_ok()
}
