//! Search for those whom new events notify: of the users who have pushers, those who are in the rooms of the events.

use super::counts::{UnreadCounter, UserRules};
use super::judge::JudgedRoom;
use super::queue::{PusherName, QueuedPush};
use quorate_core::id::{self, Position, RoomNumber};
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::{EventsPart, MemberReading, QueryError, RoomEvent, StateView, WaitingItem};
use ruma::push::Action;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of events that are examined at a time; those of one log entry more.
const EVENTS: usize = 256;
/// Maximum number of receipts that are looked at together with the events. Of users whose receipts are beyond it, the
/// next notification tells how much is unread.
const RECEIPTS: usize = 1_024;
/// Maximum number of verdicts of one look, except for the last event's: some ten milliseconds. In a room of thousands who
/// have pushers, hundreds of events would be millions of verdicts, and as many notifications held at once.
const VERDICTS: usize = 20_000;
/// Number of waiting notifications that a new leader takes over at a time: there can be a hundred of each pusher.
const RESTORED: usize = 10_000;

/// Pusher as the sender knows it.
#[derive(Clone)]
pub(super) struct KnownPusher {
    pub(super) name: PusherName,
    /// Scheme and authority of the gateway.
    pub(super) gateway: Arc<str>,
    added_at: Position,
}

impl KnownPusher {
    fn found(&self, push: QueuedPush) -> FoundPush {
        FoundPush { name: self.name.clone(), gateway: self.gateway.clone(), push }
    }
}

/// All pushers, as of a change.
#[derive(Default)]
pub(super) struct KnownPushers {
    changed: Option<Position>,
    users: BTreeSet<String>,
    by_user: BTreeMap<String, Vec<KnownPusher>>,
}

impl KnownPushers {
    fn load(view: &StateView<'_>, changed: Option<Position>) -> Result<Self, QueryError> {
        let mut all = Self { changed, ..Self::default() };
        for found in view.all_pushers()? {
            let Some(gateway) = gateway_of(&found.pusher.data) else { continue };
            let name = PusherName::new(&found.localpart, &found.pusher.app_id, &found.pusher.pushkey);
            all.users.insert(found.localpart.clone());
            let known = KnownPusher { name, gateway, added_at: found.added_at };
            all.by_user.entry(found.localpart).or_default().push(known);
        }
        Ok(all)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Returns the pushers of a user.
    fn of(&self, localpart: &str) -> impl Iterator<Item = &KnownPusher> {
        self.by_user.get(localpart).into_iter().flatten()
    }

    /// Returns the gateway of a pusher, if it exists.
    pub(super) fn gateway(&self, name: &PusherName) -> Option<Arc<str>> {
        let of_user = self.by_user.get(&*name.localpart)?;
        of_user.iter().find(|known| known.name == *name).map(|known| known.gateway.clone())
    }

    /// Returns the position of the first event that concerns a pusher.
    fn first(&self) -> Option<Position> {
        self.by_user.values().flatten().map(|known| known.added_at).min()
    }
}

/// Returns the scheme and the authority of the gateway that the data of a pusher names.
fn gateway_of(data: &[u8]) -> Option<Arc<str>> {
    let data: serde_json::Value = serde_json::from_slice(data).ok()?;
    let uri = super::gateway::check_gateway(data.get("url")?.as_str()?).ok()?;
    // However it is written, it is one gateway.
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?).to_ascii_lowercase().into())
}

/// Notification that is to be sent.
pub(super) struct FoundPush {
    pub(super) name: PusherName,
    pub(super) gateway: Arc<str>,
    pub(super) push: QueuedPush,
}

/// Findings of one look at the state.
pub(super) struct ExaminedPart {
    /// All pushers, if they have changed since the last look.
    pub(super) pushers: Option<Arc<KnownPushers>>,
    /// Notifications that waited already; only at the first looks.
    pub(super) waiting: Vec<WaitingItem>,
    pub(super) found: Vec<FoundPush>,
    /// Number of events examined.
    pub(super) events: usize,
    /// Position up to which events were examined; `None` while there is more that waited already.
    pub(super) until: Option<Position>,
    pub(super) more: bool,
}

/// Knowledge of the sender before a look.
pub(super) struct LastLook {
    pub(super) pushers: Arc<KnownPushers>,
    /// Last one of the notifications that waited already and were taken over.
    pub(super) restored: Option<WaitingItem>,
    /// Position up to which events were examined; `None` before a leader has taken over what waited.
    pub(super) until: Option<Position>,
}

