//! A reader of the timeline: it holds a cursor, reads rows of this pod's store, waits for a hint, reads again.
//! A slow reader costs a later read and loses nothing.

use crate::feed::{Interest, Topics};
use crate::service::{Consistency, Refusal, Service, Session};
use quorate_core::id::{Position, RoomNumber};
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::{Event, QueryError, Scope, View};
use std::collections::BTreeSet;
use std::time::Duration;

/// Events of one read. More would hold a view open for long, fewer would not fill a frame under load.
const PAGE: usize = 512;
/// Longest silence: the reader learns a newer cursor, and this end learns that it is still there.
const IDLE: Duration = Duration::from_secs(10);

/// Where one reader stands.
pub struct Subscription {
    service: Service,
    session: Session,
    /// One room, or all that the reader is joined to, now and later.
    room: Option<RoomNumber>,
    after: Position,
    interest: Interest,
    /// Read again before waiting: the last page was full, or nothing was read yet.
    more: bool,
    /// The reader's rooms may have changed since `interest` was told of them.
    rooms_changed: bool,
}

/// What a reader gets in one step.
#[derive(Debug)]
pub struct Step {
    /// In order; empty when nothing happened for a while.
    pub events: Vec<Event>,
    /// Everything up to here has been given.
    pub after: Position,
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
        let (service, session) = (service.clone(), session.clone());
        Ok(Self { service, session, room, after, interest, more: true, rooms_changed: true })
    }

    /// Where it stands.
    #[must_use]
    pub fn after(&self) -> Position {
        self.after
    }

    /// What comes next; waits for it, but not for ever. Safe to drop while it waits.
    ///
    /// # Errors
    /// When the session has ended, or the reader is no longer in the room.
    pub async fn next(&mut self) -> Result<Step, Refusal> {
        loop {
            let quiet = !self.more && tokio::time::timeout(IDLE, self.interest.changed()).await.is_err();
            if quiet {
                self.service.still_valid(&self.session)?;
                self.rooms_changed = true;
            }
            let step = self.read().await?;
            if quiet || !step.events.is_empty() {
                return Ok(step);
            }
        }
    }

    async fn read(&mut self) -> Result<Step, Refusal> {
        let (room, after, localpart) = (self.room, self.after, self.session.localpart.clone());
        let rooms_changed = self.rooms_changed;
        let question = move |view: &View<'_>| page(view, room, after, &localpart, rooms_changed);
        let page = self.service.read(Consistency::Local, question).await?.0;
        if let Some(rooms) = page.rooms {
            // New ones count as changed: the next wait ends at once, and reads them.
            self.interest.set_rooms(rooms);
        }
        self.after = page.next;
        self.rooms_changed = page.events.iter().any(|event| concerns(event, &self.session));
        // Once more after a change of the reader's own membership: a left room says so only then.
        self.more = page.more || self.rooms_changed;
        Ok(Step { events: page.events, after: page.next })
    }
}

/// A change of the reader's own membership.
fn concerns(event: &Event, reader: &Session) -> bool {
    event.event_type == "m.room.member" && event.state_key.as_deref() == Some(reader.user_id.as_str())
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

struct Page {
    events: Vec<Event>,
    next: Position,
    more: bool,
    /// The rooms to be woken by, when all are followed and they may have changed.
    rooms: Option<BTreeSet<RoomNumber>>,
}

fn page(
    view: &View<'_>,
    room: Option<RoomNumber>,
    after: Position,
    localpart: &str,
    rooms_changed: bool,
) -> Result<Page, QueryError> {
    let scope = room.map_or(Scope::Joined, Scope::Room);
    let feed = view.events_after(localpart, scope, after, PAGE)?;
    let rooms = match room {
        None if rooms_changed => Some(joined_rooms(view, localpart)?),
        _ => None,
    };
    Ok(Page { events: feed.events, next: feed.next, more: feed.more, rooms })
}

fn joined_rooms(view: &View<'_>, localpart: &str) -> Result<BTreeSet<RoomNumber>, QueryError> {
    let all = view.rooms_of(localpart)?;
    Ok(all.into_iter().filter(|room| room.kind == Kind::Join).map(|room| room.room).collect())
}
