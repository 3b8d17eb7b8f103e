//! Unread notifications in a sync: of a room as a whole or, if the client asks for it, of each thread by itself.

use super::super::error::MatrixError;
use crate::push::{NotificationCount, UnreadCounts};
use quorate_core::id::{self, RoomNumber};
use ruma::api::client::sync::sync_events::UnreadNotificationsCount;
use ruma::api::client::sync::sync_events::v3 as api;
use ruma::{EventId, UInt};
use std::collections::BTreeMap;

/// Unread notifications of the rooms of one answer.
pub(super) struct UnreadRooms {
    pub(super) counts: BTreeMap<RoomNumber, UnreadCounts>,
    /// `true` if threads are counted by themselves, and not with their rooms.
    pub(super) per_thread: bool,
}

impl UnreadRooms {
    /// Adds the counts of a room to its news.
    pub(super) fn add_to(&self, room: RoomNumber, news: &mut api::JoinedRoom) -> Result<(), MatrixError> {
        // A room that the user left since the answer was made has none.
        let Some(counts) = self.counts.get(&room) else { return Ok(()) };
        if !self.per_thread {
            news.unread_notifications = render_count(counts.total());
            return Ok(());
        }
        news.unread_notifications = render_count(counts.main);
        for (root, count) in &counts.threads {
            let root = EventId::parse(id::event_id(*root)).map_err(|error| MatrixError::damaged("thread", error))?;
            news.unread_thread_notifications.insert(root, render_count(*count));
        }
        Ok(())
    }
}

fn render_count(count: NotificationCount) -> UnreadNotificationsCount {
    let mut out = UnreadNotificationsCount::new();
    out.notification_count = Some(UInt::new_saturating(count.notified));
    out.highlight_count = Some(UInt::new_saturating(count.highlighted));
    out
}
