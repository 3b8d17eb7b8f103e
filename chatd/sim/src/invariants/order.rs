//! Invariant of the order of messages.

use super::clients::FinalState;
use super::{CheckResult, fail_check};

/// Checks that the messages that a client gives to its streams stand in the log in the order in which they were given,
/// whatever leaders came and went, and whichever stream carried them in the end (ADR 13). A message that was never
/// applied leaves its place free.
///
/// # Errors
/// The violation names both messages.
pub fn streams_keep_their_order(end: &FinalState<'_>) -> CheckResult {
    let places = end.places();
    for (user, keys) in &end.record.streamed {
        let placed: Vec<_> = keys.iter().filter_map(|key| Some((places.get(key)?.first()?, key))).collect();
        let swapped = placed.windows(2).find(|pair| pair[0].0 >= pair[1].0);
        if let Some([(first, earlier), (second, later)]) = swapped {
            let what = format!("{user} posted {earlier} before {later}, but they are at {first:?} and {second:?}");
            return fail_check("streams_keep_their_order", what);
        }
    }
    Ok(())
}
