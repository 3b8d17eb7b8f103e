//! Decides which events of a room a user may see.
//! Source: Matrix specification, "Room History Visibility".

use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{ReadError, TableRead};

/// Value of `m.room.history_visibility`, ordered from the most open to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HistoryVisibility {
    WorldReadable,
    Shared,
    Invited,
    Joined,
}

impl HistoryVisibility {
    /// Visibility of a room without the event, or with a value that is unknown.
    pub(crate) const DEFAULT: Self = Self::Shared;

    /// Reads the visibility from the content of the event.
    pub(crate) fn of(content: &[u8]) -> Self {
        match json::string_field(&json::stored_object(content), "history_visibility") {
            Some("world_readable") => Self::WorldReadable,
            Some("invited") => Self::Invited,
            Some("joined") => Self::Joined,
            _ => Self::DEFAULT,
        }
    }
}

/// Everything that determines what one user may see of one room, at any position: two short histories, read once.
pub(crate) struct UserVisibility {
    memberships: Vec<(Position, Kind)>,
    visibilities: Vec<(Position, HistoryVisibility)>,
}

impl UserVisibility {
    /// Reads the user's memberships and the room's history visibilities.
    pub(crate) fn load(
        rows: &dyn TableRead,
        room: RoomNumber,
        localpart: &str,
        server_name: &str,
    ) -> Result<Self, ReadError> {
        let member = id::user_id(localpart, server_name);
        let memberships = rows::state_versions(rows, room, event_type::MEMBER, &member)?
            .into_iter()
            .map(|(at, value)| Ok((at, rows::member_version_kind(&value)?)))
            .collect::<Result<_, ReadError>>()?;
        let visibilities = rows::state_versions(rows, room, event_type::HISTORY_VISIBILITY, "")?
            .into_iter()
            .map(|(at, _)| Ok((at, HistoryVisibility::of(&rows::known_event(rows, room, at)?.content))))
            .collect::<Result<_, ReadError>>()?;
        Ok(Self { memberships, visibilities })
    }

    /// Returns the view of somebody who was never in the room.
    pub(crate) fn without_memberships(self) -> Self {
        Self { memberships: Vec::new(), ..self }
    }

    /// Returns the same view of a room that only those read who were in it, whatever it has shown to everyone.
    pub(crate) fn among_members(mut self) -> Self {
        for (_, visibility) in &mut self.visibilities {
            *visibility = (*visibility).max(HistoryVisibility::Shared);
        }
        self
    }

    /// Returns the view of a member who has been in the room since `joined_since`. Such a member sees everything from
    /// there on, so no rows are read.
    pub(crate) fn of_member_since(joined_since: Position) -> Self {
        Self { memberships: vec![(joined_since, Kind::Join)], visibilities: Vec::new() }
    }

    /// Returns the user's membership after the event at `at`.
    pub(crate) fn membership_at(&self, at: Position) -> Option<Kind> {
        version_at(&self.memberships, at).map(|(_, kind)| kind)
    }

    /// Returns the membership after the event at `at`, and the position of the event that made it so.
    pub(crate) fn membership_event_at(&self, at: Position) -> Option<(Position, Kind)> {
        version_at(&self.memberships, at)
    }

    /// Returns `true` if the user was in the room when the event at this position happened; whoever was removed by it was.
    pub(crate) fn was_there(&self, at: Position) -> bool {
        [at, at.before()].into_iter().any(|at| self.membership_at(at) == Some(Kind::Join))
    }

    /// Returns `true` if the event at this position changed the user's own membership.
    pub(crate) fn is_own(&self, at: Position) -> bool {
        self.memberships.binary_search_by_key(&at, |(position, _)| *position).is_ok()
    }

    /// Returns the position at which the user last left or was removed; `None` for a user who is joined and for one who
    /// never was.
    pub(crate) fn left_at(&self) -> Option<Position> {
        self.stays_after(Position::ZERO).last().and_then(|stay| stay.to)
    }

    /// Returns the position at which the user was last invited or knocked, and so was shown the room from outside.
    pub(crate) fn called_at(&self) -> Option<Position> {
        let called = |kind: Kind| matches!(kind, Kind::Invite | Kind::Knock);
        self.memberships.iter().rev().find(|(_, kind)| called(*kind)).map(|(at, _)| *at)
    }