/// Looks for new events, and for whom they notify.
pub(super) fn examine_events(
    view: &StateView<'_>,
    counter: &UnreadCounter,
    last: LastLook,
) -> Result<ExaminedPart, QueryError> {
    let progress = view.push_progress()?;
    let is_first = last.until.is_none() && last.restored.is_none();
    let reload = is_first || progress.pushers_changed != last.pushers.changed;
    let pushers = if reload { Arc::new(KnownPushers::load(view, progress.pushers_changed)?) } else { last.pushers };
    let mut part =
        ExaminedPart { pushers: None, waiting: Vec::new(), found: Vec::new(), events: 0, until: None, more: false };
    if last.until.is_none() {
        part.waiting = view.waiting_pushes(last.restored.as_ref(), RESTORED)?;
        part.more = part.waiting.len() >= RESTORED;
    }
    if !part.more {
        let from = last.until.or(progress.examined).unwrap_or_default();
        examine_after(view, counter, &pushers, from, &mut part)?;
    }
    part.pushers = reload.then_some(pushers);
    Ok(part)
}

fn examine_after(
    view: &StateView<'_>,
    counter: &UnreadCounter,
    pushers: &KnownPushers,
    from: Position,
    part: &mut ExaminedPart,
) -> Result<(), QueryError> {
    let Some(first) = pushers.first() else {
        part.until = Some(view.now());
        return Ok(());
    };
    // A new leader goes on where the last one told the log that it was; a pusher gets nothing from before it.
    let from = from.max(first);
    let EventsPart { events, mut until, more } = view.events_part(from, EVENTS)?;
    part.more = more;
    let mut search =
        RecipientSearch { view, counter, pushers, rooms: BTreeMap::new(), writers: BTreeMap::new(), verdicts: 0 };
    for (at, room) in &events {
        view.is_wanted()?;
        search.examine(*room, *at, &mut part.found)?;
        part.events += 1;
        if search.verdicts >= VERDICTS && part.events < events.len() {
            until = *at;
            part.more = true;
            break;
        }
    }
    let mut readers = view.readers_between(from, until, RECEIPTS)?;
    for (writer, at) in search.writers {
        let newest = readers.entry(writer).or_insert(at);
        *newest = at.max(*newest);
    }
    for (reader, at) in readers {
        // What was read before a pusher was set is known to the app that set it.
        let pushers = pushers.of(&reader).filter(|known| known.added_at < at);
        part.found.extend(pushers.map(|known| known.found(QueuedPush::of_badge(at))));
    }
    part.until = Some(until);
    Ok(())
}

/// Member of a room who has pushers.
struct PushRecipient {
    localpart: String,
    reading: MemberReading,
    room: JudgedRoom,
    rules: Arc<UserRules>,
}

struct RecipientSearch<'s, 'v> {
    view: &'s StateView<'v>,
    counter: &'s UnreadCounter,
    pushers: &'s KnownPushers,
    rooms: BTreeMap<RoomNumber, Vec<PushRecipient>>,
    /// Users with pushers who sent events, with the position of the last one.
    writers: BTreeMap<String, Position>,
    /// Number of verdicts about an event and a recipient.
    verdicts: usize,
}

impl RecipientSearch<'_, '_> {
    fn examine(&mut self, room: RoomNumber, at: Position, found: &mut Vec<FoundPush>) -> Result<(), QueryError> {
        let room_id = match self.view.room_id(room) {
            Err(QueryError::RoomNotFound) => return Ok(()),
            room_id => room_id?,
        };
        let Some(event) = self.view.pushed_event(room, &room_id, at)? else { return Ok(()) };
        // Whoever writes has read, and what is unread in a room counts no more once it is left. Joining reads nothing.
        let writer = id::user_localpart(&event.sender, self.view.server_name());
        if let Some(writer) = writer.filter(|writer| self.pushers.users.contains(*writer))
            && membership_in(&event).as_deref() != Some("join")
        {
            self.writers.insert(writer.to_owned(), at);
        }
        let thread = self.view.thread_of(room, &event.content)?;
        let members = match self.rooms.remove(&room) {
            Some(known) => known,
            None => self.members(room)?,
        };
        let invited = self.invited(&event)?;
        for recipient in members.iter().chain(&invited) {
            self.verdicts += 1;
            if recipient.reading.points.has_read(thread, at) {
                continue;
            }
            let actions = self.counter.actions_in(self.view, &recipient.rules, &recipient.room, &event)?;
            if !actions.iter().any(Action::should_notify) {
                continue;
            }
            let pushers = self.pushers.of(&recipient.localpart).filter(|known| known.added_at < at);
            found.extend(pushers.map(|known| known.found(QueuedPush::new(at, room))));
        }
        self.rooms.insert(room, members);
        Ok(())
    }

    fn members(&self, room: RoomNumber) -> Result<Vec<PushRecipient>, QueryError> {
        let mut out = Vec::new();
        for localpart in self.view.joined_among(room, &self.pushers.users)? {
            self.view.is_wanted()?;
            if let Some(reading) = self.view.member_reading(&localpart, room)? {
                out.extend(self.recipient(localpart, reading)?);
            }
        }
        Ok(out)
    }

