//! Time of the log: how it advances, and the one way in which it goes back.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, EntryStamp, refuse};
use crate::id::Position;
use crate::proto::log::{self, Reason, TimeTrust, outcome};
use crate::proto::store;
use crate::table::{self, ReadError, Table};

/// Maximum step, in milliseconds, by which an entry advances the log's time if no majority confirmed its stamp. It is
/// much longer than the time between two entries of a cluster in use, and much shorter than the lifetime of a session
/// or a message.
pub const HELD_STEP_MS: u64 = 60_000;

/// Minimum time, in milliseconds, by which the log's time must be ahead of the clocks before it is repaired. It is
/// behind the clocks by transit and ahead of some of them by their differences, so smaller amounts need no repair. The
/// value is the difference up to which clocks are said to agree.
const REPAIR_FROM_MS: u64 = 30_000;

/// Maximum number of repairs that are remembered. Each is an accident that somebody repaired by hand; once a repair is
/// forgotten, old events merely keep the time that they were given.
const MAX_REPAIRS: usize = 64;

/// Returns the log's time after an entry with this stamp; never less than before. Code that judges by the time heard
/// from a leader uses this function, so that it judges as apply does.
#[must_use]
pub fn advanced_time(before_ms: u64, stamp_ms: u64, trust: TimeTrust) -> u64 {
    let stamp_ms = match trust {
        TimeTrust::Unspecified | TimeTrust::Confirmed => stamp_ms,
        TimeTrust::Held => stamp_ms.min(before_ms.saturating_add(HELD_STEP_MS)),
    };
    before_ms.max(stamp_ms)
}

/// Returns the time at which the event at this position was made: the time that it carries, unless the log's time was
/// later set back to an earlier time. These times never go back in the order of positions.
///
/// # Errors
/// Fails if the cluster's row is damaged.
pub(crate) fn effective_time(cluster: &store::Cluster, at: Position, stamped_ms: u64) -> Result<u64, ReadError> {
    let mut time_ms = stamped_ms;
    for repair in &cluster.time_repairs {
        if table::decode_position(Table::Meta, &repair.at)?.is_some_and(|repaired_at| at < repaired_at) {
            time_ms = time_ms.min(repair.time_ms);
        }
    }
    Ok(time_ms)
}

pub(super) fn apply_repair_time(context: &mut ApplyContext<'_>) -> ApplyResult<CommandAnswer> {
    if !context.user.is_empty() {
        return refuse(Reason::Invalid, "this command has no caller");
    }
    let EntryStamp { time_ms: now_ms, trust } = context.stamp;
    if trust != TimeTrust::Confirmed {
        let message = "the clocks of a majority do not agree on a time: correct them, then try again";
        return refuse(Reason::Invalid, message);
    }
    let before_ms = context.cluster().time_ms;
    if before_ms < now_ms.saturating_add(REPAIR_FROM_MS) {
        return Ok(repaired_answer(before_ms, before_ms));
    }
    let at = table::position_field(context.first);
    let cluster = context.cluster_mut();
    cluster.time_ms = now_ms;
    if cluster.time_repairs.len() >= MAX_REPAIRS {
        cluster.time_repairs.remove(0);
    }
    // Events keep the times that they carry; `effective_time` corrects them by this record.
    cluster.time_repairs.push(store::TimeRepair { at, time_ms: now_ms });
    Ok(repaired_answer(before_ms, now_ms))
}