    /// Returns `true` if the user may read the whole state as of this position. The rules are those for events, except
    /// that an invitation alone grants nothing: an invited user sees only the stripped state.
    pub(crate) fn reads_state_at(&self, at: Position) -> bool {
        match (self.visibility_at(at), self.membership_at(at)) {
            (HistoryVisibility::WorldReadable, _) | (_, Some(Kind::Join)) => true,
            (HistoryVisibility::Invited, Some(Kind::Invite)) | (HistoryVisibility::Shared, _) => {
                self.joined_at_or_after(at)
            }
            _ => false,
        }
    }

    /// Returns the end of the user's last stay that had ended by `at`.
    pub(crate) fn left_before(&self, at: Position) -> Option<Position> {
        let ends = self.stays_after(Position::ZERO).into_iter().filter_map(|stay| stay.to);
        ends.take_while(|end| *end <= at).last()
    }

    /// Returns the position of the user's next join after `at`.
    pub(crate) fn joins_after(&self, at: Position) -> Option<Position> {
        self.memberships.iter().find(|(position, kind)| *position > at && *kind == Kind::Join).map(|(at, _)| *at)
    }

    /// Returns `true` if the user has been in the room from this position on.
    pub(crate) fn stays_since(&self, at: Position) -> bool {
        let left = self.memberships.iter().any(|(position, kind)| *position > at && *kind != Kind::Join);
        !left && self.membership_at(at) == Some(Kind::Join)
    }

    /// Returns `true` if the user was ever joined.
    pub(crate) fn ever_joined(&self) -> bool {
        self.memberships.iter().any(|(_, kind)| *kind == Kind::Join)
    }

    /// Returns `true` if anyone may read the room at present.
    pub(crate) fn is_world_readable(&self) -> bool {
        self.visibility_at(Position::MAX) == HistoryVisibility::WorldReadable
    }

    /// Returns `true` if the event at this position is visible to the user. Changes of the user's own membership always
    /// are: a user must learn of a ban. A change of the room's history visibility is judged by the visibility before
    /// and after it, whichever shows more.
    pub(crate) fn sees(&self, at: Position) -> bool {
        let changes_here = |changed: Option<Position>| changed == Some(at);
        if changes_here(version_at(&self.memberships, at).map(|(changed, _)| changed)) {
            return true;
        }
        let membership = self.membership_at(at);
        let visibility_event = changes_here(version_at(&self.visibilities, at).map(|(changed, _)| changed));
        self.allows(at, membership, self.visibility_at(at))
            || (visibility_event && self.allows(at, membership, self.visibility_at(at.before())))
    }

    fn allows(&self, at: Position, membership: Option<Kind>, visibility: HistoryVisibility) -> bool {
        match (visibility, membership) {
            (HistoryVisibility::WorldReadable, _) | (_, Some(Kind::Join)) => true,
            (HistoryVisibility::Invited, Some(Kind::Invite)) => true,
            (HistoryVisibility::Shared, _) => self.joined_at_or_after(at),
            _ => false,
        }
    }

    fn visibility_at(&self, at: Position) -> HistoryVisibility {
        version_at(&self.visibilities, at).map_or(HistoryVisibility::DEFAULT, |(_, visibility)| visibility)
    }

    /// Returns `true` if the user joined at this position or later.
    fn joined_at_or_after(&self, at: Position) -> bool {
        self.memberships.iter().rev().take_while(|(p, _)| *p >= at).any(|(_, kind)| *kind == Kind::Join)
    }

    /// Returns the stays that extend beyond `after`, oldest first. Each reaches from the event that began it to the one
    /// that ended it, both included; the last may be open.
    pub(crate) fn stays_after(&self, after: Position) -> Vec<RoomStay> {
        let mut stays: Vec<RoomStay> = Vec::new();
        let mut open: Option<Position> = None;
        for (at, kind) in &self.memberships {
            match (open, *kind == Kind::Join) {
                (None, true) => open = Some(*at),
                (Some(from), false) => {
                    stays.push(RoomStay { from, to: Some(*at) });
                    open = None;
                }
                _ => {}
            }
        }
        stays.extend(open.map(|from| RoomStay { from, to: None }));
        stays.retain(|stay| stay.to.is_none_or(|to| to > after));
        stays
    }
}

/// Uninterrupted stay of a user in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoomStay {
    /// Position of the join.
    pub(crate) from: Position,
    /// Position of the leave, kick or ban; `None` while the stay lasts.
    pub(crate) to: Option<Position>,
}

