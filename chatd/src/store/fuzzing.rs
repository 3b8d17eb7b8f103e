//! Entry point for fuzzing the rows of chatd itself; see [`crate::fuzzing`].

use super::row;
use std::path::Path;

/// Parses both rows and checks that encoding them again yields the same. The input is the length of the first row in
/// one byte, then both rows. Returns `true` if the input was accepted.
pub(crate) fn fuzz_applied(bytes: &[u8]) -> bool {
    let Some((len, rest)) = bytes.split_first() else { return false };
    let Some((applied, membership)) = rest.split_at_checked(usize::from(*len)) else { return false };
    let path = Path::new("state");
    let Ok(read) = row::decode_applied(path, Some(applied), Some(membership)) else { return false };
    let Some(log_id) = read.log_id else { return false };
    let again =
        row::decode_applied(path, Some(&row::encode_applied(log_id)), Some(&row::encode_membership(&read.membership)));
    assert!(again.is_ok_and(|again| again == read));
    true
}
