//! Keys of the dialogues by which accounts were registered, in `Table::Meta`.

/// Common prefix of the keys of `RegisteredDialogue` rows.
pub const REGISTERED_DIALOGUES: &[u8] = b"registered/";

/// Returns the key of the row of a dialogue that expires at a time. The time comes first, so that a scan finds the expired
/// ones at the front.
#[must_use]
pub fn registered_dialogue(expires_ms: u64, digest: &[u8]) -> Vec<u8> {
    [REGISTERED_DIALOGUES, expires_ms.to_be_bytes().as_slice(), digest].concat()
}
