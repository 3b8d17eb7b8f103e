//! An error with its causes, in one line, for people: in the status, in events and in the log.

use std::error::Error;

/// More than this of one error helps nobody, and events take 1024 bytes. Admission webhooks have written pages.
const MOST: usize = 700;

/// The error and what caused it. Where the API server has spoken, its own words stand, and not the rest of its answer.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let (words, cause) = match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => (api_words(status), None),
            _ => (error.to_string(), error.source()),
        };
        if text.is_empty() {
            text = words;
        } else if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause;
    }
    in_short(&text, MOST)
}

fn api_words(status: &kube::core::Status) -> String {
    match (status.message.is_empty(), status.reason.is_empty()) {
        (false, _) => status.message.clone(),
        (true, false) => status.reason.clone(),
        (true, true) => format!("the API server answered {}", status.code),
    }
}

/// The beginning of a text, with a sign that it goes on.
#[must_use]
pub fn in_short(text: &str, most: usize) -> String {
    let text = text.trim();
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most).chain("…".chars()).collect()
}

/// The end of a text: messages of image pulls run to several lines, and their end says why.
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
