//! Power levels: parsing of `m.room.power_levels`, and the rules by which it may be changed.
//! Source: Matrix specification, "m.room.power_levels", and rule 9 of room version 11's authorization rules.

use super::{AuthDenial, forbidden_change, invalid_change};
use crate::id;
use crate::json::JsonObject;
use crate::proto::store::{Levels, NamedLevel};
use serde_json::Value;

/// Greatest magnitude of an integer in canonical JSON.
const MAX_LEVEL: i64 = (1 << 53) - 1;

/// Power level of the creators of rooms in which it is unlimited: more than any that can be written.
const UNLIMITED: i64 = i64::MAX;

/// Names of the levels other than `users` and `events`, with their values when absent.
const SCALARS: [(&str, i64); 7] = [
    ("ban", 50),
    ("kick", 50),
    ("redact", 50),
    ("invite", 0),
    ("events_default", 0),
    ("state_default", 50),
    ("users_default", 0),
];

impl Levels {
    /// Returns `true` if the user has unlimited power.
    pub(crate) fn is_creator(&self, localpart: &str) -> bool {
        self.creators.binary_search_by(|creator| creator.as_str().cmp(localpart)).is_ok()
    }

    /// Returns the power level of a user of this server.
    pub(crate) fn of(&self, localpart: &str) -> i64 {
        if self.is_creator(localpart) {
            return UNLIMITED;
        }
        find_level(&self.users, localpart).unwrap_or(self.users_default)
    }

    /// Returns the power level needed to send a message of this type.
    pub(crate) fn to_send(&self, event_type: &str) -> i64 {
        find_level(&self.events, event_type).unwrap_or(self.events_default)
    }

    /// Returns the power level needed to set state of this type.
    pub(crate) fn to_set(&self, event_type: &str) -> i64 {
        find_level(&self.events, event_type).unwrap_or(self.state_default)
    }
}

fn find_level(sorted: &[NamedLevel], name: &str) -> Option<i64> {
    let place = sorted.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
    sorted.get(place).map(|entry| entry.level)
}

/// Parses the content of `m.room.power_levels`.
///
/// # Errors
/// Fails if a level is not an integer, if `events` or `notifications` is not an object of integers, or if `users` is
/// not an object of integers by user id.
pub(crate) fn parse_levels(content: &JsonObject, server_name: &str) -> Result<Levels, AuthDenial> {
    let scalar = |name: &str| -> Result<i64, AuthDenial> {
        match content.get(name) {
            Some(value) => level_value(name, value),
            None => Ok(SCALARS.iter().find(|(known, _)| *known == name).map_or(0, |(_, level)| *level)),
        }
    };
    level_entries(content, "notifications")?;
    let users = level_entries(content, "users")?;
    if let Some((bad, _)) = users.iter().find(|(user, _)| !is_user_id(user)) {
        return Err(invalid_change(format!("users of m.room.power_levels names {bad:?}, which is not a user id")));
    }
    // Users of other servers cannot have power here, because they cannot join.
    let local = users.into_iter().filter_map(|(user, level)| Some((id::user_localpart(user, server_name)?, level)));
    Ok(Levels {
        ban: scalar("ban")?,
        kick: scalar("kick")?,
        redact: scalar("redact")?,
        invite: scalar("invite")?,
        events_default: scalar("events_default")?,
        state_default: scalar("state_default")?,
        users_default: scalar("users_default")?,
        users: sorted_levels(local),
        events: sorted_levels(level_entries(content, "events")?.into_iter()),
        creators: Vec::new(),
    })
}

/// Checks that power levels give none to the users whose power is unlimited, who are in byte order (rule 9 of room version
/// 12).
///
/// # Errors
/// Fails if they do.
pub(crate) fn check_creators(content: &JsonObject, creators: &[String], server_name: &str) -> Result<(), AuthDenial> {
    for (user, _) in level_entries(content, "users")? {
        let local = id::user_localpart(user, server_name);
        if local.is_some_and(|local| creators.binary_search_by(|creator| creator.as_str().cmp(local)).is_ok()) {
            return Err(invalid_change(format!("{user} created the room and has unlimited power: give no level")));
        }
    }
    Ok(())
}

fn sorted_levels<'a>(entries: impl Iterator<Item = (&'a str, i64)>) -> Vec<NamedLevel> {
    let mut out: Vec<_> = entries.map(|(name, level)| NamedLevel { name: name.to_owned(), level }).collect();
    // `find_level` searches by bisection.
    out.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    out
}

/// Returns `true` if the text has the form of a user id, of whichever server.
pub(crate) fn is_user_id(text: &str) -> bool {
    let parts = text.strip_prefix('@').and_then(|rest| rest.split_once(':'));
    text.len() <= 255 && parts.is_some_and(|(_, server)| id::is_server_name(server))
}

fn level_value(name: &str, value: &Value) -> Result<i64, AuthDenial> {
    match value.as_i64() {
        Some(level) if (-MAX_LEVEL..=MAX_LEVEL).contains(&level) => Ok(level),
        _ => Err(invalid_change(format!("{name} of m.room.power_levels must be an integer"))),
    }
}

