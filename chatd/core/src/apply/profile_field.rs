//! Fields of a profile other than display name and avatar, which no member event repeats.
//! Source: Matrix specification, "Profiles".

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use crate::json;
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::rows;
use crate::table::{self, Table, key};
use bytes::Bytes;
use serde_json::value::RawValue;

/// Maximum size in bytes of all fields with their names: of the 64 KiB that a profile may have, what display name and
/// avatar, of at most 1 KiB each, leave for them.
const MAX_FIELDS_BYTES: usize = 62 << 10;

/// Maximum length of a field's name in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Names of the fields that are set by another command.
const BY_SET_PROFILE: [&str; 2] = ["displayname", "avatar_url"];

pub(super) fn apply_set_profile_field(
    context: &mut ApplyContext<'_>,
    command: &log::SetProfileField,
) -> ApplyResult<CommandAnswer> {
    check_name(&command.name)?;
    command.value.as_ref().map_or(Ok(()), check_value)?;
    let mut row = rows::profile_fields(&context.rows, context.user)?;
    let place = row.fields.binary_search_by(|field| field.name.as_bytes().cmp(command.name.as_bytes()));
    match (place, &command.value) {
        (Ok(place), Some(value)) => {
            if let Some(field) = row.fields.get_mut(place) {
                field.value = value.clone();
            }
        }
        (Ok(place), None) => drop(row.fields.remove(place)),
        (Err(place), Some(value)) => {
            row.fields.insert(place, store::ProfileField { name: command.name.clone(), value: value.clone() });
        }
        (Err(_), None) => return Ok(CommandAnswer::done()),
    }
    let bytes: usize = row.fields.iter().map(|field| field.name.len() + field.value.len()).sum();
    if bytes > MAX_FIELDS_BYTES && command.value.is_some() {
        return refuse(Reason::TooLarge, format!("the profile would have {bytes} bytes; remove a field first"));
    }
    let key = key::profile_key(context.user);
    if row.fields.is_empty() {
        context.rows.delete(Table::Meta, key);
    } else {
        context.rows.put(Table::Meta, key, table::encode_value(&row));
    }
    Ok(CommandAnswer::done())
}

/// Refuses names outside the specification's "Common Namespaced Identifier Grammar".
fn check_name(name: &str) -> ApplyResult<()> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    if BY_SET_PROFILE.contains(&name) || !begins || name.len() > MAX_NAME_BYTES || !name.bytes().all(allowed) {
        let message = format!("the name of a field must have 1 to {MAX_NAME_BYTES} characters of a-z, 0-9, _, . and -");
        return refuse(Reason::Invalid, message);
    }
    Ok(())
}

fn check_value(value: &Bytes) -> ApplyResult<()> {
    // Before it is parsed, which takes time in proportion to the length.
    if value.len() > MAX_FIELDS_BYTES {
        return refuse(Reason::TooLarge, format!("a field must have at most {MAX_FIELDS_BYTES} bytes"));
    }
    // As the only value of an object, which the check of depth and duplicates is made for.
    let object = [br#"{"":"#, value.as_ref(), b"}"].concat();
    let is_one_value = serde_json::from_slice::<&RawValue>(value).is_ok();
    match json::check_object(&object) {
        Ok(()) if is_one_value => Ok(()),
        Ok(()) => refuse(Reason::BadJson, "the value of the field is not JSON"),
        Err(why) => refuse(Reason::BadJson, format!("the value of the field is not valid: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::testing::{World, world};

    fn set(world: &mut World, user: &str, name: &str, value: Option<&str>) -> Envelope {
        let value = value.map(|value| value.to_owned().into());
        world.by(user, Kind::SetProfileField(log::SetProfileField { name: name.into(), value }))
    }

    fn fields(world: &World, user: &str) -> Vec<(String, String)> {
        let fields = world.view().profile_fields(user).unwrap().into_iter();
        fields.map(|(name, value)| (name, String::from_utf8(value.to_vec()).unwrap())).collect()
    }

    #[test]
    fn fields_are_set_replaced_and_removed_one_by_one() {
        let mut world = world(&["alice", "bob"]);
        for (name, value) in [("m.tz", r#""Europe/Rome""#), ("a.b", "[1]"), ("m.tz", r#""UTC""#), ("c.d", "2.5")] {
            let envelope = set(&mut world, "alice", name, Some(value));
            world.accepted(envelope);
        }
        let all = [("a.b", "[1]"), ("c.d", "2.5"), ("m.tz", r#""UTC""#)];
        assert_eq!(fields(&world, "alice"), all.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(fields(&world, "bob").is_empty());
        for name in ["a.b", "c.d", "m.tz", "m.tz"] {
            let envelope = set(&mut world, "alice", name, None);
            world.accepted(envelope);
        }
        assert!(fields(&world, "alice").is_empty());
    }

    #[test]
    fn fields_that_cannot_be_are_refused() {
        let mut world = world(&["alice"]);
        let deep = "[".repeat(200) + &"]".repeat(200);
        for (name, value, reason) in [
            ("", "1", Reason::Invalid),
            ("A.b", "1", Reason::Invalid),
            ("1a", "1", Reason::Invalid),
            ("displayname", "\"x\"", Reason::Invalid),
            ("a.b", "", Reason::BadJson),
            ("a.b", "1,\"x\":2", Reason::BadJson),
            ("a.b", deep.as_str(), Reason::BadJson),
            ("a.b", "{\"x\":1,\"x\":2}", Reason::BadJson),
        ] {
            let envelope = set(&mut world, "alice", name, Some(value));
            assert_eq!(world.rejected(envelope), reason, "{name} {value}");
        }
    }

    #[test]
    fn a_profile_is_bounded_and_can_be_made_smaller() {
        let mut world = world(&["alice"]);
        let long = format!("\"{}\"", "x".repeat(30 << 10));
        for name in ["a.a", "a.b"] {
            let envelope = set(&mut world, "alice", name, Some(&long));
            world.accepted(envelope);
        }
        let envelope = set(&mut world, "alice", "a.c", Some(&long));
        assert_eq!(world.rejected(envelope), Reason::TooLarge);
        let removed = set(&mut world, "alice", "a.a", None);
        world.accepted(removed);
        let envelope = set(&mut world, "alice", "a.c", Some(&long));
        world.accepted(envelope);
    }
}
