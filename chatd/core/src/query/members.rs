//! Members of a room, at present and at a position.

use super::{PAGE_BYTES, QueryError, StateView};
use crate::auth::levels;
use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{self, ScanControl, ScanRange, Table, key};
use crate::visibility::UserVisibility;

/// Summary of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSummary {
    /// Full user id of the member.
    pub user_id: String,
    /// Localpart of the user id.
    pub localpart: String,
    /// Display name in this room; empty if there is none.
    pub display_name: String,
    /// Avatar URL (`mxc://…`); empty if there is none.
    pub avatar_url: String,
    /// Kind of membership: joined, invited, banned or knocking.
    pub kind: Kind,
    /// Power level in the room.
    pub power_level: i64,
}

impl MemberSummary {
    /// Returns the approximate number of bytes of the member on its way to a client.
    fn weight(&self) -> usize {
        /// Bytes of field names, a membership and a power level.
        const FIXED: usize = 32;
        FIXED + self.user_id.len() + self.display_name.len() + self.avatar_url.len()
    }
}

/// Page of a room's members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberPage {
    /// Members in order of their localparts.
    pub members: Vec<MemberSummary>,
    /// Localpart after which the next page begins; `None` at the end. A page may be empty without being the last.
    pub next: Option<String>,
}

/// Maximum number of members examined for one page: in a room that thousands have left, pages get shorter, not slower.
const MAX_LOOKED_AT: usize = 4096;

impl StateView<'_> {
    /// Returns a user's current membership; `None` if the user never had one.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn membership(&self, room: RoomNumber, localpart: &str) -> Result<Option<Kind>, QueryError> {
        let kind = rows::membership_row(self.rows, room, localpart)?.kind();
        Ok(Some(kind).filter(|kind| *kind != Kind::Unspecified))
    }

    /// Returns a user's membership after the event at this position.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn membership_at(&self, room: RoomNumber, localpart: &str, at: Position) -> Result<Option<Kind>, QueryError> {
        Ok(self.sight_in_lists(room, localpart)?.membership_at(at))
    }

    /// Returns what a user may see of a room. Whoever has forgotten a room has no longer any part in it, and strangers
    /// have none in what is left of a deleted one.
    pub(super) fn sight(&self, room: RoomNumber, localpart: &str) -> Result<UserVisibility, QueryError> {
        let sight = self.sight_in_lists(room, localpart)?;
        let forgotten = rows::membership_row(self.rows, room, localpart)?.forgotten;
        let sight = if forgotten { sight.without_memberships() } else { sight };
        Ok(if sight.is_world_readable() && self.is_deleted(room)? { sight.among_members() } else { sight })
    }

    /// Returns what a user may be told of a room in lists of news: a leave is news for the user's other clients, even if
    /// the room was forgotten soon after it.
    pub(super) fn sight_in_lists(&self, room: RoomNumber, localpart: &str) -> Result<UserVisibility, QueryError> {
        Ok(UserVisibility::load(self.rows, room, localpart, self.server_name())?)
    }

    /// Returns a page of the users who are joined, invited, knocking or banned, at present or at a position, in order
    /// of their localparts and beginning after `after`. The page is bounded in bytes as well.
    pub(super) fn member_page(
        &self,
        room: RoomNumber,
        at: Option<Position>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<MemberPage, QueryError> {
        let levels = self.levels_at(room, at)?;
        let mut found = Vec::new();
        let mut next = None;
        let mut looked_at = 0;
        let mut last = String::new();
        let mut failed = None;
        self.each_member(room, after, &mut |localpart, row| {
            if found.len() >= limit || looked_at >= MAX_LOOKED_AT {
                next = Some(std::mem::take(&mut last));
                return ScanControl::Stop;
            }
            looked_at += 1;
            last = localpart.to_owned();
            match self.membership_as_of(room, localpart, row, at) {
                Ok(Some((kind, position))) => found.push((localpart.to_owned(), kind, position)),
                Ok(None) => {}
                Err(error) => {
                    failed = Some(error);
                    return ScanControl::Stop;
                }
            }
            ScanControl::More
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let mut page = MemberPage { members: Vec::new(), next };
        let mut bytes = 0;
        for (localpart, kind, at) in found {
            if bytes >= PAGE_BYTES {
                page.next = page.members.last().map(|last: &MemberSummary| last.localpart.clone());
                break;
            }
            self.is_wanted()?;
            let member = self.member(room, localpart, kind, at, &levels)?;
            bytes += member.weight();
            page.members.push(member);
        }
        Ok(page)
    }

    /// Returns the kind and the event of a membership, at present or at a position; `None` for a user who was out of
    /// the room.
    fn membership_as_of(
        &self,
        room: RoomNumber,
        localpart: &str,
        row: store::Membership,
        at: Option<Position>,
    ) -> Result<Option<(Kind, Position)>, QueryError> {
        let newest = table::decode_position(Table::RoomMember, &row.position)?.unwrap_or_default();
        let (kind, position) = match at.filter(|at| newest > *at) {
            None => (row.kind(), newest),
            Some(at) => {
                let user_id = id::user_id(localpart, self.server_name());
                match rows::member_kind_at(self.rows, room, &user_id, at)? {
                    Some(found) => found,
                    None => return Ok(None),
                }
            }
        };
        Ok(Some((kind, position)).filter(|(kind, _)| !matches!(kind, Kind::Leave | Kind::Unspecified)))
    }

    /// Returns the room's power levels, at present or at a position.
    fn levels_at(&self, room: RoomNumber, at: Option<Position>) -> Result<store::Levels, QueryError> {
        let now = self.room_row(room)?.levels.unwrap_or_default();
        let Some(at) = at else { return Ok(now) };
        let event = rows::state_event(self.rows, room, event_type::POWER_LEVELS, "", at)?;
        // Power levels that were applied could be parsed.
        let then =
            event.map(|(_, event)| levels::parse_levels(&json::stored_object(&event.content), self.server_name()));
        Ok(store::Levels { creators: now.creators, ..then.and_then(Result::ok).unwrap_or_default() })
    }

    fn member(
        &self,
        room: RoomNumber,
        localpart: String,
        kind: Kind,
        at: Position,
        levels: &store::Levels,
    ) -> Result<MemberSummary, QueryError> {
        let content = json::stored_object(&rows::known_event(self.rows, room, at)?.content);
        let text = |key| json::string_field(&content, key).unwrap_or_default().to_owned();
        Ok(MemberSummary {
            user_id: id::user_id(&localpart, self.server_name()),
            display_name: text("displayname"),
            avatar_url: text("avatar_url"),
            kind,
            power_level: levels.of(&localpart),
            localpart,
        })
    }

    /// Visits the membership rows of a room in order of localparts, beginning after `after`.
    pub(super) fn each_member(
        &self,
        room: RoomNumber,
        after: Option<&str>,
        visit: &mut dyn FnMut(&str, store::Membership) -> ScanControl,
    ) -> Result<(), QueryError> {
        let prefix = key::room_key(room);
        let mut from = prefix.clone();
        if let Some(after) = after {
            from = key::room_member(room, after);
            // The smallest key after this one: no localpart contains a zero byte.
            from.push(0);
        }
        let end = key::after_prefix(&prefix);
        self.rows.scan(&ScanRange::between(Table::RoomMember, &from, &end), &mut |(key, value)| {
            let localpart = std::str::from_utf8(key.get(prefix.len()..).unwrap_or_default()).unwrap_or_default();
            Ok(visit(localpart, table::decode_value(Table::RoomMember, value)?))
        })?;
        Ok(())
    }
}
