//! Threads that receipts are for.
//! Source: Matrix specification, "Threaded read receipts".

use crate::apply::context::{ApplyContext, ApplyResult, RoomHandle, refuse};
use crate::id::{self, Position, RoomNumber};
use crate::proto::log::Reason;
use crate::receipt::MAIN_TIMELINE;
use crate::relates::RelatesTo;
use crate::rows;
use crate::table::{ScanControl, ScanRange, Table, TableRead, key};

/// Type of the relation of a thread's events to its root.
const THREAD: &str = "m.thread";

/// Maximum number of relations that are followed from an event: one more than the three that the specification
/// recommends for what is said about a thread's events, so that the root itself is reached from there.
const MAX_HOPS: usize = 4;

/// Thread that a receipt names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NamedThread {
    /// Everything, regardless of threads.
    Any,
    /// Events that are in no thread.
    Main,
    /// The thread with this root.
    Of(Position),
}

/// Returns `true` if the id of a thread is that of a root event.
pub(super) fn is_root(thread_id: &str) -> bool {
    !thread_id.is_empty() && thread_id != MAIN_TIMELINE
}

/// Parses the thread of a receipt; an empty id stands for none.
pub(super) fn check_thread_id(thread_id: &str) -> ApplyResult<NamedThread> {
    match thread_id {
        "" => Ok(NamedThread::Any),
        MAIN_TIMELINE => Ok(NamedThread::Main),
        root => match id::parse_event_id(root) {
            Some(root) => Ok(NamedThread::Of(root)),
            None => refuse(Reason::Invalid, "thread_id must be \"main\" or the id of a thread's root event"),
        },
    }
}

/// Refuses a receipt for an event that is not in the thread. A root is in the main timeline as well as in its thread.
pub(super) fn check_in_thread(
    context: &ApplyContext<'_>,
    room: &RoomHandle,
    event: Position,
    named: &NamedThread,
) -> ApplyResult<()> {
    let belongs = match named {
        NamedThread::Any => true,
        NamedThread::Main => relation_chain(context, room.number, event)?.thread.is_none(),
        NamedThread::Of(root) => {
            let chain = relation_chain(context, room.number, event)?;
            (chain.top == *root || chain.thread == Some(*root)) && has_thread(context, room.number, *root)?
        }
    };
    if belongs { Ok(()) } else { refuse(Reason::Invalid, "the event is not related to the thread of thread_id") }
}

/// Chain of relations that begins at an event.
struct RelationChain {
    /// Event at which they end: the event itself if it relates to none.
    top: Position,
    /// Root of the thread that they lead into.
    thread: Option<Position>,
}

fn relation_chain(context: &ApplyContext<'_>, room: RoomNumber, event: Position) -> ApplyResult<RelationChain> {
    let mut chain = RelationChain { top: event, thread: None };
    let mut row = rows::event_row(&context.rows, room, event)?;
    for _ in 0..MAX_HOPS {
        let Some(relation) = row.and_then(|row| RelatesTo::of(&row.content)) else { break };
        let Some(target) = id::parse_event_id(&relation.event_id) else { break };
        row = rows::event_row(&context.rows, room, target)?;
        // What is not in the room, or no longer, is no root.
        if row.is_none() {
            break;
        }
        if relation.relation_type == THREAD {
            chain.thread = chain.thread.or(Some(target));
        }
        chain.top = target;
    }
    Ok(chain)
}

/// Returns `true` if an event has a thread.
fn has_thread(context: &ApplyContext<'_>, room: RoomNumber, root: Position) -> ApplyResult<bool> {
    let prefix = key::relations_of_type(room, root, THREAD);
    let mut found = false;
    context.rows.scan(&ScanRange::with_prefix(Table::Relation, &prefix), &mut |_| {
        found = true;
        Ok(ScanControl::Stop)
    })?;
    Ok(found)
}
