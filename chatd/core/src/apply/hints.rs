//! Hints for the feed: what a command changed.

use crate::id::RoomNumber;

/// Rooms and users whose view a command changed: hints for the feed, without the changes themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeHints {
    /// Rooms that have new events.
    pub rooms: Vec<RoomNumber>,
    /// Localparts of users whose memberships, account data or sessions changed.
    pub users: Vec<String>,
    /// Localparts of users of whom a session ended or got another expiry, so that whatever is cached about their
    /// sessions is out of date.
    pub sessions: Vec<String>,
    /// Users whose devices or keys changed.
    pub keys: Vec<KeyChangeHint>,
}

/// User whose devices or keys changed, and those who are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChangeHint {
    /// Localpart of the user.
    pub localpart: String,
    /// Rooms that the user is joined to, whose members are told; `None` if there are too many to list.
    pub rooms: Option<Vec<RoomNumber>>,
}

impl ChangeHints {
    pub(super) fn room(&mut self, room: RoomNumber) {
        if !self.rooms.contains(&room) {
            self.rooms.push(room);
        }
    }

    pub(super) fn session(&mut self, localpart: &str) {
        if !self.sessions.iter().any(|user| user == localpart) {
            self.sessions.push(localpart.to_owned());
        }
    }

    pub(super) fn user(&mut self, localpart: &str) {
        if !self.users.iter().any(|user| user == localpart) {
            self.users.push(localpart.to_owned());
        }
    }
}
