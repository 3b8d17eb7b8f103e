//! Payload of a post: [`BYTES`] bytes that carry a number, so that a receiver knows which message it holds.

use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Size of one message in bytes, for every system; Quorate's includes the JSON around the text.
pub(crate) const BYTES: usize = 256;
/// Mark that stands before the number, and in nothing that a protocol puts around it.
const MARK: &[u8] = b"%%";
const DIGITS: usize = 16;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Reserves `count` numbers that nobody else gets, and returns the first.
pub(crate) fn reserve_numbers(count: u64) -> u64 {
    NEXT.fetch_add(count, Relaxed)
}

/// Returns a number that nobody else gets.
pub(crate) fn next_number() -> u64 {
    reserve_numbers(1)
}

/// Returns a message as text.
pub(crate) fn message_text(number: u64) -> String {
    padded_text(number, BYTES)
}

/// Returns a message as the content of an `m.room.message`.
pub(crate) fn message_json(number: u64) -> Bytes {
    const BEFORE: &str = r#"{"body":""#;
    const BEHIND: &str = r#"","msgtype":"m.text"}"#;
    let body = padded_text(number, BYTES - BEFORE.len() - BEHIND.len());
    Bytes::from([BEFORE, &body, BEHIND].concat())
}

fn padded_text(number: u64, length: usize) -> String {
    let mut text = format!("%%{number:0DIGITS$}");
    text.extend(std::iter::repeat_n('x', length.saturating_sub(text.len())));
    text
}

/// Returns the number of a message, wherever in the bytes it stands, or `None` if there is none.
pub(crate) fn find_number(bytes: &[u8]) -> Option<u64> {
    let at = bytes.windows(MARK.len()).position(|window| window == MARK)?;
    number_behind(bytes, at)
}

/// Returns the numbers of all messages in the bytes, in their order.
pub(crate) fn find_numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let marks = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    marks.filter_map(move |(at, _)| number_behind(bytes, at))
}

/// Returns the number behind the mark at this place.
fn number_behind(bytes: &[u8], at: usize) -> Option<u64> {
    let digits = bytes.get(at + MARK.len()..at + MARK.len() + DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_the_same_size_and_carry_their_number() {
        for bytes in [Bytes::from(message_text(42)), message_json(42)] {
            assert_eq!(bytes.len(), BYTES);
            assert_eq!(find_number(&bytes), Some(42));
        }
        let content: serde_json::Value = serde_json::from_slice(&message_json(7)).unwrap();
        assert_eq!(content["msgtype"], "m.text");
    }

    #[test]
    fn a_number_is_found_inside_a_stanza_and_not_where_there_is_none() {
        assert_eq!(find_number(format!("<message><body>{}</body></message>", message_text(9)).as_bytes()), Some(9));
        assert_eq!(find_number(b"100%% of it"), None);
    }

    #[test]
    fn all_numbers_of_one_answer_are_found() {
        let answer = [message_json(3), Bytes::from_static(b"100%% of it"), message_json(4)].concat();
        assert_eq!(find_numbers(&answer).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(find_numbers(b"").count(), 0);
    }

    #[test]
    fn numbers_are_given_once() {
        let first = reserve_numbers(10);
        assert!(next_number() >= first + 10);
    }
}
