//! A reader of the timeline, which holds a cursor, reads rows of this pod's store, waits for a hint, and reads again. A
//! slow reader costs a later read and loses nothing; one that keeps up finds what is new in memory (`feed::tail`).

use super::{CallerSession, ChatService, ReadConsistency, RequestRefusal, SessionWatch};
use crate::feed::tail::EventTail;
use crate::feed::{FeedSubscription, FeedTopics};
use crate::trace::LiveSpan;
use quorate_core::id::{Position, RoomNumber};
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::{FeedScope, QueryError, RoomEvent, StateView};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Maximum number of events in one read. More would hold a view open for long, fewer would not fill a frame under load.
const PAGE: usize = 512;
/// Longest silence, after which the reader learns a newer cursor.
const IDLE: Duration = Duration::from_secs(10);

/// A reader that waits for events and reads them.
pub struct EventSubscription {
    service: ChatService,
    standing: SessionWatch,
    place: ReaderState,
    interest: FeedSubscription,
}

/// State of one reader, and how it goes on: a [`EventSubscription`] without its waiting.
#[derive(Clone, Debug)]
pub struct ReaderState {
    localpart: String,
    user_id: String,
    /// Room that is followed; `None` means all rooms that the reader is joined to, now and later.
    room: Option<RoomNumber>,
    after: Position,
    /// `true` to read again before waiting: the last page was full, or nothing was read yet.
    more: bool,
    /// `true` if the reader's rooms may have changed since they were last read.
    rooms_changed: bool,
    /// `true` if the last read of rows found the reader in its rooms: until a change of its membership comes by, it
    /// sees all that happens there.
    is_in: bool,
}

/// Result of one step of a reader.
#[derive(Debug)]
pub struct ReaderStep {
    /// Events in timeline order; empty if nothing happened for a while.
    pub events: Vec<RoomEvent>,
    /// Position up to which everything has been given.
    pub after: Position,
    /// Time at which the oldest of the events was applied on this pod; `None` without events, and for history.
    pub applied: Option<Instant>,
}

impl EventSubscription {
    /// Opens a subscription to the events after `cursor`, or to those from now on.
    ///
    /// # Errors
    /// [`RefusalCode::NotMember`](crate::service::RefusalCode::NotMember) and the like for a room that the reader is not
    /// joined to, [`RefusalCode::Unavailable`](crate::service::RefusalCode::Unavailable) when this pod does not reach the
    /// cursor in time.
    pub async fn open(
        service: &ChatService,
        session: &CallerSession,
        room_id: &str,
        cursor: Option<Position>,
    ) -> Result<Self, RequestRefusal> {
        let service = service.for_reader(session);
        // Subscribed before the first read, so that nothing falls between the two.
        let topics = FeedTopics { rooms: BTreeSet::new(), users: BTreeSet::from([session.localpart.clone()]) };
        let mut interest = service.feed().subscribe(topics);
        let room_id = room_id.to_owned();
        let localpart = session.localpart.clone();
        let look = move |view: &StateView<'_>| starting_point(view, &room_id, &localpart, cursor);
        // A cursor must be reached, however old; "from now on" must come after every write that was acknowledged.
        let (room, after) = match cursor {
            Some(at) => service.read_from(at, look).await?,
            None => service.read(ReadConsistency::Linearizable, look).await?.0,
        };
        if let Some(room) = room {
            interest.set_rooms(BTreeSet::from([room]));
        }
        let place = ReaderState::new(session.localpart.clone(), session.user_id.clone(), room, after);
        let standing = SessionWatch::new(&service, session);
        Ok(Self { service, standing, place, interest })
    }

    /// Returns the position up to which everything has been given.
    #[must_use]
    pub fn after(&self) -> Position {
        self.place.after
    }

    /// Begins spans for the sampled events among those after a position; the spans end when they are dropped.
    pub(crate) fn traced(&self, after: Position, events: &[RoomEvent]) -> Vec<LiveSpan> {
        self.service.feed().deliveries().of(after, events.iter().map(|event| event.position), "grpc")
    }

    /// Returns the next events; waits for them, but not for ever. Safe to drop while it waits.
    ///
    /// # Errors
    /// If the session has ended, or the reader is no longer in the room.
    pub async fn next(&mut self) -> Result<ReaderStep, RequestRefusal> {
        loop {
            let quiet = !self.place.more && !self.woken().await?;
            self.place.rooms_changed |= quiet;
            let step = self.read().await?;
            // After the read: nothing that was applied after a logout is given to its session.
            self.standing.check()?;
            if quiet || !step.events.is_empty() {
                return Ok(step);
            }
        }
    }

    /// Refuses once the session has ended. Call it again for events that were read before.
    pub fn check(&mut self) -> Result<(), RequestRefusal> {
        self.standing.check()
    }

