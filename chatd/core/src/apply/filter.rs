//! Filters that clients store.

use super::append;
use super::context::{Answer, Applies, Context, refuse};
use crate::proto::log::{self, Reason, outcome};
use crate::rows;
use crate::table::{self, Direction, Flow, Read, Table, key};

/// Filters one account may keep. Clients upload the same few at every start, and those are found again.
const MAX_FILTERS: u64 = 200;

/// Largest filter.
const MAX_FILTER_BYTES: usize = 16 * 1024;

pub(super) fn apply(context: &mut Context<'_>, command: &log::PutFilter) -> Applies<Answer> {
    if command.filter.len() > MAX_FILTER_BYTES {
        return refuse(Reason::TooLarge, format!("a filter must have at most {MAX_FILTER_BYTES} bytes"));
    }
    append::check_object(&command.filter)?;
    if let Some(known) = find(context, &command.filter)? {
        return Ok(put(known));
    }
    let mut account = rows::account(&context.rows, context.user)?.unwrap_or_default();
    let filter_id = account.next_filter;
    if filter_id >= MAX_FILTERS {
        return refuse(Reason::TooLarge, format!("an account keeps at most {MAX_FILTERS} filters: use one you have"));
    }
    account.next_filter += 1;
    context.rows.put(Table::Account, key::account(context.user), table::encode(&account));
    context.rows.put(Table::Filter, key::filter(context.user, filter_id), command.filter.clone());
    Ok(put(filter_id))
}

fn put(filter_id: u64) -> Answer {
    Answer::New(outcome::Kind::FilterPut(log::FilterPut { filter_id }), None)
}

/// The number of a filter that is this one to the byte.
fn find(context: &Context<'_>, filter: &[u8]) -> Applies<Option<u64>> {
    let from = key::devices_of(context.user);
    let mut found = None;
    context.rows.scan(Table::Filter, &from, &key::after_prefix(&from), Direction::Forward, &mut |(key, value)| {
        if value == filter {
            found = key.last_chunk::<8>().map(|number| u64::from_be_bytes(*number));
        }
        Ok(if found.is_some() { Flow::Stop } else { Flow::More })
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::command::Kind;
    use crate::testing::{World, world};

    fn put(world: &mut World, user: &str, filter: &'static str) -> u64 {
        let envelope = world.by(user, Kind::PutFilter(log::PutFilter { filter: filter.into() }));
        match world.accepted(envelope).kind {
            Some(outcome::Kind::FilterPut(put)) => put.filter_id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_filter_keeps_its_number() {
        let mut world = world(&["alice", "bob"]);
        assert_eq!(put(&mut world, "alice", r#"{"a":1}"#), 0);
        assert_eq!(put(&mut world, "alice", r#"{"a":2}"#), 1);
        assert_eq!(put(&mut world, "alice", r#"{"a":1}"#), 0);
        assert_eq!(put(&mut world, "bob", r#"{"a":2}"#), 0);
        assert_eq!(world.view().filter("alice", 1).unwrap().unwrap(), r#"{"a":2}"#);
        assert_eq!(world.view().filter("alice", 2).unwrap(), None);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let mut world = world(&["alice"]);
        let envelope = world.by("alice", Kind::PutFilter(log::PutFilter { filter: "[]".into() }));
        assert_eq!(world.rejected(envelope), Reason::BadJson);
    }
}
