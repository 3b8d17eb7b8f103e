//! Summary of a room, as room lists show it.

use super::SyncSummary;
use crate::id::{self, RoomNumber};
use crate::proto::store::membership::Kind;
use crate::query::{QueryError, StateView};
use crate::table::ScanControl;

/// Maximum number of heroes of a room (Matrix specification, "Room summary").
pub(super) const MAX_HEROES: usize = 5;

/// Maximum number of members examined to find heroes: in a room that thousands have left, five heroes are not worth a
/// walk through all of them.
const MAX_LOOKED_AT: usize = 200;

impl StateView<'_> {
    /// Returns the counts, and the first other members by name: those joined or invited, or, if there are none, former
    /// ones.
    pub(super) fn room_in_short(&self, room: RoomNumber, localpart: &str) -> Result<SyncSummary, QueryError> {
        self.room_in_short_of(room, localpart, MAX_HEROES)
    }

    /// Returns the summary with at most `at_most` other members.
    pub(super) fn room_in_short_of(
        &self,
        room: RoomNumber,
        localpart: &str,
        at_most: usize,
    ) -> Result<SyncSummary, QueryError> {
        let row = self.room_row(room)?;
        let mut present = Vec::new();
        let mut past = Vec::new();
        let mut looked_at = 0;
        self.each_member(room, None, &mut |other, membership| {
            looked_at += 1;
            match membership.kind() {
                _ if other == localpart => {}
                Kind::Join | Kind::Invite => present.push(id::user_id(other, self.server_name())),
                _ if past.len() < at_most => past.push(id::user_id(other, self.server_name())),
                _ => {}
            }
            if present.len() < at_most && looked_at < MAX_LOOKED_AT { ScanControl::More } else { ScanControl::Stop }
        })?;
        Ok(SyncSummary {
            heroes: if present.is_empty() { past } else { present },
            joined_members: row.joined_members,
            invited_members: row.invited_members,
        })
    }
}
