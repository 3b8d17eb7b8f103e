//! List of the events that have notified a user, judged by the rules as they are now.

use super::counts::UnreadCounter;
use super::judge::JudgedRoom;
use quorate_core::id::{Position, RoomNumber};
use quorate_core::query::{QueryError, RoomEvent, StateView};
use quorate_core::table::ScanControl;
use ruma::push::Action;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Maximum number of events that are judged for one page. A user who is notified rarely gets shorter pages, not slower
/// ones: this takes some ten milliseconds.
const MOST_JUDGED: usize = 4_096;

/// Request for a page of the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotifiedQuery {
    /// Position at and before which the page begins.
    pub(crate) until: Position,
    /// Maximum number of events.
    pub(crate) limit: usize,
    /// `true` for highlighted events alone.
    pub(crate) only_highlights: bool,
}

/// Event that has notified a user.
pub(crate) struct NotifiedEvent {
    pub(crate) event: RoomEvent,
    /// Actions of the rule that applied.
    pub(crate) actions: Vec<Action>,
    /// `true` if the user has read the event.
    pub(crate) read: bool,
}

/// Page of the list, newest first.
#[derive(Default)]
pub(crate) struct NotifiedPage {
    pub(crate) events: Vec<NotifiedEvent>,
    /// Position from which the next page continues; `None` at the end. A page may be empty without being the last.
    pub(crate) next: Option<Position>,
}

impl UnreadCounter {
    /// Returns a page of the events that have notified a user.
    pub(crate) fn notified(
        &self,
        view: &StateView<'_>,
        localpart: &str,
        query: NotifiedQuery,
    ) -> Result<NotifiedPage, QueryError> {
        let Some(rules) = self.rules_of(view, localpart)? else { return Ok(NotifiedPage::default()) };
        let mut rooms = BTreeMap::<RoomNumber, Option<JudgedRoom>>::new();
        let mut events = Vec::new();
        let next = view.walk_newest(localpart, query.until, MOST_JUDGED, &mut |reading, unread, read| {
            let room = match rooms.entry(reading.room) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(JudgedRoom::new(reading, view.member_name(reading.room, localpart)?)),
            };
            let Some(room) = room else { return Ok(ScanControl::More) };
            let actions = self.actions_in(view, &rules, room, &unread.event)?;
            let notifies = actions.iter().any(Action::should_notify);
            if notifies && (!query.only_highlights || actions.iter().any(Action::is_highlight)) {
                events.push(NotifiedEvent { event: unread.event.clone(), actions: actions.to_vec(), read });
            }
            Ok(if events.len() < query.limit { ScanControl::More } else { ScanControl::Stop })
        })?;
        Ok(NotifiedPage { events, next })
    }
}