    /// Returns the user whom an event invites, if the user has pushers.
    fn invited(&self, event: &RoomEvent) -> Result<Option<PushRecipient>, QueryError> {
        let Some(localpart) = invited_user(self.view, event).filter(|user| self.pushers.users.contains(user)) else {
            return Ok(None);
        };
        let reading = self.view.outside_reading(event.room)?;
        self.recipient(localpart, reading)
    }

    fn recipient(&self, localpart: String, reading: MemberReading) -> Result<Option<PushRecipient>, QueryError> {
        let name = self.view.member_name(reading.room, &localpart)?;
        let Some(rules) = self.counter.rules_of(self.view, &localpart)? else { return Ok(None) };
        let Some(room) = JudgedRoom::new(&reading, name) else { return Ok(None) };
        Ok(Some(PushRecipient { localpart, reading, room, rules }))
    }
}

/// Returns the localpart of the user whom an event invites.
pub(super) fn invited_user(view: &StateView<'_>, event: &RoomEvent) -> Option<String> {
    let target = event.state_key.as_deref().filter(|_| membership_in(event).as_deref() == Some("invite"))?;
    id::user_localpart(target, view.server_name()).map(str::to_owned)
}

/// Returns the membership that a member event gives its user; `None` for all other events.
fn membership_in(event: &RoomEvent) -> Option<String> {
    if !event.is_state("m.room.member") {
        return None;
    }
    let content: serde_json::Value = serde_json::from_slice(&event.content).ok()?;
    content.get("membership").and_then(serde_json::Value::as_str).map(str::to_owned)
}

/// Returns a room as a user reads it who is in it, or is invited to it.
pub(super) fn recipient_reading(
    view: &StateView<'_>,
    localpart: &str,
    room: RoomNumber,
) -> Result<Option<MemberReading>, QueryError> {
    match view.membership(room, localpart)? {
        Some(Kind::Join) => view.member_reading(localpart, room),
        Some(Kind::Invite) => view.outside_reading(room).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::counts::tests::ChatRoom;
    use quorate_core::proto::log::command::Kind as Command;
    use quorate_core::proto::log::set_membership::Change;
    use quorate_core::proto::log::{self, room_ref};

    fn read(chat: &mut ChatRoom, at: Position) {
        let room_id = chat.room_id.clone();
        let receipts = log::SetReceipts { room_id, read: id::event_id(at), ..log::SetReceipts::default() };
        chat.apply("bob", Command::SetReceipts(receipts));
    }

    fn moved(chat: &mut ChatRoom, change: Change) {
        let room = Some(log::RoomRef { by: Some(room_ref::By::RoomId(chat.room_id.clone())) });
        let set = log::SetMembership { room, change: change.into(), ..log::SetMembership::default() };
        chat.apply("bob", Command::SetMembership(set));
    }

    fn set_pusher(chat: &mut ChatRoom, user: &str) {
        let set = log::SetPusher {
            app_id: "app".into(),
            pushkey: user.into(),
            kind: "http".into(),
            data: r#"{"url":"https://a.org/_matrix/push/v1/notify"}"#.into(),
            ..log::SetPusher::default()
        };
        chat.apply(user, Command::SetPusher(set));
    }

    /// Returns the number of Bob's notifications: of events, and of how much is unread.
    fn found(chat: &ChatRoom) -> [usize; 2] {
        let view = StateView::open(&chat.rows).unwrap();
        let last = LastLook { pushers: Arc::default(), restored: None, until: None };
        let found = examine_events(&view, &UnreadCounter::default(), last).unwrap().found;
        let of_bob = found.iter().filter(|found| &*found.name.localpart == "bob");
        let (badges, events): (Vec<_>, Vec<_>) = of_bob.partition(|found| found.push.is_badge());
        [events.len(), badges.len()]
    }

    #[test]
    fn only_who_reads_or_leaves_after_a_pusher_was_set_may_have_less_that_is_unread() {
        let mut chat = ChatRoom::new();
        set_pusher(&mut chat, "alice");
        chat.say("alice", r#"{"body":"one","msgtype":"m.text"}"#.into());
        let said = chat.sent[0];
        read(&mut chat, said);
        moved(&mut chat, Change::Leave);
        set_pusher(&mut chat, "bob");
        assert_eq!(found(&chat), [0, 0], "what came before");
        moved(&mut chat, Change::Join);
        assert_eq!(found(&chat), [0, 0], "joining reads nothing");
        chat.say("alice", r#"{"body":"two","msgtype":"m.text"}"#.into());
        assert_eq!(found(&chat), [1, 0]);
        let said = chat.sent[1];
        read(&mut chat, said);
        assert_eq!(found(&chat), [0, 1]);
        moved(&mut chat, Change::Leave);
        assert_eq!(found(&chat)[1], 1, "one for all that happened");
    }
}