fn version_at<T: Copy>(versions: &[(Position, T)], at: Position) -> Option<(Position, T)> {
    let newer = versions.partition_point(|(position, _)| *position <= at);
    newer.checked_sub(1).and_then(|place| versions.get(place)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Position {
        Position { incarnation: 0, index, ordinal: 0 }
    }

    /// Returns the sight of a user who was invited at 10, joined at 20, left at 30 and, if `again`, joined again at 50.
    fn sight(visibility: HistoryVisibility, again: bool) -> UserVisibility {
        let mut memberships = vec![(at(10), Kind::Invite), (at(20), Kind::Join), (at(30), Kind::Leave)];
        if again {
            memberships.push((at(50), Kind::Join));
        }
        UserVisibility { memberships, visibilities: vec![(at(1), visibility)] }
    }

    fn seen(sight: &UserVisibility) -> Vec<u64> {
        [5, 10, 15, 20, 25, 30, 35, 55].into_iter().filter(|index| sight.sees(at(*index))).collect()
    }

    #[test]
    fn history_is_seen_by_the_rule_that_held_when_it_was_made() {
        assert_eq!(seen(&sight(HistoryVisibility::Joined, false)), [10, 20, 25, 30]);
        assert_eq!(seen(&sight(HistoryVisibility::Invited, false)), [10, 15, 20, 25, 30]);
        assert_eq!(seen(&sight(HistoryVisibility::Shared, false)), [5, 10, 15, 20, 25, 30]);
        assert_eq!(seen(&sight(HistoryVisibility::Shared, true)), [5, 10, 15, 20, 25, 30, 35, 55]);
        assert_eq!(seen(&sight(HistoryVisibility::Joined, true)), [10, 20, 25, 30, 55]);
        assert_eq!(seen(&sight(HistoryVisibility::WorldReadable, false)).len(), 8);
    }

    #[test]
    fn a_change_of_the_visibility_is_seen_if_what_was_before_or_comes_after_it_shows_it() {
        let visibilities = vec![
            (at(1), HistoryVisibility::Shared),
            (at(10), HistoryVisibility::Joined),
            (at(12), HistoryVisibility::Invited),
            (at(14), HistoryVisibility::Shared),
            (at(16), HistoryVisibility::WorldReadable),
            (at(18), HistoryVisibility::Joined),
        ];
        let seen = |memberships: Vec<(Position, Kind)>| {
            let sight = UserVisibility { memberships, visibilities: visibilities.clone() };
            (9..=20).filter(|index| sight.sees(at(*index))).collect::<Vec<_>>()
        };
        assert_eq!(seen(vec![(at(20), Kind::Join)]), [9, 10, 14, 15, 16, 17, 18, 20]);
        assert_eq!(seen(vec![(at(11), Kind::Invite)]), [11, 12, 13, 14, 16, 17, 18], "never joined");
        assert_eq!(seen(Vec::new()), [16, 17, 18], "a stranger");
    }

    #[test]
    fn state_is_read_where_the_user_was_in_or_history_was_open_to_who_came_later() {
        let read = |visibility, again| {
            let sight = sight(visibility, again);
            [5, 10, 15, 20, 25, 30, 35, 55].into_iter().filter(|n| sight.reads_state_at(at(*n))).collect::<Vec<_>>()
        };
        assert_eq!(read(HistoryVisibility::Joined, true), [20, 25, 55]);
        assert_eq!(read(HistoryVisibility::Invited, false), [10, 15, 20, 25]);
        assert_eq!(read(HistoryVisibility::Shared, false), [5, 10, 15, 20, 25]);
        assert_eq!(read(HistoryVisibility::Shared, true), [5, 10, 15, 20, 25, 30, 35, 55]);
        let sight = sight(HistoryVisibility::Joined, true);
        assert_eq!((sight.left_at(), sight.left_before(at(45)), sight.left_before(at(29))), (None, Some(at(30)), None));
        assert_eq!((sight.joins_after(at(20)), sight.called_at()), (Some(at(50)), Some(at(10))));
    }

    #[test]
    fn a_stay_reaches_from_join_to_leave() {
        let stays = |after| sight(HistoryVisibility::Shared, true).stays_after(at(after));
        assert_eq!(stays(29), [RoomStay { from: at(20), to: Some(at(30)) }, RoomStay { from: at(50), to: None }]);
        assert_eq!(stays(30), [RoomStay { from: at(50), to: None }]);
    }
}
