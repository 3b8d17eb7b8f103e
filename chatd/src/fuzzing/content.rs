//! The two checks of an event's content: the door's, and the one in apply, which must not be stricter.

use crate::service::limits;
use bytes::Bytes;
use quorate_core::fuzzing;

/// What the door lets in, apply takes.
pub(super) fn at_the_door(bytes: &[u8]) -> bool {
    let let_in = limits::content("content", &Bytes::copy_from_slice(bytes)).is_ok();
    assert!(!let_in || fuzzing::is_content(bytes), "let in by the door, refused in apply");
    let_in
}
