//! Answers in parts: what one answer cannot hold comes with the next.
//!
//! A sync returns rooms in order of their numbers until it has returned enough bytes, and then a token that says so:
//! the client knows all rooms up to the last of these as of the present, and those after it as of the previous token,
//! or not at all. The next answer continues from there, as of the same moment; the last one returns a plain token. For
//! a client, each part is an ordinary sync in which some rooms are new, as if they had just been joined, or have news.

use super::{AccountDatum, LifeMarks, SyncRequest, SyncResponse};
use crate::id::{self, Position, RoomNumber};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::query::{QueryError, RoomEvent, RoomMembership, StateView};

/// Number of bytes after which no further room begins: what a client on a phone receives within seconds, and a pod can
/// hold for some hundred slow ones.
pub const SYNC_BYTES: usize = 4 << 20;

/// Separator between the fields of a token; no cursor contains it, and it need not be escaped in URLs.
const BETWEEN: char = '~';
/// Separator before the marks of a token, under the same conditions.
const BEFORE_MARKS: char = '.';
/// Letter after the number of a rest's room that says that all state of the rest is wanted.
const ALL_STATE: char = 'f';

/// Token from which a client's next sync continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncToken {
    /// Position up to which everything was given, except for the rest.
    pub at: Position,
    /// Rooms that are still to come; `None` if there are none.
    pub rest: Option<SyncRest>,
    /// Position up to which the device has its messages, if the answer contained some; at most `at`. Presenting the
    /// token acknowledges them.
    pub to_device: Option<Position>,
    /// Marks up to which typing and presence were given. A token without marks is valid: all of it is given again.
    pub marks: LifeMarks,
}

/// Rooms for which an answer had no space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncRest {
    /// Room after which the rest begins: all rooms with greater numbers.
    pub after: RoomNumber,
    /// Position as of which the client has these rooms; `None` if it does not have them at all.
    pub since: Option<Position>,
    /// `true` if the client asked for all state of rooms that it has: it gets that for the rest as well.
    pub full_state: bool,
}

impl SyncToken {
    /// Returns the token as clients keep it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = id::encode_cursor(self.at);
        let mut push = |field: &str| {
            out.push(BETWEEN);
            out.push_str(field);
        };
        if let Some(SyncRest { after, since, full_state }) = self.rest {
            let all_state = if full_state { ALL_STATE.to_string() } else { String::new() };
            push(&format!("{after}{all_state}"));
            push(&since.map(id::encode_cursor).unwrap_or_default());
        }
        if let Some(given_to) = self.to_device {
            push(&id::encode_cursor(given_to));
        }
        if !self.marks.is_empty() {
            out.push(BEFORE_MARKS);
            out.push_str(&self.marks.to_text());
        }
        out
    }

    /// Parses a token exactly as it was written, and in no other form. A cursor from another kind of answer is a token
    /// without a rest.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::fields(text).filter(|token| token.to_text() == text)
    }

    fn fields(text: &str) -> Option<Self> {
        let Some((text, marks)) = text.split_once(BEFORE_MARKS) else { return Self::without_marks(text) };
        Some(Self { marks: LifeMarks::parse(marks)?, ..Self::without_marks(text)? })
    }

    fn without_marks(text: &str) -> Option<Self> {
        let mut fields = text.split(BETWEEN);
        let at = id::parse_cursor(fields.next()?)?;
        // The number of fields tells which of them are there.
        let (rest, to_device) = match [fields.next(), fields.next(), fields.next()] {
            [None, ..] => (None, None),
            [Some(to_device), None, _] => (None, Some(to_device)),
            [Some(after), Some(since), to_device] => (Some(Self::parse_rest(after, since)?), to_device),
        };
        let to_device = match to_device {
            Some(to_device) => Some(id::parse_cursor(to_device).filter(|given_to| *given_to <= at)?),
            None => None,
        };
        fields.next().is_none().then_some(Self { at, rest, to_device, marks: LifeMarks::default() })
    }

    fn parse_rest(after: &str, since: &str) -> Option<SyncRest> {
        let full_state = after.ends_with(ALL_STATE);
        let after = RoomNumber(after.strip_suffix(ALL_STATE).unwrap_or(after).parse().ok()?);
        let since = match since {
            // A room that the client does not have comes with all of its state in any case.
            "" if full_state => return None,
            "" => None,
            since => Some(id::parse_cursor(since)?),
        };
        Some(SyncRest { after, since, full_state })
    }
}

