//! Which events of a room a user may see.
//! Source: Matrix specification, "Room History Visibility".

use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{Read, ReadError};

/// `m.room.history_visibility`, from the most open to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HistoryVisibility {
    WorldReadable,
    Shared,
    Invited,
    Joined,
}

impl HistoryVisibility {
    /// What holds in a room without the event, or with one that says something unknown.
    pub(crate) const DEFAULT: Self = Self::Shared;

    /// Reads the event's content.
    pub(crate) fn of(content: &[u8]) -> Self {
        match json::text(&json::stored_object(content), "history_visibility") {
            Some("world_readable") => Self::WorldReadable,
            Some("invited") => Self::Invited,
            Some("joined") => Self::Joined,
            _ => Self::DEFAULT,
        }
    }
}

/// What one user may see of one room, at all of its positions: two short histories, read once.
pub(crate) struct Sight {
    memberships: Vec<(Position, Kind)>,
    visibilities: Vec<(Position, HistoryVisibility)>,
}

impl Sight {
    /// Reads the user's memberships and the room's visibilities.
    pub(crate) fn load(
        rows: &dyn Read,
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

    /// What a member that has been in since `joined_since` may see from there on, which is all: no reading needed.
    pub(crate) fn of_member_since(joined_since: Position) -> Self {
        Self { memberships: vec![(joined_since, Kind::Join)], visibilities: Vec::new() }
    }

    /// The user's membership after the event at `at`.
    pub(crate) fn membership_at(&self, at: Position) -> Option<Kind> {
        version_at(&self.memberships, at).map(|(_, kind)| kind)
    }

    /// Was the user ever in the room?
    pub(crate) fn ever_joined(&self) -> bool {
        self.memberships.iter().any(|(_, kind)| *kind == Kind::Join)
    }

    /// Is the room open to anyone's eyes now?
    pub(crate) fn is_world_readable(&self) -> bool {
        self.visibility_at(Position::MAX) == HistoryVisibility::WorldReadable
    }

    /// Is the event at this position visible to the user? What happens to one's own membership always is: one must
    /// learn of a ban. A change of the room's visibility is judged by what was before it and by what is after,
    /// whichever shows more.
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

    /// Did the user join at this position or later?
    fn joined_at_or_after(&self, at: Position) -> bool {
        self.memberships.iter().rev().take_while(|(p, _)| *p >= at).any(|(_, kind)| *kind == Kind::Join)
    }

    /// The stays that reach beyond `after`, oldest first: from the event that began each to the one that ended it,
    /// both included; the last may be open.
    pub(crate) fn stays_after(&self, after: Position) -> Vec<Stay> {
        let mut stays: Vec<Stay> = Vec::new();
        let mut open: Option<Position> = None;
        for (at, kind) in &self.memberships {
            match (open, *kind == Kind::Join) {
                (None, true) => open = Some(*at),
                (Some(from), false) => {
                    stays.push(Stay { from, to: Some(*at) });
                    open = None;
                }
                _ => {}
            }
        }
        stays.extend(open.map(|from| Stay { from, to: None }));
        stays.retain(|stay| stay.to.is_none_or(|to| to > after));
        stays
    }
}

/// An unbroken time in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stay {
    /// The join.
    pub(crate) from: Position,
    /// The leave, kick or ban; `None` while it lasts.
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

    /// Invited at 10, joined at 20, left at 30, joined again at 50.
    fn sight(visibility: HistoryVisibility, again: bool) -> Sight {
        let mut memberships = vec![(at(10), Kind::Invite), (at(20), Kind::Join), (at(30), Kind::Leave)];
        if again {
            memberships.push((at(50), Kind::Join));
        }
        Sight { memberships, visibilities: vec![(at(1), visibility)] }
    }

    fn seen(sight: &Sight) -> Vec<u64> {
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
    fn a_stay_reaches_from_join_to_leave() {
        let stays = |after| sight(HistoryVisibility::Shared, true).stays_after(at(after));
        assert_eq!(stays(29), [Stay { from: at(20), to: Some(at(30)) }, Stay { from: at(50), to: None }]);
        assert_eq!(stays(30), [Stay { from: at(50), to: None }]);
    }
}
