//! Users whose devices a client has to look at again, and those whose devices no longer concern it.
//!
//! Changed are users who share a room with the reader and whose devices or keys changed since the token, and users who
//! share a room with the reader only since then. Left are users who shared a room with the reader and share none any
//! more. The work is in proportion to what happened since the token: changes of keys are a table by position, and
//! changes of membership are found in the rooms that have news.

use super::state::key_after;
use super::{QueryError, RoomMembership, StateView, SyncFilter, SyncRequest};
use crate::id::{self, Position, RoomNumber};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{self, ScanControl, ScanRange, Table, key};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of changes of a room's state that are read one by one to find the members among them; beyond it, all
/// members are gone through instead.
const MAX_CHANGES: usize = 4096;

/// Changes of device lists; user ids in alphabetical order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceListChanges {
    /// Users whose devices are to be looked at again.
    pub changed: Vec<String>,
    /// Users who share no room with the reader any more.
    pub left: Vec<String>,
}

impl DeviceListChanges {
    /// Returns `true` if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }

    /// Returns the number of bytes of the user ids.
    pub(super) fn weight(&self) -> usize {
        self.changed.iter().chain(&self.left).map(String::len).sum()
    }
}

/// User who came to a room or left it, for all who were in it all the while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMove {
    /// Full id of the user.
    pub user_id: String,
    /// Rooms that a user who left is still joined to; `None` if the user came.
    pub stays_in: Option<BTreeSet<RoomNumber>>,
}

/// Users found so far, by localpart.
#[derive(Default)]
struct FoundUsers {
    changed: BTreeSet<String>,
    gone: BTreeSet<String>,
}

