//! Filters that clients store.

use super::append;
use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use crate::proto::log::{self, Reason, outcome};
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead, key};

/// Maximum number of filters of an account for commands of earlier versions, which carry no limit. Clients upload the
/// same few filters at every start, and those are found again.
const MAX_FILTERS: u64 = 200;

/// Maximum number of filters removed for a new one: after the limit was lowered, each new filter brings the account
/// closer to it.
const MAX_REMOVED: usize = 4;

/// Maximum size of a filter in bytes.
const MAX_FILTER_BYTES: usize = 16 * 1024;

pub(super) fn apply_put_filter(context: &mut ApplyContext<'_>, command: &log::PutFilter) -> ApplyResult<CommandAnswer> {
    if command.filter.len() > MAX_FILTER_BYTES {
        return refuse(Reason::TooLarge, format!("a filter must have at most {MAX_FILTER_BYTES} bytes"));
    }
    append::check_object(&command.filter)?;
    let kept = match find_filter(context, &command.filter)? {
        KnownFilters::Number(known) => return Ok(filter_answer(known)),
        KnownFilters::Others(kept) => kept,
    };
    let mut account = rows::account_row(&context.rows, context.user)?.unwrap_or_default();
    let filter_id = account.next_filter;
    let max_filters = usize::try_from(command.max_filters).unwrap_or(usize::MAX);
    if max_filters == 0 && filter_id >= MAX_FILTERS {
        return refuse(Reason::TooLarge, format!("an account can have at most {MAX_FILTERS} filters: reuse one"));
    }
    if max_filters > 0 {
        // If none were removed, a program that makes up a filter at each start would in time leave its user without
        // any. A client whose filter is gone is told so and uploads it again.
        let excess = (kept.len() + 1).saturating_sub(max_filters).min(MAX_REMOVED);
        for oldest in kept.into_iter().take(excess) {
            context.rows.delete(Table::Filter, oldest);
        }
    }
    account.next_filter += 1;
    context.rows.put(Table::Account, key::account_key(context.user), table::encode_value(&account));
    context.rows.put(Table::Filter, key::filter_key(context.user, filter_id), command.filter.clone());
    Ok(filter_answer(filter_id))
}

fn filter_answer(filter_id: u64) -> CommandAnswer {
    CommandAnswer::New(outcome::Kind::FilterPut(log::FilterPut { filter_id }), None)
}

/// Filters that the account has, compared with a new one.
enum KnownFilters {
    /// Number of the filter that equals the new one, to the byte.
    Number(u64),
    /// Keys of the other filters, oldest first; none equals the new one.
    Others(Vec<Vec<u8>>),
}

fn find_filter(context: &ApplyContext<'_>, filter: &[u8]) -> ApplyResult<KnownFilters> {
    let from = key::devices_of(context.user);
    let mut found = None;
    let mut others = Vec::new();
    context.rows.scan(&ScanRange::with_prefix(Table::Filter, &from), &mut |(key, value)| {
        if value == filter {
            found = key.last_chunk::<8>().map(|number| u64::from_be_bytes(*number));
        } else {
            others.push(key.to_vec());
        }
        Ok(if found.is_some() { ScanControl::Stop } else { ScanControl::More })
    })?;
    Ok(found.map_or(KnownFilters::Others(others), KnownFilters::Number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::command::Kind;
    use crate::testing::{World, world};

    fn put(world: &mut World, user: &str, filter: &'static str) -> u64 {
        let envelope = world.by(user, Kind::PutFilter(log::PutFilter { filter: filter.into(), max_filters: 3 }));
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
    fn the_oldest_filters_go_for_new_ones_and_only_ones_own() {
        let mut world = world(&["alice", "bob"]);
        put(&mut world, "bob", r#"{"a":0}"#);
        for (number, filter) in [r#"{"a":0}"#, r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#].into_iter().enumerate() {
            assert_eq!(put(&mut world, "alice", filter), number as u64);
        }
        assert_eq!(world.view().filter("alice", 0).unwrap(), None);
        assert_eq!(world.view().filter("alice", 1).unwrap().unwrap(), r#"{"a":1}"#);
        assert_eq!(put(&mut world, "alice", r#"{"a":0}"#), 4, "put again, it is a new one");
        assert!(world.view().filter("bob", 0).unwrap().is_some());
    }

    #[test]
    fn a_command_without_a_limit_is_refused_beyond_200_as_ever() {
        let mut world = world(&["alice"]);
        let old = |world: &mut World, n: u64| {
            world.by(
                "alice",
                Kind::PutFilter(log::PutFilter { filter: format!(r#"{{"a":{n}}}"#).into(), max_filters: 0 }),
            )
        };
        for n in 0..MAX_FILTERS {
            let envelope = old(&mut world, n);
            world.accepted(envelope);
        }
        let envelope = old(&mut world, MAX_FILTERS);
        assert_eq!(world.rejected(envelope), Reason::TooLarge);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let mut world = world(&["alice"]);
        let envelope = world.by("alice", Kind::PutFilter(log::PutFilter { filter: "[]".into(), max_filters: 3 }));
        assert_eq!(world.rejected(envelope), Reason::BadJson);
    }
}
