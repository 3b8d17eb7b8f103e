//! What the rules of a user say of an event.

use super::rule_match::{has_wildcards, rule_applies};
use super::ruleset::{default_rules, stored_rules};
use quorate_core::id::Position;
use quorate_core::query::{MemberReading, RoomEvent, StateView};
use quorate_core::table::ReadError;
use ruma::power_levels::NotificationPowerLevels;
use ruma::push::{
    Action, ConditionalPushRule, FlattenedJson, PushCondition, PushConditionPowerLevelsCtx, PushConditionRoomCtx,
    Ruleset,
};
use ruma::room_version_rules::{AuthorizationRules, RoomPowerLevelsRules};
use ruma::serde::Raw;
use ruma::{Int, OwnedRoomId, OwnedUserId, RoomId, UInt, UserId};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Number of events that are kept as rules look at them. Those who judge an event were told of it at the same time, so
/// that only the newest count.
const KEPT_EVENTS: usize = 64;

/// Maximum number of conditions of a user's own rules, of patterns with wildcards among them, and of the bytes of a pattern.
/// Each condition may go through all of a message, and a wildcard makes a regular expression, for every event anew:
/// together some milliseconds for a long message. Rules for rooms and senders are not counted.
const MOST_PATTERNS: usize = 200;
const MOST_GLOBS: usize = 20;
const MOST_PATTERN_BYTES: usize = 512;
/// Maximum length of a pattern with wildcards in bytes, and number of `?` in it. Where it may begin is tried at each
/// place of a text, and each `?` doubles the states in which the search can be: with hundreds of them, one message would
/// take a second.
const MOST_GLOB_BYTES: usize = 64;
const MOST_GAPS: usize = 4;
/// Number of conditions of a user's own rules up to which an event is judged in some microseconds.
const FEW_PATTERNS: usize = 20;

/// Text without which no default rule asks for the power of a sender: such an event has it in `@room`, or in
/// `m.mentions`.
const ROOM: &[u8] = b"room";

/// Rules of a user, ready to judge.
pub(super) struct PushJudge {
    user: OwnedUserId,
    rules: Ruleset,
    /// `true` if a rule of the user's own asks for the power of senders.
    asks_for_power: bool,
    /// `true` if the user's own rules cost little.
    is_cheap: bool,
}

/// Room, as conditions of rules see it.
pub(super) struct JudgedRoom {
    room_id: OwnedRoomId,
    members: UInt,
    user_name: String,
}

impl JudgedRoom {
    /// Describes a room; `user_name` is the display name of the user who may be notified.
    pub(super) fn new(reading: &MemberReading, user_name: String) -> Option<Self> {
        let room_id = RoomId::parse(&reading.room_id).ok()?;
        Some(Self { room_id, members: UInt::new_saturating(reading.joined_members), user_name })
    }
}

/// Event in the form in which rules look at it. What clients see of it only later is left out.
#[derive(Serialize)]
struct JudgedEvent<'e> {
    event_id: &'e str,
    #[serde(rename = "type")]
    event_type: &'e str,
    sender: &'e str,
    room_id: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'e str>,
    origin_server_ts: u64,
    content: &'e RawValue,
}

impl PushJudge {
    /// Reads a user's rules. Those that cannot be read stand for the defaults: nobody is to lose all notifications.
    pub(super) fn new(user: OwnedUserId, content: Option<&[u8]>) -> Self {
        let mut rules = stored_rules(&user, content).unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "stored push rules cannot be read");
            default_rules(&user)
        });
        let left = keep_affordable(&mut rules);
        let is_cheap = left.globs == MOST_GLOBS && left.patterns + FEW_PATTERNS >= MOST_PATTERNS;
        let conditional = rules.override_.iter().chain(&rules.underride);
        let mut own = conditional.filter(|rule| !rule.default).flat_map(|rule| &rule.conditions);
        let asks_for_power = own.any(|condition| matches!(condition, PushCondition::SenderNotificationPermission(_)));
        Self { user, rules, asks_for_power, is_cheap }
    }

    /// Returns `true` if an event is judged in some microseconds.
    pub(super) fn is_cheap(&self) -> bool {
        self.is_cheap
    }

    /// Returns the actions of the first rule that applies to an event; none if there is no such rule.
    pub(super) fn actions_for(
        &self,
        view: &StateView<'_>,
        room: &JudgedRoom,
        event: &RoomEvent,
        flat: &FlattenedJson,
    ) -> Result<&[Action], ReadError> {
        // Nobody is notified of own events.
        if event.sender == self.user.as_str() {
            return Ok(&[]);
        }
        let JudgedRoom { room_id, members, user_name } = room;
        // An empty name would be found in an empty text.
        let name = if user_name.is_empty() { self.user.to_string() } else { user_name.clone() };
        let mut context = PushConditionRoomCtx::new(room_id.clone(), *members, self.user.clone(), name);
        if self.asks_for_power || event.content.windows(ROOM.len()).any(|text| text == ROOM) {
            context = context.with_power_levels(power_context(view, event)?);
        }
        let mut rules = self.rules.iter();
        let found = rules.find(|rule| rule_applies(*rule, flat, &context));
        Ok(found.map(|rule| rule.actions()).unwrap_or_default())
    }
}

/// Budget of what the rules of one user's own may cost for each event.
#[derive(Clone, Copy)]
struct PatternBudget {
    patterns: usize,
    globs: usize,
}

