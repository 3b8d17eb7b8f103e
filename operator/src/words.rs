//! Error messages that include their causes, in one line, for the status, events and the log.

use quorate_wire::cause::causes_of;
use std::error::Error;

/// Maximum length of an error message in characters. More helps nobody, and events take 1024 bytes; admission webhooks
/// have written pages.
const MOST: usize = 700;

/// Returns the message of an error with those of its causes. Where the API server has given a message, that message
/// stands without the rest of its answer.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for error in std::iter::once(error).chain(causes_of(error)) {
        let answer = match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Some(api_words(status)),
            _ => None,
        };
        let is_answer = answer.is_some();
        let words = answer.unwrap_or_else(|| error.to_string());
        if text.is_empty() {
            text = words;
        // Many errors repeat the words of their cause.
        } else if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        if is_answer {
            break;
        }
    }
    in_short(&text, MOST)
}

fn api_words(status: &kube::core::Status) -> String {
    if !status.message.is_empty() {
        status.message.clone()
    } else if !status.reason.is_empty() {
        status.reason.clone()
    } else {
        format!("the API server answered {}", status.code)
    }
}

/// Returns the beginning of a text, with an ellipsis if it goes on.
#[must_use]
pub fn in_short(text: &str, most: usize) -> String {
    let text = text.trim();
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most).chain("…".chars()).collect()
}

/// Returns the end of a text, because messages of image pulls run to several lines and their end gives the reason.
#[must_use]
pub fn end_of(text: &str, most: usize) -> String {
    let text = text.trim();
    let skipped = text.chars().count().saturating_sub(most);
    if skipped == 0 { text.to_owned() } else { "…".chars().chain(text.chars().skip(skipped)).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot apply StatefulSet/team")]
    struct Outer(#[source] kube::Error);

    #[test]
    fn the_api_servers_own_words_stand_and_nothing_around_them() {
        let status = kube::core::Status { message: "limits: exceeded".into(), code: 422, ..Default::default() };
        let text = with_causes(&Outer(kube::Error::Api(Box::new(status))));
        assert_eq!(text, "cannot apply StatefulSet/team: limits: exceeded");
    }

    #[test]
    fn an_answer_without_words_gives_its_code() {
        let status = kube::core::Status { code: 429, ..Default::default() };
        assert!(with_causes(&Outer(kube::Error::Api(Box::new(status)))).ends_with("answered 429"));
    }

    #[test]
    fn long_texts_are_cut_at_the_end_that_says_less() {
        assert_eq!(in_short("abcdef", 3), "abc…");
        assert_eq!(end_of("abcdef", 3), "…def");
        assert_eq!((in_short("ä", 1), end_of("ä", 1)), ("ä".into(), "ä".into()));
    }
}