impl<'a> StateView<'a> {
    /// Returns the changes for a user since a token, as far as one answer holds them. The answer says what is left
    /// over.
    ///
    /// # Errors
    /// Fails as [`StateView::sync`] does.
    pub fn sync_part(
        &self,
        request: &SyncRequest<'_>,
        rest: Option<SyncRest>,
        most_bytes: usize,
    ) -> Result<SyncResponse, QueryError> {
        let since = request.since.map(|since| self.reached(since)).transpose()?;
        let (Some(at), Some(rest)) = (since, rest) else {
            return self.rooms_in_order(&SyncRequest { since, ..*request }, None, most_bytes);
        };
        // Events since the first part are left to the sync after the last part.
        let then = self.as_of(at);
        let since = rest.since.map(|since| then.reached(since)).transpose()?;
        let full_state = request.full_state || rest.full_state;
        then.rooms_in_order(&SyncRequest { since, full_state, ..*request }, Some(rest.after), most_bytes)
    }

    fn rooms_in_order(
        &self,
        request: &SyncRequest<'_>,
        after: Option<RoomNumber>,
        most_bytes: usize,
    ) -> Result<SyncResponse, QueryError> {
        let mut account_data = self.changed_account_data(request.localpart, request.since)?;
        let mut out = SyncResponse { next: self.now(), ..SyncResponse::default() };
        // Global account data came with the first part.
        out.account_data = account_data.remove(&RoomNumber(0)).filter(|_| after.is_none()).unwrap_or_default();
        out.account_data.retain(|datum| request.filter.wants_account_data(&datum.event_type, ""));
        let rooms = self.changed_rooms(request, &account_data)?;
        if after.is_none() {
            // With the first part as well: it leads to the present, whichever rooms are still to come.
            out.device_lists = self.device_lists(request.localpart, request.since, &rooms)?;
        }
        let mut bytes = weight_of_data(&out.account_data) + out.device_lists.weight();
        for row in rooms {
            self.is_wanted()?;
            if after.is_some_and(|after| row.room <= after) {
                continue;
            }
            let is_out = row.kind != Kind::Join;
            let Some(row) = self.as_it_was(request.localpart, row)? else { continue };
            let room_data = account_data.remove(&row.room).unwrap_or_default();
            if !super::room::may_have_news(self, request, &row, &room_data)? {
                continue;
            }
            if bytes >= most_bytes {
                let given =
                    [last_room(&out.join, |room| room.room), last_room(&out.leave, |room| room.room)].into_iter();
                let given =
                    given.chain([last_room(&out.invite, |room| room.room), last_room(&out.knock, |room| room.room)]);
                let after = given.chain(after).max().unwrap_or(RoomNumber(0));
                let full_state = request.full_state && request.since.is_some();
                out.rest = Some(SyncRest { after, since: request.since, full_state });
                return Ok(out);
            }
            let before = out.counts();
            self.sync_room(request, &row, room_data, &mut out)?;
            if is_out && let Some(left) = out.join.last_mut().filter(|room| room.room == row.room) {
                // It would describe those who are in the room at present, as the user is not.
                left.summary = None;
            }
            bytes += out.weight_since(before);
        }
        Ok(out)
    }

    /// Returns a view of the same state that leaves what happened after a position to later syncs. The rows of memberships
    /// are the current ones.
    fn as_of(&self, at: Position) -> StateView<'a> {
        let cluster = store::Cluster { incarnation: at.incarnation, index: at.index, ..self.cluster.clone() };
        StateView { rows: self.rows, cluster, stop: self.stop }
    }

    /// Returns a membership as it was at this view's moment; `None` if there was none. What has become of it since is told
    /// by the sync that continues from there, which takes the room for known as it was: so it is told as it was now.
    fn as_it_was(&self, localpart: &str, row: RoomMembership) -> Result<Option<RoomMembership>, QueryError> {
        let now = self.now();
        // A stay goes on, whatever name its member has taken since.
        let is_same_stay = row.kind == Kind::Join && row.joined_since.is_some_and(|from| from <= now);
        if row.position <= now || is_same_stay {
            return Ok(Some(row));
        }
        let was = self.sight_in_lists(row.room, localpart)?.membership_event_at(now);
        Ok(was.map(|(position, kind)| RoomMembership { kind, position, joined_since: None, ..row }))
    }
}

