//! Filters that clients store.

use super::append;
use super::context::{Answer, Applies, Context, refuse};
use crate::proto::log::{self, Reason, outcome};
use crate::rows;
use crate::table::{self, Direction, Flow, Read, Table, Write, key};

/// Filters one account may keep. Clients upload the same few at every start, and those are found again.
const MAX_FILTERS: u64 = 200;

/// Largest filter.
const MAX_FILTER_BYTES: usize = 16 * 1024;

pub(super) fn apply(context: &mut Context<'_>, command: &log::PutFilter) -> Applies<Answer> {
    if command.filter.len() > MAX_FILTER_BYTES {
        return refuse(Reason::TooLarge, format!("a filter must have at most {MAX_FILTER_BYTES} bytes"));
    }
    append::check_content(&command.filter)?;
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