/// Returns the entries of an object of levels; empty if the object is absent.
fn level_entries<'a>(content: &'a JsonObject, name: &str) -> Result<Vec<(&'a str, i64)>, AuthDenial> {
    match content.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Object(entries)) => {
            entries.iter().map(|(key, value)| Ok((key.as_str(), level_value(key, value)?))).collect()
        }
        Some(_) => Err(invalid_change(format!("{name} of m.room.power_levels must be an object"))),
    }
}

/// Checks that `sender` (a full user id with `power`) may replace `old` by `new`. Both must have been accepted by
/// [`parse_levels`].
///
/// # Errors
/// Fails if the change would touch a level above the sender's, grant one above it, or change the level of another user
/// who has as much power as the sender.
pub(crate) fn check_change(sender: &str, power: i64, old: &JsonObject, new: &JsonObject) -> Result<(), AuthDenial> {
    for (name, default) in SCALARS {
        let level = |content: &JsonObject| content.get(name).and_then(Value::as_i64);
        check_entry(name, power, level(old).or(Some(default)), level(new).or(Some(default)))?;
    }
    for name in ["events", "notifications"] {
        for (key, before, after) in level_changes(old, new, name)? {
            check_entry(key, power, before, after)?;
        }
    }
    for (user, before, after) in level_changes(old, new, "users")? {
        if user != sender && before.is_some_and(|level| level >= power) && before != after {
            return Err(forbidden_change(format!(
                "you cannot change the power of {user}, who has as much as you or more"
            )));
        }
        if before != after && after.is_some_and(|level| level > power) {
            return Err(forbidden_change(format!("you cannot give {user} more power than your own {power}")));
        }
    }
    Ok(())
}

/// Checks the change of a level that is not that of a user: neither the old nor the new value may exceed the sender's
/// power.
fn check_entry(name: &str, power: i64, before: Option<i64>, after: Option<i64>) -> Result<(), AuthDenial> {
    let beyond = |level: Option<i64>| level.is_some_and(|level| level > power);
    if before != after && (beyond(before) || beyond(after)) {
        Err(forbidden_change(format!("you cannot change the level of {name} beyond your own power of {power}")))
    } else {
        Ok(())
    }
}

type LevelChange<'a> = (&'a str, Option<i64>, Option<i64>);

/// Returns all entries of one object of levels, before and after, in byte order of their names.
fn level_changes<'a>(old: &'a JsonObject, new: &'a JsonObject, name: &str) -> Result<Vec<LevelChange<'a>>, AuthDenial> {
    let mut all = std::collections::BTreeMap::<&str, (Option<i64>, Option<i64>)>::new();
    for (key, level) in level_entries(old, name)? {
        all.entry(key).or_default().0 = Some(level);
    }
    for (key, level) in level_entries(new, name)? {
        all.entry(key).or_default().1 = Some(level);
    }
    Ok(all.into_iter().map(|(key, (before, after))| (key, before, after)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_object;

    fn object(text: &str) -> JsonObject {
        parse_object(text.as_bytes()).unwrap()
    }

    const OLD: &str = r#"{"users":{"@a:x":100,"@b:x":50,"@c:x":50},"events":{"m.room.name":50,"t":100}}"#;

    #[test]
    fn absent_levels_are_the_specifications() {
        let levels = parse_levels(&object("{}"), "x").unwrap();
        assert_eq!((levels.ban, levels.invite, levels.state_default, levels.of("a")), (50, 0, 50, 0));
        let levels = parse_levels(&object(OLD), "x").unwrap();
        assert_eq!((levels.of("a"), levels.to_set("t"), levels.to_set("u"), levels.to_send("u")), (100, 100, 50, 0));
    }

    #[test]
    fn a_level_that_is_no_integer_is_refused() {
        for bad in
            [r#"{"ban":"50"}"#, r#"{"ban":1.5}"#, r#"{"users":[]}"#, r#"{"users":{"a":1}}"#, r#"{"events":{"t":null}}"#]
        {
            assert!(parse_levels(&object(bad), "x").is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_raises_anyone_above_himself() {
        let raised = r#"{"users":{"@a:x":100,"@b:x":51,"@c:x":50},"events":{"m.room.name":50,"t":100}}"#;
        assert!(check_change("@b:x", 50, &object(OLD), &object(raised)).is_err());
        assert!(check_change("@a:x", 100, &object(OLD), &object(raised)).is_ok());
    }

    #[test]
    fn nobody_lowers_a_peer_but_everyone_may_lower_himself() {
        let peer = r#"{"users":{"@a:x":100,"@b:x":50},"events":{"m.room.name":50,"t":100}}"#;
        assert!(check_change("@b:x", 50, &object(OLD), &object(peer)).is_err());
        assert!(check_change("@c:x", 50, &object(OLD), &object(peer)).is_ok());
    }

    #[test]
    fn a_level_above_ones_own_cannot_be_touched() {
        let lowered = r#"{"users":{"@a:x":100,"@b:x":50,"@c:x":50},"events":{"m.room.name":50}}"#;
        assert!(check_change("@b:x", 50, &object(OLD), &object(lowered)).is_err());
        let default = r#"{"users":{"@a:x":100,"@b:x":50,"@c:x":50},"events":{"m.room.name":50,"t":100},"ban":60}"#;
        assert!(check_change("@b:x", 50, &object(OLD), &object(default)).is_err());
    }
}
