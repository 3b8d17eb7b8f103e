//! A reader of the timeline: it holds a cursor, reads rows of this pod's store, waits for a hint, reads again.
//! A slow reader costs a later read and loses nothing; one that keeps up finds what is new in memory (`feed::tail`).

use crate::feed::tail::Tail;
use crate::feed::{Interest, Topics};
use crate::service::{Consistency, Refusal, Service, Session, Standing};
use crate::trace::Live;
use quorate_core::id::{Position, RoomNumber};
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::{Event, QueryError, Scope, View};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Events of one read. More would hold a view open for long, fewer would not fill a frame under load.
const PAGE: usize = 512;
/// Longest silence: the reader learns a newer cursor.
const IDLE: Duration = Duration::from_secs(10);

/// A reader, waiting and reading.
pub struct Subscription {
    service: Service,
    standing: Standing,
    place: Place,
    interest: Interest,
}

/// Where one reader stands, and how it goes on: a [`Subscription`] without its waiting.
#[derive(Clone, Debug)]
pub struct Place {
    localpart: String,
    user_id: String,
    /// One room, or all that the reader is joined to, now and later.
    room: Option<RoomNumber>,
    after: Position,
    /// Read again before waiting: the last page was full, or nothing was read yet.
    more: bool,
    /// The reader's rooms may have changed since they were last read.
    rooms_changed: bool,
    /// The last read of rows found the reader in its rooms: until a change of its membership comes by, it sees all that
    /// happens there.
    is_in: bool,
}

/// What a reader gets in one step.
#[derive(Debug)]
pub struct Step {
    /// In order; empty when nothing happened for a while.
    pub events: Vec<Event>,
    /// Everything up to here has been given.
    pub after: Position,
    /// When the oldest of the events was applied on this pod; `None` without events, and for history.
    pub applied: Option<Instant>,
}

impl Subscription {
    /// Begins after `cursor`, or with what comes from now on.
    ///
    /// # Errors
    /// [`Code::NotMember`](crate::service::Code::NotMember) and the like for a room that the reader is not joined to,
    /// [`Code::Unavailable`](crate::service::Code::Unavailable) when this pod does not reach the cursor in time.
    pub async fn open(
        service: &Service,
        session: &Session,
        room_id: &str,
        cursor: Option<Position>,
    ) -> Result<Self, Refusal> {
        let service = service.for_reader(session);
        // Before the first read, so that nothing falls between the two.
        let topics = Topics { rooms: BTreeSet::new(), users: BTreeSet::from([session.localpart.clone()]) };
        let mut interest = service.feed().subscribe(topics);
        let (room_id, localpart) = (room_id.to_owned(), session.localpart.clone());
        let look = move |view: &View<'_>| begin(view, &room_id, &localpart, cursor);
        let (room, after) = match cursor {
            Some(at) => service.read_from(at, look).await?,
            None => service.read(Consistency::Linearizable, look).await?.0,
        };
        if let Some(room) = room {
            interest.set_rooms(BTreeSet::from([room]));
        }
        let place = Place::new(session.localpart.clone(), session.user_id.clone(), room, after);
        let standing = Standing::new(&service, session);
        Ok(Self { service, standing, place, interest })
    }

    /// Where it stands.
    #[must_use]
    pub fn after(&self) -> Position {
        self.place.after
    }

    /// Spans of the sampled ones among events that come after a place; they end when they are dropped.
    pub(crate) fn traced(&self, after: Position, events: &[Event]) -> Vec<Live> {
        self.service.feed().deliveries().of(after, events.iter().map(|event| event.position), "grpc")
    }

    /// What comes next; waits for it, but not for ever. Safe to drop while it waits.
    ///
    /// # Errors
    /// When the session has ended, or the reader is no longer in the room.
    pub async fn next(&mut self) -> Result<Step, Refusal> {
        loop {
            let quiet = !self.place.more && !self.woken().await?;
            self.place.rooms_changed |= quiet;
            let step = self.read().await?;
            self.standing.check()?;
            if quiet || !step.events.is_empty() {
                return Ok(step);
            }
        }
    }

    /// Refuses once the session has ended; to be asked again for what was read before.
    ///
    /// # Errors
    /// As [`Service::still_valid`].
    pub fn check(&mut self) -> Result<(), Refusal> {
        self.standing.check()
    }

    /// Waits until there may be something new; `false` when all was quiet for long.
    async fn woken(&mut self) -> Result<bool, Refusal> {
        tokio::select! {
            refusal = self.standing.ended() => Err(refusal),
            () = self.interest.changed() => Ok(true),
            () = tokio::time::sleep(IDLE) => Ok(false),
        }
    }

