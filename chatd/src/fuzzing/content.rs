//! Both checks of an event's content: the one of the APIs, and the one of apply, which must not be stricter.

use crate::service::limits;
use bytes::Bytes;
use quorate_core::fuzzing;

/// Checks that apply accepts whatever the APIs accept.
pub(super) fn check_content_agreement(bytes: &[u8]) -> bool {
    let let_in = limits::check_content("content", &Bytes::copy_from_slice(bytes)).is_ok();
    assert!(!let_in || fuzzing::is_content(bytes), "accepted by the APIs, refused in apply");
    let_in
}