fn repaired_answer(before_ms: u64, after_ms: u64) -> CommandAnswer {
    CommandAnswer::New(outcome::Kind::TimeRepaired(log::TimeRepaired { before_ms, after_ms }), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::batch_in_place;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::testing::{World, command, position, world};

    const DAY_MS: u64 = 86_400_000;

    fn repair_command() -> Envelope {
        Envelope { command: command(Kind::RepairTime(log::RepairTime {})), ..Envelope::default() }
    }

    fn stamped(world: &mut World, time_ms: u64, trust: TimeTrust, envelopes: Vec<Envelope>) -> Vec<log::Outcome> {
        world.index += 1;
        let batch = log::Batch { time_ms, envelopes, time_trust: trust.into(), level: 0 };
        let applied = batch_in_place(&mut world.rows, world.index, &batch).unwrap();
        crate::invariant::check_all(&world.rows).unwrap();
        applied.into_iter().map(|applied| applied.outcome).collect()
    }

    #[test]
    fn time_that_no_majority_confirmed_moves_a_bounded_step() {
        let mut world = world(&["alice"]);
        let before = world.view().time_ms();
        stamped(&mut world, before + 400 * DAY_MS, TimeTrust::Held, vec![]);
        assert_eq!(world.view().time_ms(), before + HELD_STEP_MS);
        stamped(&mut world, before + HELD_STEP_MS + 5, TimeTrust::Held, vec![]);
        assert_eq!(world.view().time_ms(), before + HELD_STEP_MS + 5);
        stamped(&mut world, 5, TimeTrust::Held, vec![]);
        assert_eq!(world.view().time_ms(), before + HELD_STEP_MS + 5, "and never back");
    }

    #[test]
    fn confirmed_time_jumps_a_week_and_so_does_that_of_older_versions() {
        for trust in [TimeTrust::Confirmed, TimeTrust::Unspecified] {
            let mut world = world(&["alice"]);
            let later = world.view().time_ms() + 7 * DAY_MS;
            stamped(&mut world, later, trust, vec![]);
            assert_eq!(world.view().time_ms(), later);
        }
    }

    #[test]
    fn a_log_that_ran_ahead_is_set_back_to_confirmed_time_and_goes_on_from_there() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let now = world.view().time_ms();
        world.time_ms = now + 400 * DAY_MS;
        let ahead = world.say("alice", &room, "from the future");
        let wrong = world.view().time_ms();
        let refused = stamped(&mut world, now + 5, TimeTrust::Held, vec![repair_command()]);
        assert!(matches!(&refused[0].kind, Some(outcome::Kind::Rejected(why)) if why.reason() == Reason::Invalid));
        assert_eq!(world.view().time_ms(), wrong);

        let done = stamped(&mut world, now + 9, TimeTrust::Confirmed, vec![repair_command(), repair_command()]);
        let told = |before_ms, after_ms| outcome::Kind::TimeRepaired(log::TimeRepaired { before_ms, after_ms });
        assert_eq!(done[0].kind, Some(told(wrong, now + 9)));
        assert_eq!(done[1].kind, Some(told(now + 9, now + 9)), "the second finds nothing to repair");
        world.time_ms = now + 20;
        let after = world.say("alice", &room, "and now");
        let stamp = |at| world.view().event("alice", &crate::id::event_id(at)).unwrap().origin_server_ts;
        assert!(stamp(ahead) > wrong - 100 && stamp(after) < now + 100);
        let cluster = crate::rows::cluster_row(&world.rows).unwrap().unwrap();
        assert_eq!(effective_time(&cluster, ahead, stamp(ahead)).unwrap(), now + 9);
        assert_eq!(effective_time(&cluster, after, stamp(after)).unwrap(), stamp(after));
    }

    #[test]
    fn nobody_with_a_session_repairs_the_time_and_a_little_ahead_is_no_fault() {
        let mut world = world(&["alice"]);
        let envelope = world.by("alice", Kind::RepairTime(log::RepairTime {}));
        assert_eq!(world.rejected(envelope), Reason::Invalid);
        let before = world.view().time_ms();
        let done = stamped(&mut world, before - 900, TimeTrust::Confirmed, vec![repair_command()]);
        assert!(matches!(&done[0].kind, Some(outcome::Kind::TimeRepaired(told)) if told.before_ms == told.after_ms));
        assert_eq!(position(&done[0]).index, world.index);
    }
}