fn last_room<T>(rooms: &[T], number: impl Fn(&T) -> RoomNumber) -> RoomNumber {
    rooms.last().map_or(RoomNumber(0), number)
}

impl SyncResponse {
    fn counts(&self) -> [usize; 4] {
        [self.join.len(), self.invite.len(), self.knock.len(), self.leave.len()]
    }

    fn weight_since(&self, [join, invite, knock, leave]: [usize; 4]) -> usize {
        let joined = self.join.iter().skip(join).map(|room| {
            let ephemeral: usize = room.ephemeral.iter().map(|event| event.content.len()).sum();
            weight_of(&room.state) + weight_of(&room.timeline.events) + weight_of_data(&room.account_data) + ephemeral
        });
        let invited = self.invite.iter().skip(invite).chain(self.knock.iter().skip(knock));
        let left = self.leave.iter().skip(leave);
        let left = left
            .map(|room| weight_of(&room.state) + weight_of(&room.timeline.events) + weight_of_data(&room.account_data));
        joined.chain(invited.map(|room| weight_of(&room.stripped_state))).chain(left).sum()
    }
}

fn weight_of(events: &[RoomEvent]) -> usize {
    events.iter().map(RoomEvent::weight).sum()
}

fn weight_of_data(data: &[AccountDatum]) -> usize {
    data.iter().map(|datum| datum.event_type.len() + datum.content.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::set_membership::Change;
    use crate::query::SyncFilter;
    use crate::query::sync::{JoinedRoom, SyncTimeline};
    use crate::testing::{World, world};

    #[test]
    fn a_token_reads_as_it_was_written_and_nothing_else_does() {
        let at = Position { incarnation: 1, index: 70, ordinal: 3 };
        for rest in [
            None,
            Some(SyncRest { after: RoomNumber(9), since: None, full_state: false }),
            Some(SyncRest { after: RoomNumber(0), since: Some(at), full_state: false }),
            Some(SyncRest { after: RoomNumber(9), since: Some(at), full_state: true }),
        ] {
            for to_device in [None, Some(at), Some(Position::ZERO)] {
                for marks in [LifeMarks::default(), LifeMarks::of([(5, 70_000), (1 << 30, 0)])] {
                    let token = SyncToken { at, rest, to_device, marks };
                    assert_eq!(SyncToken::parse(&token.to_text()), Some(token));
                }
            }
        }
        let marks = LifeMarks::default();
        let ahead = SyncToken { at, rest: None, to_device: Some(Position { index: 71, ..at }), marks };
        assert_eq!(SyncToken::parse(&ahead.to_text()), None, "messages from after the token");
        let at = id::encode_cursor(at);
        let no_marks = [format!("{at}."), format!("{at}.AAAA"), format!("{at}.~1~")];
        assert!(no_marks.iter().all(|bad| SyncToken::parse(bad).is_none()));
        for bad in [
            "",
            "~1~",
            &format!("{at}~1"),
            &format!("{at}~x~"),
            &format!("{at}~1~x"),
            &format!("{at}~1~~"),
            &format!("{at}~1f~"),
            &format!("{at}~1ff~{at}"),
            &format!("{at}~f1~{at}"),
            &format!("{at}~"),
        ] {
            assert_eq!(SyncToken::parse(bad), None, "{bad}");
        }
    }

    /// Syncs one room at a time until there is no rest, with something happening in between.
    fn in_parts(
        world: &mut World,
        since: Option<Position>,
        between: impl FnMut(&mut World, usize),
    ) -> (Vec<SyncResponse>, Position) {
        in_parts_from(world, SyncRequest { since, ..request(&SyncFilter::default()) }, between)
    }

    fn request(filter: &SyncFilter) -> SyncRequest<'_> {
        SyncRequest { localpart: "alice", since: None, full_state: false, filter }
    }

    /// Syncs like a client that asks for all state once, and then goes on with the tokens that it gets.
    fn in_parts_from(
        world: &mut World,
        mut request: SyncRequest<'_>,
        mut between: impl FnMut(&mut World, usize),
    ) -> (Vec<SyncResponse>, Position) {
        let mut rest = None;
        let mut parts = Vec::new();
        loop {
            let part = world.view().sync_part(&request, rest, 1).unwrap();
            let next = part.next;
            rest = part.rest;
            request = SyncRequest { since: Some(next), full_state: false, ..request };
            parts.push(part);
            if rest.is_none() {
                return (parts, next);
            }
            between(world, parts.len());
        }
    }

    fn states_and_timelines(rooms: &[JoinedRoom]) -> Vec<(RoomNumber, Vec<RoomEvent>, SyncTimeline)> {
        rooms.iter().map(|room| (room.room, room.state.clone(), room.timeline.clone())).collect()
    }

    #[test]
    fn a_first_sync_in_parts_gives_every_room_once_as_it_was_at_its_beginning() {
        let mut world = world(&["alice", "bob"]);
        let rooms: Vec<_> = (0..4).map(|_| world.public_room("alice")).collect();
        let whole = world.view().sync(&request(&SyncFilter::default()));
        let (parts, next) = in_parts(&mut world, None, |world, _| {
            for (_, room) in &rooms {
                world.say("alice", room, "meanwhile");
            }
        });
        assert_eq!(parts.len(), 4);
        let whole = whole.unwrap();
        let given: Vec<_> = parts.iter().flat_map(|part| part.join.clone()).collect();
        assert_eq!(states_and_timelines(&given), states_and_timelines(&whole.join));
        assert_eq!(next, whole.next);
        // Events that happened in the meantime come with the sync after the parts, once.
        let (after, _) = in_parts(&mut world, Some(next), |_, _| ());
        let said: Vec<_> = after.iter().flat_map(|part| &part.join).map(|room| room.timeline.events.len()).collect();
        assert_eq!(said, [3, 3, 3, 3]);
    }

    #[test]
    fn a_room_that_was_left_and_joined_again_meanwhile_is_given_as_it_was_before() {
        let mut world = world(&["alice", "bob"]);
        let rooms: Vec<_> = (0..3).map(|_| world.public_room("bob")).collect();
        for (_, room) in &rooms {
            world.moved("alice", room, Change::Join, "");
        }
        let (parts, next) = in_parts(&mut world, None, |world, part| {
            if part == 1 {
                world.moved("alice", &rooms[1].1, Change::Leave, "");
                world.moved("alice", &rooms[1].1, Change::Join, "");
            }
        });
        let given: Vec<_> = parts.iter().flat_map(|part| &part.join).map(|room| room.room).collect();
        assert_eq!(given, [rooms[0].0, rooms[1].0, rooms[2].0]);
        let (after, _) = in_parts(&mut world, Some(next), |_, _| ());
        let news: Vec<_> = after.iter().flat_map(|part| &part.join).collect();
        assert_eq!(news.len(), 1);
        assert_eq!((news[0].room, news[0].timeline.events.len()), (rooms[1].0, 2), "the leave and the join");
    }

    #[test]
    fn news_in_parts_reach_a_room_that_was_left_or_joined_meanwhile() {
        let mut world = world(&["alice", "bob"]);
        let rooms: Vec<_> = (0..3).map(|_| world.public_room("alice")).collect();
        let (_, later) = world.public_room("bob");
        let (_, since) = in_parts(&mut world, None, |_, _| ());
        for (_, room) in &rooms {
            world.say("alice", room, "news");
        }
        let (parts, next) = in_parts(&mut world, Some(since), |world, part| {
            if part == 1 {
                world.moved("alice", &rooms[1].1, Change::Leave, "");
                world.moved("alice", &later, Change::Join, "");
            }
        });
        let given: Vec<_> = parts.iter().flat_map(|part| &part.join).collect();
        let said: Vec<_> = given.iter().map(|room| (room.room, room.timeline.events.len())).collect();
        assert_eq!(said, [(rooms[0].0, 1), (rooms[1].0, 1), (rooms[2].0, 1)]);
        let (after, _) = in_parts(&mut world, Some(next), |_, _| ());
        let left: Vec<_> = after.iter().flat_map(|part| &part.leave).map(|room| room.room).collect();
        let joined: Vec<_> = after.iter().flat_map(|part| &part.join).map(|room| room.room_id.clone()).collect();
        assert_eq!((left, joined), (vec![rooms[1].0], vec![later]));
    }

    #[test]
    fn a_room_that_was_left_meanwhile_is_given_as_it_was_and_then_left() {
        let mut world = world(&["alice", "bob"]);
        let rooms: Vec<_> = (0..3).map(|_| world.public_room("bob")).collect();
        for (_, room) in &rooms {
            world.moved("alice", room, Change::Join, "");
        }
        let whole = world.view().sync(&request(&SyncFilter::default())).unwrap();
        let (parts, next) = in_parts(&mut world, None, |world, part| {
            if part == 1 {
                world.set("bob", &rooms[1].1, "m.room.topic", r#"{"topic":"before"}"#);
                world.moved("alice", &rooms[1].1, Change::Leave, "");
                world.set("bob", &rooms[1].1, "m.room.topic", r#"{"topic":"not for alice"}"#);
            }
        });
        let given: Vec<_> = parts.iter().flat_map(|part| part.join.clone()).collect();
        assert_eq!(states_and_timelines(&given), states_and_timelines(&whole.join));
        assert_eq!(given.iter().map(|room| room.summary.is_some()).collect::<Vec<_>>(), [true, false, true]);
        let after = world.view().sync(&SyncRequest { since: Some(next), ..request(&SyncFilter::default()) }).unwrap();
        let [left] = after.leave.as_slice() else { panic!("{after:?}") };
        assert_eq!((left.room, left.timeline.events.len(), left.state.len()), (rooms[1].0, 2, 0), "topic and leave");
        assert!(after.join.is_empty() && !left.timeline.limited);
    }

    #[test]
    fn a_leave_and_what_became_of_it_meanwhile_are_told_one_after_the_other() {
        let mut world = world(&["alice", "bob"]);
        let rooms: Vec<_> = (0..3).map(|_| world.public_room("bob")).collect();
        for (_, room) in &rooms {
            world.moved("alice", room, Change::Join, "");
        }
        let since = world.view().now();
        world.say("bob", &rooms[0].1, "news");
        for (_, room) in &rooms[1..] {
            world.say("bob", room, "the last that alice sees");
            world.moved("alice", room, Change::Leave, "");
        }
        let (parts, next) = in_parts(&mut world, Some(since), |world, part| {
            if part == 1 {
                world.moved("bob", &rooms[1].1, Change::Ban, "alice");
                world.moved("alice", &rooms[2].1, Change::Join, "");
            }
        });
        let left: Vec<_> = parts.iter().flat_map(|part| &part.leave).collect();
        let said: Vec<_> = left.iter().map(|room| (room.room, room.timeline.events.len())).collect();
        assert_eq!(said, [(rooms[1].0, 2), (rooms[2].0, 2)]);
        let after = world.view().sync(&SyncRequest { since: Some(next), ..request(&SyncFilter::default()) }).unwrap();
        let banned: Vec<_> = after.leave.iter().map(|room| (room.room, room.timeline.events.len())).collect();
        assert_eq!(banned, [(rooms[1].0, 1)]);
        let joined: Vec<_> = after.join.iter().map(|room| (room.room, room.timeline.limited)).collect();
        assert_eq!(joined, [(rooms[2].0, true)], "as a room that is new");
    }

    #[test]
    fn all_state_in_parts_comes_with_new_events_alone() {
        let mut world = world(&["alice"]);
        let rooms: Vec<_> = (0..3).map(|_| world.public_room("alice")).collect();
        let since = Some(world.view().now());
        for (_, room) in &rooms {
            world.say("alice", room, "news");
        }
        let filter = SyncFilter::default();
        let asked = SyncRequest { since, full_state: true, ..request(&filter) };
        let whole = world.view().sync(&asked).unwrap();
        let (parts, next) = in_parts_from(&mut world, asked, |_, _| ());
        assert_eq!((parts.len(), next), (3, whole.next));
        let given: Vec<_> = parts.iter().flat_map(|part| part.join.clone()).collect();
        assert_eq!(states_and_timelines(&given), states_and_timelines(&whole.join));
        for room in &given {
            assert!(room.state.len() >= 6 && room.timeline.events.len() == 1 && !room.timeline.limited, "{room:?}");
        }
    }
}
