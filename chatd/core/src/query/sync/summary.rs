//! What a room list shows of a room.

use super::Summary;
use crate::id::{self, RoomNumber};
use crate::proto::store::membership::Kind;
use crate::query::{QueryError, View};
use crate::table::Flow;

/// Heroes of a room (Matrix specification, "Room summary").
pub(super) const MAX_HEROES: usize = 5;

/// Members looked at to find heroes: in a room of thousands who left, those five are not worth a walk through all.
const MAX_LOOKED_AT: usize = 200;

impl View<'_> {
    /// Counts, and the first other members by name: those in it or invited; where there are none, those who were.
    pub(super) fn room_in_short(&self, room: RoomNumber, localpart: &str) -> Result<Summary, QueryError> {
        self.room_in_short_of(room, localpart, MAX_HEROES)
    }

    /// The same with so many others at most.
    pub(super) fn room_in_short_of(
        &self,
        room: RoomNumber,
        localpart: &str,
        at_most: usize,
    ) -> Result<Summary, QueryError> {
        let row = self.room_row(room)?;
        let (mut present, mut past, mut looked_at) = (Vec::new(), Vec::new(), 0);
        self.each_member(room, None, &mut |other, membership| {
            looked_at += 1;
            match membership.kind() {
                _ if other == localpart => {}
                Kind::Join | Kind::Invite => present.push(id::user_id(other, self.server_name())),
                _ if past.len() < at_most => past.push(id::user_id(other, self.server_name())),
                _ => {}
            }
            if present.len() < at_most && looked_at < MAX_LOOKED_AT { Flow::More } else { Flow::Stop }
        })?;
        Ok(Summary {
            heroes: if present.is_empty() { past } else { present },
            joined_members: row.joined_members,
            invited_members: row.invited_members,
        })
    }
}