impl PatternBudget {
    /// Returns `true` if a rule with these patterns is within the budget, and subtracts it. A condition without a pattern
    /// counts as an empty one.
    fn allows<'p>(&mut self, patterns: impl Iterator<Item = &'p str>) -> bool {
        let mut left = *self;
        for pattern in patterns {
            let globs = usize::from(has_wildcards(pattern));
            let most_bytes = if globs == 0 { MOST_PATTERN_BYTES } else { MOST_GLOB_BYTES };
            let gaps = pattern.matches('?').count();
            if pattern.len() > most_bytes || gaps > MOST_GAPS || left.patterns == 0 || left.globs < globs {
                return false;
            }
            left.patterns -= 1;
            left.globs -= globs;
        }
        *self = left;
        true
    }
}

/// Removes rules of the user's own that cost too much to judge by, the last ones first, and returns what is left of the
/// budget. They stay stored, and clients judge by them.
fn keep_affordable(rules: &mut Ruleset) -> PatternBudget {
    let mut budget = PatternBudget { patterns: MOST_PATTERNS, globs: MOST_GLOBS };
    let mut affords = |rule: &ConditionalPushRule| {
        let patterns = rule.conditions.iter().map(|condition| match condition {
            PushCondition::EventMatch(data) => data.pattern.as_str(),
            _ => "",
        });
        rule.default || budget.allows(patterns)
    };
    rules.override_.retain(&mut affords);
    rules.underride.retain(&mut affords);
    rules.content.retain(|rule| rule.default || budget.allows([rule.pattern.as_str()].into_iter()));
    budget
}

/// Describes the power of an event's sender, and of nobody else: a room may name thousands of users.
fn power_context(view: &StateView<'_>, event: &RoomEvent) -> Result<PushConditionPowerLevelsCtx, ReadError> {
    let power = view.notification_power(event.room, &event.sender, event.position)?;
    let mut users = BTreeMap::new();
    if let Ok(sender) = UserId::parse(&event.sender) {
        users.insert(sender, Int::new_saturating(power.sender));
    }
    let mut needed = NotificationPowerLevels::new();
    needed.room = Int::new_saturating(power.needed);
    // Unlimited power is the greatest of all here.
    let rules = RoomPowerLevelsRules::new(&AuthorizationRules::V11, []);
    Ok(PushConditionPowerLevelsCtx::new(users, Int::MIN, needed, rules))
}

/// Events as rules look at them, shared by all who judge the same ones.
#[derive(Default)]
pub(super) struct FlatEvents(Mutex<VecDeque<(Position, Arc<FlattenedJson>)>>);

impl FlatEvents {
    /// Returns an event as rules look at it; `None` if its content is damaged.
    pub(super) fn of(&self, event: &RoomEvent) -> Option<Arc<FlattenedJson>> {
        if let Some(known) = self.known(event.position) {
            return Some(known);
        }
        let made = Arc::new(flatten_event(event)?);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.len() >= KEPT_EVENTS {
            kept.pop_front();
        }
        kept.push_back((event.position, made.clone()));
        Some(made)
    }

    fn known(&self, at: Position) -> Option<Arc<FlattenedJson>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|(known, _)| *known == at).map(|(_, flat)| flat.clone())
    }
}

fn flatten_event(event: &RoomEvent) -> Option<FlattenedJson> {
    let flat = serde_json::from_slice::<&RawValue>(&event.content).and_then(|content| {
        to_raw_value(&JudgedEvent {
            event_id: &event.event_id,
            event_type: &event.event_type,
            sender: &event.sender,
            room_id: &event.room_id,
            state_key: event.state_key.as_deref(),
            origin_server_ts: event.origin_server_ts,
            content,
        })
    });
    match flat {
        Ok(json) => Some(FlattenedJson::from_raw(&Raw::<serde_json::Value>::from_json(json))),
        Err(error) => {
            let event_id = event.event_id.as_str();
            tracing::error!(error = &error as &dyn std::error::Error, event_id, "stored content cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruma::push::{NewConditionalPushRule, NewPatternedPushRule, NewPushRule, RuleKind};
    use ruma::user_id;

    #[test]
    fn rules_of_the_users_own_are_judged_by_as_far_as_they_are_cheap() {
        let mut rules = default_rules(user_id!("@alice:a.org"));
        let defaults = rules.iter().count();
        for n in 0..MOST_GLOBS + 5 {
            let rule = NewPatternedPushRule::new(format!("glob{n}"), format!("a*{n}"), Vec::new());
            rules.insert(NewPushRule::Content(rule), None, None).unwrap();
        }
        let long = NewPatternedPushRule::new("long".into(), "x".repeat(MOST_PATTERN_BYTES + 1), Vec::new());
        rules.insert(NewPushRule::Content(long), None, None).unwrap();
        for (id, pattern) in [("gaps", "a?????b".to_owned()), ("wide", format!("*{}", "x".repeat(MOST_GLOB_BYTES)))] {
            let rule = NewPatternedPushRule::new(id.into(), pattern, Vec::new());
            rules.insert(NewPushRule::Content(rule), None, None).unwrap();
        }
        let many = NewConditionalPushRule::new("many".into(), Vec::new(), Vec::new());
        rules.insert(NewPushRule::Underride(many), None, None).unwrap();
        let left = keep_affordable(&mut rules);
        assert_eq!((left.globs, left.patterns), (0, MOST_PATTERNS - MOST_GLOBS));
        assert_eq!(rules.iter().count(), defaults + MOST_GLOBS + 1);
        for id in ["long", "gaps", "wide"] {
            assert!(rules.get(RuleKind::Content, id).is_none(), "{id}");
        }
        assert!(rules.get(RuleKind::Underride, "many").is_some(), "it has no condition");
    }
}
