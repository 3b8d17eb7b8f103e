//! Who is in a room, now and at a position.

use super::{Event, QueryError, View};
use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{self, Direction, Flow, Table, key};
use crate::visibility::Sight;

/// A member in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Full user id.
    pub user_id: String,
    /// Pages continue after this.
    pub localpart: String,
    /// As in the room; empty: none.
    pub display_name: String,
    /// `mxc://…`; empty: none.
    pub avatar_url: String,
    /// Joined, invited, banned or knocking.
    pub kind: Kind,
    /// Power in the room.
    pub power_level: i64,
}

impl View<'_> {
    /// A user's membership now; `None` for one who never had any.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn membership(&self, room: RoomNumber, localpart: &str) -> Result<Option<Kind>, QueryError> {
        let kind = rows::membership(self.rows, room, localpart)?.kind();
        Ok(Some(kind).filter(|kind| *kind != Kind::Unspecified))
    }

    /// A user's membership after the event at this position.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn membership_at(&self, room: RoomNumber, localpart: &str, at: Position) -> Result<Option<Kind>, QueryError> {
        Ok(self.sight(room, localpart)?.membership_at(at))
    }

    pub(super) fn sight(&self, room: RoomNumber, localpart: &str) -> Result<Sight, QueryError> {
        Ok(Sight::load(self.rows, room, localpart, self.server_name())?)
    }

    /// From when on may the user read the room's state? `None`: as it is now (joined, or open to all); `Some`: as it
    /// was when the user left.
    ///
    /// # Errors
    /// [`QueryError::Forbidden`] for one who never was in.
    pub fn may_read_state(&self, room: RoomNumber, localpart: &str) -> Result<Option<Position>, QueryError> {
        if rows::membership(self.rows, room, localpart)?.kind() == Kind::Join {
            return Ok(None);
        }
        let sight = self.sight(room, localpart)?;
        match sight.stays_after(Position::ZERO).last() {
            _ if sight.is_world_readable() => Ok(None),
            Some(stay) => Ok(stay.to),
            None => Err(QueryError::Forbidden),
        }
    }

    /// A page of those joined, invited, knocking or banned now, by localpart, after this one.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] when there is no such room.
    pub fn members(&self, room: RoomNumber, after: Option<&str>, limit: usize) -> Result<Vec<Member>, QueryError> {
        let levels = self.room_row(room)?.levels.unwrap_or_default();
        let mut page = Vec::new();
        self.each_member(room, after, &mut |localpart, row| {
            if !matches!(row.kind(), Kind::Leave | Kind::Unspecified) && page.len() < limit {
                page.push((localpart.to_owned(), row));
            }
            if page.len() < limit { Flow::More } else { Flow::Stop }
        })?;
        page.into_iter().map(|(localpart, row)| self.member(room, localpart, &row, &levels)).collect()
    }

    fn member(
        &self,
        room: RoomNumber,
        localpart: String,
        row: &store::Membership,
        levels: &store::Levels,
    ) -> Result<Member, QueryError> {
        let at = table::position(Table::RoomMember, &row.position)?.unwrap_or_default();
        let content = json::stored_object(&rows::known_event(self.rows, room, at)?.content);
        let text = |key| json::text(&content, key).unwrap_or_default().to_owned();
        Ok(Member {
            user_id: id::user_id(&localpart, self.server_name()),
            display_name: text("displayname"),
            avatar_url: text("avatar_url"),
            kind: row.kind(),
            power_level: levels.of(&localpart),
            localpart,
        })
    }

    /// Visits the membership rows of a room by localpart, after this one.
    pub(super) fn each_member(
        &self,
        room: RoomNumber,
        after: Option<&str>,
        visit: &mut dyn FnMut(&str, store::Membership) -> Flow,
    ) -> Result<(), QueryError> {
        let prefix = key::room(room);
        let mut from = prefix.clone();
        if let Some(after) = after {
            from = key::room_member(room, after);
            from.push(0);
        }
        self.rows.scan(Table::RoomMember, &from, &key::after_prefix(&prefix), Direction::Forward, &mut |(
            key,
            value,
        )| {
            let localpart = std::str::from_utf8(key.get(prefix.len()..).unwrap_or_default()).unwrap_or_default();
            Ok(visit(localpart, table::decode(Table::RoomMember, value)?))
        })?;
        Ok(())
    }

    /// All member events that held at a position, whatever their membership.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] when there is no such room.
    pub fn members_at(&self, room: RoomNumber, at: Position) -> Result<Vec<Event>, QueryError> {
        self.state_of_type(room, event_type::MEMBER, at)
    }
}
