//! Whether a rule applies to an event. ruma decides, except about words in the text of a message: its search calls itself
//! for each word, so that a text with thousands of words that begin like the one looked for would exhaust the stack of the
//! thread, and with it the process; and it takes wildcards in display names for patterns.
//! Source: Matrix specification, "Conditions for push rules", "Predefined Rules".

use futures::FutureExt as _;
use ruma::push::{AnyPushRuleRef, ConditionalPushRule, FlattenedJson, PushCondition, PushConditionRoomCtx};

/// Place of the text of a message: the only one in which words are looked for.
const BODY: &str = "content.body";

/// Rules that an event is not judged by if it says whom it mentions.
const RULES_FOR_TEXT: [&str; 3] = [".m.rule.contains_display_name", ".m.rule.roomnotif", ".m.rule.contains_user_name"];

/// Returns `true` if a rule applies to an event, which somebody else than the user has sent.
pub(super) fn rule_applies(rule: AnyPushRuleRef<'_>, event: &FlattenedJson, context: &PushConditionRoomCtx) -> bool {
    match rule {
        AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => all_conditions_hold(rule, event, context),
        AnyPushRuleRef::Content(rule) if !has_wildcards(&rule.pattern) => {
            rule.enabled && !is_superseded(&rule.rule_id, event) && body_contains(event, &rule.pattern)
        }
        // The future never waits: no condition that this build knows asks anybody.
        other => other.applies(event, context).now_or_never().unwrap_or_default(),
    }
}

fn all_conditions_hold(rule: &ConditionalPushRule, event: &FlattenedJson, context: &PushConditionRoomCtx) -> bool {
    rule.enabled
        && !is_superseded(&rule.rule_id, event)
        && rule.conditions.iter().all(|condition| condition_holds(condition, event, context))
}

#[expect(deprecated, reason = "the versions of the specification that are served have it")]
fn condition_holds(condition: &PushCondition, event: &FlattenedJson, context: &PushConditionRoomCtx) -> bool {
    match condition {
        PushCondition::ContainsDisplayName => body_contains(event, &context.user_display_name),
        PushCondition::EventMatch(data) if data.key == BODY && !has_wildcards(&data.pattern) => {
            body_contains(event, &data.pattern)
        }
        other => other.applies(event, context).now_or_never().unwrap_or_default(),
    }
}

fn is_superseded(rule_id: &str, event: &FlattenedJson) -> bool {
    RULES_FOR_TEXT.contains(&rule_id) && event.contains_mentions()
}

/// Returns `true` if a pattern is more than words.
pub(super) fn has_wildcards(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

fn body_contains(event: &FlattenedJson, words: &str) -> bool {
    event.get_str(BODY).is_some_and(|body| contains_words(&body.to_lowercase(), &words.to_lowercase()))
}

/// Returns `true` if a text contains words between two borders.
fn contains_words(text: &str, words: &str) -> bool {
    if words.is_empty() {
        return text.is_empty();
    }
    let mut from = 0;
    while let Some((start, rest)) = find_from(text, words, from) {
        if is_border(text, start) && is_border(text, start + words.len()) {
            return true;
        }
        // Whatever begins inside of a word has no border before it.
        let in_word = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
        let first = rest.chars().next().map_or(1, char::len_utf8);
        from = start + in_word.max(first);
    }
    false
}

/// Returns where the words are found at or after a place, and the text from there.
fn find_from<'t>(text: &'t str, words: &str, from: usize) -> Option<(usize, &'t str)> {
    let rest = text.get(from..)?;
    let found = rest.find(words)?;
    Some((from + found, rest.get(found..)?))
}

/// Returns `true` unless there is a character of a word on both sides of a place.
fn is_border(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|text| text.chars().next_back());
    let after = text.get(at..).and_then(|text| text.chars().next());
    !(before.is_some_and(is_of_word) && after.is_some_and(is_of_word))
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::default_rules;
    use ruma::serde::Raw;
    use ruma::{RoomId, UInt, user_id};
    use serde_json::json;

    fn flat(content: serde_json::Value) -> FlattenedJson {
        let event = json!({"type": "m.room.message", "sender": "@alice:a.org", "content": content});
        FlattenedJson::from_raw(&Raw::new(&event).unwrap())
    }

    fn bob_named(name: &str) -> PushConditionRoomCtx {
        let room = RoomId::parse("!room:a.org").unwrap();
        PushConditionRoomCtx::new(room, UInt::new_saturating(3), user_id!("@bob:a.org").to_owned(), name.to_owned())
    }

    /// Returns the id of the first default rule of Bob's that applies to a message.
    fn rule_for(content: serde_json::Value, name: &str) -> String {
        let rules = default_rules(user_id!("@bob:a.org"));
        let event = flat(content);
        let context = bob_named(name);
        let mut all = rules.iter();
        all.find(|rule| rule_applies(*rule, &event, &context)).map(|rule| rule.rule_id().to_owned()).unwrap_or_default()
    }

    #[test]
    fn words_are_found_between_borders_and_nowhere_else() {
        for (text, words) in [
            ("hello bob", "bob"),
            ("bob", "bob"),
            ("(bob)", "bob"),
            ("bobs, bob", "bob"),
            ("xb b b", "b b"),
            ("é bob é", "bob"),
            ("ask @room now", "@room"),
            ("a@room", "@room"),
            ("one (: two", "(:"),
            ("", ""),
        ] {
            assert!(contains_words(text, words), "{words:?} is in {text:?}");
        }
        for (text, words) in
            [("bobs", "bob"), ("xbob", "bob"), ("bob_", "bob"), ("@rooms", "@room"), ("bo b", "bob"), ("x", "")]
        {
            assert!(!contains_words(text, words), "{words:?} is not in {text:?}");
        }
    }

    #[test]
    fn a_text_of_words_that_begin_like_a_name_is_searched_in_little_time_and_stack() {
        let body = "bobx ".repeat(13_000);
        let searched = std::thread::Builder::new().stack_size(512 << 10);
        let found = searched.spawn(move || rule_for(json!({"msgtype": "m.text", "body": body}), "Bob")).unwrap();
        assert_eq!(found.join().unwrap(), ".m.rule.message");
        assert!(!contains_words(&"a".repeat(1 << 16), &"a".repeat(512)));
    }

    #[test]
    fn rules_for_text_find_names_as_they_are_written_unless_mentions_are_named() {
        let text = |body: &str| json!({"msgtype": "m.text", "body": body});
        assert_eq!(rule_for(text("Hello, BOB!"), "Robert"), ".m.rule.contains_user_name");
        assert_eq!(rule_for(text("hello robert"), "Robert"), ".m.rule.contains_display_name");
        assert_eq!(rule_for(text("hello you"), "*"), ".m.rule.message", "a star is a name, not all names");
        assert_eq!(rule_for(text("hello *"), "*"), ".m.rule.contains_display_name");
        let named = json!({"msgtype": "m.text", "body": "bob", "m.mentions": {}});
        assert_eq!(rule_for(named, "Bob"), ".m.rule.message");
    }
}
