//! Rules of a user: those of the specification, and what the user changed. They are kept as the account data
//! `m.push_rules`.

use ruma::UserId;
use ruma::events::push_rules::PushRulesEventContent;
use ruma::power_levels::NotificationPowerLevelsKey;
use ruma::push::{
    Action, ConditionalPushRule, ConditionalPushRuleInit, EventMatchConditionData, HighlightTweakValue,
    PatternedPushRuleInit, PredefinedContentRuleId, PredefinedOverrideRuleId, PushCondition, Ruleset,
    SenderNotificationPermissionConditionData, SoundTweakValue, Tweak,
};

/// Type of the account data that holds a user's rules.
pub(crate) const PUSH_RULES: &str = "m.push_rules";

/// Returns the rules of a user who never changed one.
pub(crate) fn default_rules(user: &UserId) -> Ruleset {
    let mut rules = Ruleset::server_default(user);
    add_rules_for_text(&mut rules, user);
    rules
}

/// Adds the rules that find mentions in the text of a message. Clients that do not say in `m.mentions` whom they mention
/// depend on them; an event that has the property is not judged by them (specification 1.7 to 1.16, "Predefined Rules").
#[expect(deprecated, reason = "the versions of the specification that are served have them")]
fn add_rules_for_text(rules: &mut Ruleset, user: &UserId) {
    let highlight = || Action::SetTweak(Tweak::Highlight(HighlightTweakValue::Yes));
    let sound = || Action::SetTweak(Tweak::Sound(SoundTweakValue::Default));
    let names_user = ConditionalPushRuleInit {
        actions: vec![Action::Notify, sound(), highlight()],
        default: true,
        enabled: true,
        rule_id: PredefinedOverrideRuleId::ContainsDisplayName.to_string(),
        conditions: vec![PushCondition::ContainsDisplayName],
    };
    insert_after(rules, PredefinedOverrideRuleId::IsUserMention.as_str(), names_user.into());
    let names_room = ConditionalPushRuleInit {
        actions: vec![Action::Notify, highlight()],
        default: true,
        enabled: true,
        rule_id: PredefinedOverrideRuleId::RoomNotif.to_string(),
        conditions: vec![
            EventMatchConditionData::new("content.body".into(), "@room".into()).into(),
            SenderNotificationPermissionConditionData::new(NotificationPowerLevelsKey::Room).into(),
        ],
    };
    insert_after(rules, PredefinedOverrideRuleId::IsRoomMention.as_str(), names_room.into());
    let names_localpart = PatternedPushRuleInit {
        actions: vec![Action::Notify, sound(), highlight()],
        default: true,
        enabled: true,
        rule_id: PredefinedContentRuleId::ContainsUserName.to_string(),
        pattern: user.localpart().to_owned(),
    };
    rules.content.insert(names_localpart.into());
}

/// Inserts a rule after another one: the first that applies decides.
fn insert_after(rules: &mut Ruleset, before: &str, rule: ConditionalPushRule) {
    let (from, _) = rules.override_.insert_full(rule);
    if let Some(place) = rules.override_.get_index_of(before) {
        rules.override_.move_index(from, place + 1);
    }
}

/// Returns the rules in the content of `m.push_rules`, with all defaults of this version.
pub(crate) fn stored_rules(user: &UserId, content: Option<&[u8]>) -> Result<Ruleset, serde_json::Error> {
    let defaults = default_rules(user);
    let Some(content) = content else { return Ok(defaults) };
    let stored: PushRulesEventContent = serde_json::from_slice(content)?;
    let mut rules = stored.global;
    rules.update_with_server_default(defaults);
    Ok(rules)
}

/// Returns the content of `m.push_rules` with these rules.
pub(crate) fn encode_rules(rules: Ruleset) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&PushRulesEventContent::new(rules))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruma::push::{NewPushRule, NewSimplePushRule, RemovePushRuleError, RuleKind};
    use ruma::user_id;

    fn user() -> &'static UserId {
        user_id!("@alice:a.org")
    }

    #[test]
    fn rules_that_were_stored_keep_the_users_own_and_get_new_defaults() {
        let mut rules = Ruleset::new();
        let own = NewSimplePushRule::new("!room:a.org".try_into().unwrap(), Vec::new());
        rules.insert(NewPushRule::Room(own), None, None).unwrap();
        let read = stored_rules(user(), Some(&encode_rules(rules).unwrap())).unwrap();
        assert!(read.get(RuleKind::Room, "!room:a.org").is_some());
        assert!(read.get(RuleKind::Override, ".m.rule.master").is_some());
    }

    #[test]
    fn a_user_without_stored_rules_has_the_defaults() {
        let read = stored_rules(user(), None).unwrap();
        assert_eq!(encode_rules(read).unwrap(), encode_rules(default_rules(user())).unwrap());
    }

    #[test]
    fn default_rules_can_be_switched_off_and_not_removed() {
        let mut rules = default_rules(user());
        rules.set_enabled(RuleKind::Override, ".m.rule.master", true).unwrap();
        let read = stored_rules(user(), Some(&encode_rules(rules.clone()).unwrap())).unwrap();
        assert!(read.get(RuleKind::Override, ".m.rule.master").unwrap().enabled());
        let removed = rules.remove(RuleKind::Override, ".m.rule.master");
        assert!(matches!(removed, Err(RemovePushRuleError::ServerDefault)));
    }

    #[test]
    fn the_rules_for_text_are_in_the_places_of_the_specification() {
        let rules = default_rules(user());
        let ids: Vec<_> = rules.override_.iter().map(|rule| rule.rule_id.as_str()).collect();
        let from = ids.iter().position(|id| *id == ".m.rule.is_user_mention").unwrap();
        let expected = [
            ".m.rule.is_user_mention",
            ".m.rule.contains_display_name",
            ".m.rule.is_room_mention",
            ".m.rule.roomnotif",
            ".m.rule.tombstone",
        ];
        assert_eq!(ids[from..from + 5], expected);
        assert_eq!(rules.content.first().unwrap().pattern, "alice");
    }
}
