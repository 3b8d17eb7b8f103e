//! Keys of what one user has, all of them in `Table::Meta`.

/// Returns the key of a user's `ProfileFields` row in `Table::Meta`.
#[must_use]
pub fn profile_key(localpart: &str) -> Vec<u8> {
    [b"profile/", localpart.as_bytes()].concat()
}

/// Returns the key of a user's `RemovedData` row in `Table::Meta`.
#[must_use]
pub fn removed_data_key(localpart: &str) -> Vec<u8> {
    [b"removed/", localpart.as_bytes()].concat()
}