    async fn read(&mut self) -> Result<Step, Refusal> {
        if let Some(step) = self.place.from_tail(self.service.feed().tail(), &self.interest.topics().rooms) {
            return Ok(step);
        }
        let place = self.place.clone();
        let page = self.service.read_woken(move |view: &View<'_>| place.page(view)).await?;
        // Rows are there a moment before the mark is.
        self.standing.look_up()?;
        let (mut step, rooms) = self.place.take(page);
        let oldest = step.events.first().map(|event| event.position);
        step.applied = oldest.and_then(|position| self.service.feed().applied_at(position));
        if let Some(rooms) = rooms {
            // New ones count as changed: the next wait ends at once, and reads them.
            self.interest.set_rooms(rooms);
        }
        Ok(step)
    }
}

impl Place {
    /// After a cursor; `room`: that one, not all that the reader is joined to.
    #[must_use]
    pub fn new(localpart: String, user_id: String, room: Option<RoomNumber>, after: Position) -> Self {
        Self { localpart, user_id, room, after, more: true, rooms_changed: true, is_in: false }
    }

    /// There is more already: read again before waiting.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more
    }

    /// What is new in these rooms, if memory can tell; else ask the rows.
    pub fn from_tail(&mut self, tail: &Tail, rooms: &BTreeSet<RoomNumber>) -> Option<Step> {
        if !self.is_in || self.rooms_changed {
            return None;
        }
        let page = tail.after(self.after, &self.localpart, rooms, PAGE)?;
        self.after = page.next;
        self.more = page.more;
        Some(Step { events: page.events, after: page.next, applied: page.applied })
    }

    /// What is new by the rows.
    ///
    /// # Errors
    /// As [`View::events_after`].
    pub fn page(&self, view: &View<'_>) -> Result<Page, QueryError> {
        let scope = self.room.map_or(Scope::Joined, Scope::Room);
        let feed = view.events_after(&self.localpart, scope, self.after, PAGE)?;
        let rooms = match self.room {
            None if self.rooms_changed => Some(joined_rooms(view, &self.localpart)?),
            _ => None,
        };
        let is_in = match self.room {
            Some(room) => view.membership_in(&self.localpart, room)?.kind == Kind::Join,
            None => true,
        };
        Ok(Page { events: feed.events, next: feed.next, more: feed.more, rooms, is_in })
    }

    /// Moves on by a page; with the rooms to be woken by, when they were read.
    pub fn take(&mut self, page: Page) -> (Step, Option<BTreeSet<RoomNumber>>) {
        self.after = page.next;
        self.rooms_changed = page.events.iter().any(|event| self.concerns(event));
        // Once more after a change of the reader's own membership: a left room says so only then.
        self.more = page.more || self.rooms_changed;
        // Up to the cursor and no further: a page that ends early may have left a change of membership behind it.
        self.is_in = page.is_in && !page.more;
        (Step { events: page.events, after: page.next, applied: None }, page.rooms)
    }

    /// A change of the reader's own membership.
    fn concerns(&self, event: &Event) -> bool {
        event.event_type == "m.room.member" && event.state_key.as_deref() == Some(self.user_id.as_str())
    }
}

fn begin(
    view: &View<'_>,
    room_id: &str,
    localpart: &str,
    cursor: Option<Position>,
) -> Result<(Option<RoomNumber>, Position), QueryError> {
    let after = cursor.map_or_else(|| view.now(), |at| view.clamp(at));
    if room_id.is_empty() {
        return Ok((None, after));
    }
    let room = view.resolve_room(room_id)?;
    // Refuses who is not in the room, unless there is something left to read from before the leave.
    view.events_after(localpart, Scope::Room(room), after, 1)?;
    Ok((Some(room), after))
}

/// A read of rows.
#[derive(Debug)]
pub struct Page {
    events: Vec<Event>,
    next: Position,
    more: bool,
    /// The rooms to be woken by, when all are followed and they may have changed.
    rooms: Option<BTreeSet<RoomNumber>>,
    /// Is the reader in the room, if it follows one?
    is_in: bool,
}

fn joined_rooms(view: &View<'_>, localpart: &str) -> Result<BTreeSet<RoomNumber>, QueryError> {
    let all = view.rooms_of(localpart)?;
    Ok(all.into_iter().filter(|room| room.kind == Kind::Join).map(|room| room.room).collect())
}