impl StateView<'_> {
    /// Returns the changes since a token for a user.
    ///
    /// # Errors
    /// [`QueryError::Ahead`] if this view has not reached the token.
    pub fn device_list_changes(&self, localpart: &str, since: Position) -> Result<DeviceListChanges, QueryError> {
        let since = Some(self.reached(since)?);
        let request = SyncRequest { localpart, since, full_state: false, filter: &SyncFilter::default() };
        let rooms = self.changed_rooms(&request, &BTreeMap::new())?;
        self.device_lists(localpart, since, &rooms)
    }

    /// Returns the changes since a token, given the rooms that may have news. Without a token there are none: such a
    /// client asks for the devices of everybody in its rooms.
    pub(super) fn device_lists(
        &self,
        localpart: &str,
        since: Option<Position>,
        rooms: &[RoomMembership],
    ) -> Result<DeviceListChanges, QueryError> {
        let Some(since) = since else { return Ok(DeviceListChanges::default()) };
        let mut found = FoundUsers::default();
        for room in rooms {
            self.is_wanted()?;
            self.moves_in(localpart, since, room, &mut found)?;
        }
        // Of its own devices a user is told when their keys change, and not for coming to a room.
        found.changed.remove(localpart);
        let changed_keys = self.changed_keys(localpart, since)?;
        let mut mine = None;
        for user in changed_keys {
            self.is_wanted()?;
            if user == localpart
                || found.changed.contains(&user)
                || self.shares_known_room(localpart, &user, &mut mine)?
            {
                found.changed.insert(user);
            }
        }
        let mut left = Vec::new();
        for user in found.gone {
            self.is_wanted()?;
            if user != localpart && !self.shares_known_room(localpart, &user, &mut mine)? {
                left.push(id::user_id(&user, self.server_name()));
            }
        }
        let changed = found.changed.iter().map(|user| id::user_id(user, self.server_name())).collect();
        Ok(DeviceListChanges { changed, left })
    }

    /// Returns the users whose keys changed since, as far as this reader is told; whether they share a room is not asked.
    fn changed_keys(&self, localpart: &str, since: Position) -> Result<BTreeSet<String>, QueryError> {
        let from = key::after_prefix(&key::position_key(since));
        let mut out = BTreeSet::new();
        self.rows.scan(&ScanRange::starting_at(Table::KeyChange, &from), &mut |(key, value)| {
            let row: store::KeyChange = table::decode_value(Table::KeyChange, value)?;
            if let Some((_, user)) = key::parse_key_change(key)
                && (row.observer.is_empty() || row.observer == localpart)
            {
                out.insert(user.to_owned());
            }
            Ok(ScanControl::More)
        })?;
        Ok(out)
    }

    /// Finds the users who came to a room or left it, as one of its members sees that.
    fn moves_in(
        &self,
        localpart: &str,
        since: Position,
        room: &RoomMembership,
        found: &mut FoundUsers,
    ) -> Result<(), QueryError> {
        if room.kind == Kind::Join && room.joined_since.is_some_and(|from| from <= since) {
            for user in self.moved_members(room.room, since)? {
                self.note_move(room.room, since, user, found)?;
            }
            return Ok(());
        }
        if room.position <= since {
            return Ok(());
        }
        // From the events and not as the user sees them: a room that was forgotten meanwhile is closed to its reader.
        let user_id = id::user_id(localpart, self.server_name());
        let before = rows::member_kind_at(self.rows, room.room, &user_id, since)?;
        let was_in = matches!(before, Some((Kind::Join, _)));
        if room.kind == Kind::Join {
            // Everybody is new to one who has just come. One who was there before has missed those who left.
            self.each_member(room.room, None, &mut |user, row| {
                if row.kind() == Kind::Join && user != localpart {
                    found.changed.insert(user.to_owned());
                }
                ScanControl::More
            })?;
            let moved = if was_in { self.moved_members(room.room, since)? } else { BTreeSet::new() };
            for user in moved {
                self.note_move(room.room, since, user, found)?;
            }
        } else if was_in {
            let stay = self.sight(room.room, localpart)?.stays_after(since).into_iter().next();
            let left_at = stay.and_then(|stay| stay.to).unwrap_or(room.position);
            found.gone.extend(self.members_until(room.room, since, left_at)?);
        }
        Ok(())
    }

    /// Notes a user whose membership in a room changed since, if the user came or left.
    fn note_move(
        &self,
        room: RoomNumber,
        since: Position,
        user: String,
        found: &mut FoundUsers,
    ) -> Result<(), QueryError> {
        match self.has_come(room, since, &user)? {
            Some(true) => drop(found.changed.insert(user)),
            Some(false) => drop(found.gone.insert(user)),
            None => {}
        }
        Ok(())
    }

    /// Returns `true` if the user is in the room only since then, `false` if the user was in it and is no more, `None` if
    /// neither is so.
    fn has_come(&self, room: RoomNumber, since: Position, user: &str) -> Result<Option<bool>, QueryError> {
        let row = rows::membership_row(self.rows, room, user)?;
        if row.kind() == Kind::Join {
            let from = table::decode_position(Table::RoomMember, &row.joined_since)?;
            return Ok(from.is_none_or(|from| from > since).then_some(true));
        }
        let user_id = id::user_id(user, self.server_name());
        let before = rows::member_kind_at(self.rows, room, &user_id, since)?;
        Ok(matches!(before, Some((Kind::Join, _))).then_some(false))
    }

    /// Returns the localparts of users with a member event since, whatever it says.
    fn moved_members(&self, room: RoomNumber, since: Position) -> Result<BTreeSet<String>, QueryError> {
        let low = key_after(room, since);
        let high = key_after(room, Position::MAX);
        let mut changes = Vec::new();
        self.rows.scan(&ScanRange::between(Table::StateChange, &low, &high), &mut |(key, _)| {
            changes.push(rows::position_in(Table::StateChange, key)?);
            Ok(if changes.len() > MAX_CHANGES { ScanControl::Stop } else { ScanControl::More })
        })?;
        let mut out = BTreeSet::new();
        if changes.len() > MAX_CHANGES {
            self.each_member(room, None, &mut |user, row| {
                let at = Position::from_bytes(&row.position).unwrap_or_default();
                if at > since {
                    out.insert(user.to_owned());
                }
                ScanControl::More
            })?;
            return Ok(out);
        }
        for at in changes {
            let event = rows::known_event(self.rows, room, at)?;
            let member = event.state_key.filter(|_| event.r#type == event_type::MEMBER);
            let member = member.as_deref().and_then(|user_id| id::user_localpart(user_id, self.server_name()));
            out.extend(member.map(str::to_owned));
        }
        Ok(out)
    }

    /// Returns the localparts of users who were in the room with one who left it at `left_at`. Those who came later are
    /// not told to one who is out.
    fn members_until(
        &self,
        room: RoomNumber,
        since: Position,
        left_at: Position,
    ) -> Result<BTreeSet<String>, QueryError> {
        let mut out = BTreeSet::new();
        let mut moved = Vec::new();
        self.each_member(room, None, &mut |user, row| {
            let changed = Position::from_bytes(&row.position).unwrap_or_default();
            let from = Position::from_bytes(&row.joined_since);
            match row.kind() {
                Kind::Join if from.is_some_and(|from| from <= left_at) => drop(out.insert(user.to_owned())),
                _ if changed > since => moved.push(user.to_owned()),
                _ => {}
            }
            ScanControl::More
        })?;
        for user in moved {
            self.is_wanted()?;
            let user_id = id::user_id(&user, self.server_name());
            for at in [since, left_at] {
                if matches!(rows::member_kind_at(self.rows, room, &user_id, at)?, Some((Kind::Join, _))) {
                    out.insert(user.clone());
                }
            }
        }
        Ok(out)
    }

    /// Returns `true` if both users are joined to a room. `mine` keeps the rooms of the first between calls.
    fn shares_known_room(
        &self,
        localpart: &str,
        other: &str,
        mine: &mut Option<BTreeSet<RoomNumber>>,
    ) -> Result<bool, QueryError> {
        let mine = match mine {
            Some(mine) => mine,
            None => mine.insert(self.joined_rooms(localpart)?),
        };
        if mine.is_empty() {
            return Ok(false);
        }
        let from = key::devices_of(other);
        let mut shared = false;
        self.rows.scan(&ScanRange::with_prefix(Table::Membership, &from), &mut |(key, value)| {
            let room = rows::room_in(Table::Membership, key.get(from.len()..).unwrap_or_default())?;
            // The row is decoded only for the rooms that count.
            if mine.contains(&room) {
                shared = table::decode_value::<store::Membership>(Table::Membership, value)?.kind() == Kind::Join;
            }
            Ok(if shared { ScanControl::Stop } else { ScanControl::More })
        })?;
        Ok(shared)
    }

    /// Returns the users who came to a room or left it since, for all who were in it all the while: each of them finds out
    /// by the rooms it is in whether a user who left is still around.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn member_moves(&self, room: RoomNumber, since: Position) -> Result<Vec<MemberMove>, QueryError> {
        let mut out = Vec::new();
        for user in self.moved_members(room, since)? {
            self.is_wanted()?;
            let stays_in = match self.has_come(room, since, &user)? {
                Some(true) => None,
                Some(false) => Some(self.joined_rooms(&user)?),
                None => continue,
            };
            out.push(MemberMove { user_id: id::user_id(&user, self.server_name()), stays_in });
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