    /// Waits until there may be something new; `false` if nothing happened for [`IDLE`].
    async fn woken(&mut self) -> Result<bool, RequestRefusal> {
        tokio::select! {
            refusal = self.standing.ended() => Err(refusal),
            () = self.interest.changed() => Ok(true),
            () = tokio::time::sleep(IDLE) => Ok(false),
        }
    }

    async fn read(&mut self) -> Result<ReaderStep, RequestRefusal> {
        if let Some(step) = self.place.from_tail(self.service.feed().tail(), &self.interest.topics().rooms) {
            return Ok(step);
        }
        let place = self.place.clone();
        let page = self.service.read_woken(move |view: &StateView<'_>| place.page(view)).await?;
        // Rows are visible a moment before the mark is set.
        self.standing.look_up()?;
        let (mut step, rooms) = self.place.take(page);
        let oldest = step.events.first().map(|event| event.position);
        step.applied = oldest.and_then(|position| self.service.feed().applied_at(position));
        if let Some(rooms) = rooms {
            // New rooms count as changed: the next wait ends at once, and reads them.
            self.interest.set_rooms(rooms);
        }
        Ok(step)
    }
}

impl ReaderState {
    /// Creates the state of a reader after a cursor, who follows one room, or all that it is joined to if `room` is
    /// `None`.
    #[must_use]
    pub fn new(localpart: String, user_id: String, room: Option<RoomNumber>, after: Position) -> Self {
        Self { localpart, user_id, room, after, more: true, rooms_changed: true, is_in: false }
    }

    /// Returns `true` if there is more already: read again before waiting.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more
    }

    /// Reads what is new in these rooms from memory; `None` if memory cannot tell, and the rows have to be read.
    pub fn from_tail(&mut self, tail: &EventTail, rooms: &BTreeSet<RoomNumber>) -> Option<ReaderStep> {
        if !self.is_in || self.rooms_changed {
            return None;
        }
        let page = tail.after(self.after, &self.localpart, rooms, PAGE)?;
        self.after = page.next;
        self.more = page.more;
        Some(ReaderStep { events: page.events, after: page.next, applied: page.applied })
    }

    /// Reads what is new from the rows.
    pub fn page(&self, view: &StateView<'_>) -> Result<ReaderPage, QueryError> {
        let scope = self.room.map_or(FeedScope::Joined, FeedScope::Room);
        let feed = view.events_after(&self.localpart, scope, self.after, PAGE)?;
        let rooms = match self.room {
            None if self.rooms_changed => Some(joined_rooms(view, &self.localpart)?),
            _ => None,
        };
        let is_in = match self.room {
            Some(room) => view.membership_in(&self.localpart, room)?.kind == Kind::Join,
            None => true,
        };
        Ok(ReaderPage { events: feed.events, next: feed.next, more: feed.more, rooms, is_in })
    }

    /// Moves on by a page. Also returns the rooms to be woken by, if they were read.
    pub fn take(&mut self, page: ReaderPage) -> (ReaderStep, Option<BTreeSet<RoomNumber>>) {
        self.after = page.next;
        self.rooms_changed = page.events.iter().any(|event| self.concerns(event));
        // Read once more after a change of the reader's own membership: only then does a room that was left say so.
        self.more = page.more || self.rooms_changed;
        // Up to the cursor and no further: after a page that ends early there may be a change of membership.
        self.is_in = page.is_in && !page.more;
        (ReaderStep { events: page.events, after: page.next, applied: None }, page.rooms)
    }

    /// Returns `true` if the event changes the reader's own membership.
    fn concerns(&self, event: &RoomEvent) -> bool {
        event.event_type == "m.room.member" && event.state_key.as_deref() == Some(self.user_id.as_str())
    }
}

fn starting_point(
    view: &StateView<'_>,
    room_id: &str,
    localpart: &str,
    cursor: Option<Position>,
) -> Result<(Option<RoomNumber>, Position), QueryError> {
    let after = cursor.map_or_else(|| view.now(), |at| view.clamp(at));
    if room_id.is_empty() {
        return Ok((None, after));
    }
    let room = view.resolve_room(room_id)?;
    // Refuses a reader who is not in the room, unless there is something left to read from before the leave.
    view.events_after(localpart, FeedScope::Room(room), after, 1)?;
    Ok((Some(room), after))
}

/// Result of a read of rows.
#[derive(Debug)]
pub struct ReaderPage {
    events: Vec<RoomEvent>,
    next: Position,
    more: bool,
    /// Rooms to be woken by, if all rooms are followed and they may have changed.
    rooms: Option<BTreeSet<RoomNumber>>,
    /// `true` if the reader is in the room that it follows, or follows all of its rooms.
    is_in: bool,
}

fn joined_rooms(view: &StateView<'_>, localpart: &str) -> Result<BTreeSet<RoomNumber>, QueryError> {
    let all = view.rooms_of(localpart)?;
    Ok(all.into_iter().filter(|room| room.kind == Kind::Join).map(|room| room.room).collect())
}
