//! Summary of a room, as room lists show it.

use super::SyncSummary;
use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::store::membership::Kind;
use crate::query::{QueryError, StateView};
use crate::rows::{self, event_type};
use crate::table::ScanControl;

/// Maximum number of heroes of a room (Matrix specification, "Room summary").
pub(super) const MAX_HEROES: usize = 5;

/// Maximum number of members examined to find heroes: in a room that thousands have left, five heroes are not worth a
/// walk through all of them.
const MAX_LOOKED_AT: usize = 200;

/// State that names a room, and the field of its content with the name. A room that has one of them needs no heroes.
const NAMES: [(&str, &str); 2] = [(event_type::NAME, "name"), (event_type::CANONICAL_ALIAS, "alias")];

/// Returns `true` if state of this type changes what a summary tells.
pub(super) fn is_summarised(event_type: &str) -> bool {
    event_type == event_type::MEMBER || NAMES.iter().any(|(naming, _)| *naming == event_type)
}

impl StateView<'_> {
    /// Returns the counts and, unless the room has a name, the first other members by name: those joined or invited,
    /// or, if there are none, former ones.
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
        let mut summary = SyncSummary {
            heroes: Vec::new(),
            named: self.has_name(room)?,
            joined_members: row.joined_members,
            invited_members: row.invited_members,
        };
        if summary.named {
            return Ok(summary);
        }
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
        summary.heroes = if present.is_empty() { past } else { present };
        Ok(summary)
    }

    /// Returns `true` if the room has a name or an alias to be called by.
    fn has_name(&self, room: RoomNumber) -> Result<bool, QueryError> {
        for (naming, field) in NAMES {
            let event = rows::state_event(self.rows, room, naming, "", Position::MAX)?;
            let content = event.map(|(_, event)| json::stored_object(&event.content)).unwrap_or_default();
            if json::string_field(&content, field).is_some_and(|name| !name.is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
