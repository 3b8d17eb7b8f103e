//! Questions that decide who may do and see what never enters the log: typing in a room, and presence, which is visible
//! to those who share a room.

use super::{QueryError, StateView};
use crate::id::RoomNumber;
use crate::proto::store::membership::Kind;
use crate::table::ScanControl;
use std::collections::BTreeSet;

impl StateView<'_> {
    /// Returns the room in which a user wants to be seen typing.
    ///
    /// # Errors
    /// [`QueryError::NotMember`] if the user is not in it, or there is no such room: the caller is not told which.
    pub fn room_to_type_in(&self, localpart: &str, room_id: &str) -> Result<RoomNumber, QueryError> {
        let room = match self.resolve_room(room_id) {
            Err(QueryError::RoomNotFound) => return Err(QueryError::NotMember),
            found => found?,
        };
        match self.membership(room, localpart)? {
            Some(Kind::Join) => Ok(room),
            _ => Err(QueryError::NotMember),
        }
    }

    /// Returns the rooms that a user is in.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn joined_rooms(&self, localpart: &str) -> Result<BTreeSet<RoomNumber>, QueryError> {
        let rooms = self.rooms_of(localpart)?;
        Ok(rooms.iter().filter(|room| room.kind == Kind::Join).map(|room| room.room).collect())
    }

    /// Returns `true` if two users are in the same room, or are the same user.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn shares_room(&self, one: &str, other: &str) -> Result<bool, QueryError> {
        if one == other {
            return Ok(true);
        }
        for room in self.joined_rooms(one)? {
            self.is_wanted()?;
            if self.membership(room, other)? == Some(Kind::Join) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the localparts of the users in a room, the first ones if there are more than `limit`; of at most as many
    /// memberships of any kind.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn some_joined_members(&self, room: RoomNumber, limit: usize) -> Result<Vec<String>, QueryError> {
        let mut looked_at = 0;
        let mut members = Vec::new();
        self.each_member(room, None, &mut |localpart, row| {
            if looked_at >= limit {
                return ScanControl::Stop;
            }
            looked_at += 1;
            if row.kind() == Kind::Join {
                members.push(localpart.to_owned());
            }
            ScanControl::More
        })?;
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::set_membership::Change;
    use crate::testing::world;

    #[test]
    fn only_members_type_in_a_room_and_see_each_other() {
        let mut world = world(&["alice", "bob", "eve"]);
        let (room, room_id) = world.public_room("alice");
        world.moved("bob", &room_id, Change::Join, "");
        let view = world.view();
        assert_eq!(view.room_to_type_in("bob", &room_id).unwrap(), room);
        for (user, room_id) in [("eve", room_id.as_str()), ("eve", "!nowhere:a.org"), ("bob", "!nowhere:a.org")] {
            assert!(matches!(view.room_to_type_in(user, room_id), Err(QueryError::NotMember)), "{user} {room_id}");
        }
        assert!(view.shares_room("alice", "bob").unwrap() && view.shares_room("eve", "eve").unwrap());
        assert!(!view.shares_room("eve", "alice").unwrap() && !view.shares_room("alice", "nobody").unwrap());
        assert_eq!(view.some_joined_members(room, 9).unwrap(), ["alice", "bob"]);
        assert_eq!(view.some_joined_members(room, 1).unwrap(), ["alice"]);
        world.moved("bob", &room_id, Change::Leave, "");
        let view = world.view();
        assert!(!view.shares_room("alice", "bob").unwrap() && view.joined_rooms("bob").unwrap().is_empty());
        assert_eq!(view.some_joined_members(room, 9).unwrap(), ["alice"]);
    }
}
