//! Reports of rooms, events and users to the administrators.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::member;
use crate::id::{self, Position};
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};
use crate::visibility::UserVisibility;

/// Maximum number of reports kept of one reporter; the oldest makes way for a new one. Nobody reports as much in
/// earnest, and an account may not fill the volumes with them.
const MAX_REPORTS: usize = 100;

/// Maximum length of an id, and of the reason, in bytes: no more than the APIs accept.
const MAX_ID_BYTES: usize = 255;
const MAX_REASON_BYTES: usize = 4096;

pub(super) fn apply_file_report(
    context: &mut ApplyContext<'_>,
    command: &log::FileReport,
) -> ApplyResult<CommandAnswer> {
    let ids = [&command.room_id, &command.event_id, &command.user_id];
    if command.reason.len() > MAX_REASON_BYTES || ids.into_iter().any(|id| id.len() > MAX_ID_BYTES) {
        return refuse(Reason::TooLarge, format!("the reason must have at most {MAX_REASON_BYTES} bytes"));
    }
    let is_known = if !command.event_id.is_empty() {
        check_event(context, command)?;
        true
    } else if !command.user_id.is_empty() {
        let reported = member::local_user(context, &command.user_id)?;
        rows::account_row(&context.rows, reported)?.is_some()
    } else {
        rows::room_by_id(&context.rows, &command.room_id, context.server_name)?.is_some()
    };
    // Accepted either way: the answer must not tell which of the ids that one can guess exist.
    if is_known {
        put_report(context, command)?;
    }
    Ok(CommandAnswer::done())
}

/// Refuses a report of an event that the caller may not see.
fn check_event(context: &ApplyContext<'_>, command: &log::FileReport) -> ApplyResult<()> {
    let number = rows::room_by_id(&context.rows, &command.room_id, context.server_name)?;
    if let (Some(number), Some(at)) = (number, id::parse_event_id(&command.event_id))
        && context.room_of_event(at)? == Some(number)
        && UserVisibility::load(&context.rows, number, context.user, context.server_name)?.sees(at)
    {
        return Ok(());
    }
    refuse(Reason::EventNotFound, format!("there is no event {:?} in this room that you can see", command.event_id))
}

fn put_report(context: &mut ApplyContext<'_>, command: &log::FileReport) -> ApplyResult<()> {
    let prefix = key::devices_of(context.user);
    let mut kept = Vec::new();
    context.rows.scan(&ScanRange::with_prefix(Table::Report, &prefix), &mut |(key, _)| {
        kept.push(key.to_vec());
        Ok(ScanControl::More)
    })?;
    let excess = (kept.len() + 1).saturating_sub(MAX_REPORTS);
    for key in kept.into_iter().take(excess) {
        context.rows.delete(Table::Report, key);
    }
    let row = store::Report {
        room_id: command.room_id.clone(),
        event_id: command.event_id.clone(),
        user_id: command.user_id.clone(),
        reason: command.reason.clone(),
        time_ms: context.time_ms,
    };
    context.rows.put(Table::Report, key::report_key(context.user, context.first), table::encode_value(&row));
    Ok(())
}

/// Removes a report that an administrator has dealt with.
pub(super) fn dismiss_report(
    context: &mut ApplyContext<'_>,
    command: &log::DismissReport,
) -> ApplyResult<CommandAnswer> {
    let Some(at) = Position::from_bytes(&command.position) else {
        return refuse(Reason::Invalid, "a report is named by its reporter and its position");
    };
    context.rows.delete(Table::Report, key::report_key(&command.reporter, at));
    Ok(CommandAnswer::done())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::command::Kind;
    use crate::testing::{World, command, world};

    fn report(world: &mut World, user: &str, room: &str, event: &str, about: &str) -> log::Envelope {
        let report = log::FileReport {
            room_id: room.into(),
            event_id: event.into(),
            user_id: about.into(),
            reason: "spam".into(),
        };
        world.by(user, Kind::FileReport(report))
    }

    #[test]
    fn what_a_user_sees_is_reported_once_and_what_does_not_exist_leaves_nothing() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.create("alice", log::CreateRoom::default());
        let event = id::event_id(world.say("alice", &room, "buy"));
        let mine = report(&mut world, "alice", &room, &event, "");
        world.accepted(mine.clone());
        assert!(world.accepted(mine).duplicate);
        let hidden = report(&mut world, "bob", &room, &event, "");
        assert_eq!(world.rejected(hidden), Reason::EventNotFound);
        for (room, about) in [(room.as_str(), ""), ("!none:a.org", ""), ("", "@alice:a.org"), ("", "@nobody:a.org")] {
            let envelope = report(&mut world, "bob", room, "", about);
            world.accepted(envelope);
        }
        let reports = world.view().reports(None, 10).unwrap();
        let about: Vec<_> =
            reports.iter().map(|r| (r.reporter.as_str(), !r.event_id.is_empty(), r.user_id.as_str())).collect();
        assert_eq!(about, [("alice", true, ""), ("bob", false, ""), ("bob", false, "@alice:a.org")]);
    }

    #[test]
    fn the_oldest_report_makes_way_for_a_new_one() {
        let mut world = world(&["alice", "bob"]);
        for _ in 0..MAX_REPORTS + 3 {
            let envelope = report(&mut world, "alice", "", "", "@bob:a.org");
            world.accepted(envelope);
        }
        assert_eq!(world.view().reports(None, 1000).unwrap().len(), MAX_REPORTS);
    }

    #[test]
    fn an_administrator_dismisses_one_report_and_a_page_begins_after_another() {
        let mut world = world(&["alice", "bob"]);
        for _ in 0..3 {
            let envelope = report(&mut world, "alice", "", "", "@bob:a.org");
            world.accepted(envelope);
        }
        let reports = world.view().reports(None, 10).unwrap();
        let position = table::position_field(reports[1].at);
        let dismiss = log::DismissReport { reporter: "alice".into(), position };
        let act = log::Administer { configured: false, action: Some(log::administer::Action::DismissReport(dismiss)) };
        let envelope = log::Envelope { command: command(Kind::Administer(act)), ..Default::default() };
        world.accepted(envelope.clone());
        world.accepted(envelope);
        let left = world.view().reports(Some(("alice", reports[0].at)), 10).unwrap();
        assert_eq!(left, reports[2..]);
    }
}
