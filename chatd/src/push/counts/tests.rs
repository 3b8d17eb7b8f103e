use super::*;
use crate::push::{default_rules, encode_rules};
use bytes::Bytes;
use quorate_core::apply::batch_in_place;
use quorate_core::proto::log::command::Kind;
use quorate_core::proto::log::set_membership::Change;
use quorate_core::proto::log::{self, Envelope, Outcome, outcome, room_ref};
use quorate_core::table::MemTable;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use ruma::push::{RuleKind, Tweak};

#[test]
fn counts_of_later_events_are_added_by_thread() {
    let root = Some(Position { index: 7, ..Position::ZERO });
    let mut counts = UnreadCounts::default();
    let highlight = [Action::Notify, Action::SetTweak(Tweak::Highlight(true.into()))];
    counts.add(None, &[Action::Notify]);
    counts.add(root, &highlight);
    counts.add(root, &[]);
    let mut both = counts.clone();
    both.extend(counts);
    assert_eq!(both.main, NotificationCount { notified: 2, highlighted: 0 });
    assert_eq!(both.total(), NotificationCount { notified: 4, highlighted: 2 });
    both.clear(root);
    assert_eq!(both, UnreadCounts { main: both.main, threads: BTreeMap::new() });
}

fn known_counts(threads: u32, index: u64) -> KnownCounts {
    KnownCounts {
        points: ReadPoints::default(),
        purged_to: Position::ZERO,
        versions: RuleVersions::default(),
        until: Position { index, ..Position::ZERO },
        counts: UnreadCounts {
            threads: (0..threads)
                .map(|root| (Position { ordinal: root, ..Position::ZERO }, NotificationCount::default()))
                .collect(),
            ..UnreadCounts::default()
        },
        walk: LastWalk::default(),
    }
}

fn place(room: u64) -> CountPlace {
    (Arc::from("bob"), RoomNumber(room))
}

#[test]
fn counts_that_are_asked_for_stay_and_their_memory_is_bounded() {
    let mut memory = CountMemory::default();
    memory.put(place(1), known_counts(1_000, 2));
    memory.put(place(1), known_counts(10, 1));
    assert_eq!(memory.young.weight, 1_001, "later counts are kept");
    memory.put(place(1), known_counts(0, 3));
    assert_eq!(memory.young.weight, 1);
    for room in 2..=200 {
        memory.put(place(room), known_counts(1_000, 4));
        // Somebody reads the first room all the time.
        memory.put(place(1), known_counts(0, 3 + room));
        let generations = [&memory.young, &memory.old];
        let weight: usize =
            generations.iter().map(|one| one.known.values().map(KnownCounts::weight).sum::<usize>()).sum();
        assert_eq!(weight, memory.young.weight + memory.old.weight);
        assert!(weight <= MOST_COUNTS);
    }
    assert!(memory.get(&place(1)).is_some() && memory.get(&place(200)).is_some());
    assert!(memory.get(&place(2)).is_none(), "nobody asked for it");
}

/// Room in which Bob reads what Alice writes.
pub(in crate::push) struct ChatRoom {
    pub(in crate::push) rows: MemTable,
    index: u64,
    pub(in crate::push) room_id: String,
    /// Positions of the events that were sent.
    pub(in crate::push) sent: Vec<Position>,
}

fn envelope(user: &str, kind: Kind) -> Envelope {
    let device_id = if user.is_empty() { String::new() } else { "D".to_owned() };
    Envelope { user: user.into(), device_id, command: Some(log::Command { kind: Some(kind) }), ..Envelope::default() }
}

impl ChatRoom {
    pub(in crate::push) fn new() -> Self {
        let mut chat = Self { rows: MemTable::default(), index: 0, room_id: String::new(), sent: Vec::new() };
        let bootstrap = log::Bootstrap { cluster_id: "c".into(), server_name: "a.org".into() };
        chat.apply("", Kind::Bootstrap(bootstrap));
        for user in ["alice", "bob"] {
            let mut token_hash = user.as_bytes().to_vec();
            token_hash.resize(32, 0);
            let session =
                log::NewSession { device_id: "D".into(), token_hash: token_hash.into(), ..log::NewSession::default() };
            let register = log::Register {
                localpart: user.into(),
                password_hash: "h".into(),
                session: Some(session),
                ..log::Register::default()
            };
            chat.apply("", Kind::Register(register));
        }
        let preset = log::create_room::Preset::Public.into();
        let created = chat.apply("alice", Kind::CreateRoom(log::CreateRoom { preset, ..log::CreateRoom::default() }));
        let Some(outcome::Kind::RoomCreated(made)) = created.kind else { panic!("no room") };
        chat.room_id = made.room_id;
        let room = Some(log::RoomRef { by: Some(room_ref::By::RoomId(chat.room_id.clone())) });
        let join = log::SetMembership { room, change: Change::Join.into(), ..log::SetMembership::default() };
        chat.apply("bob", Kind::SetMembership(join));
        chat
    }

    pub(in crate::push) fn apply(&mut self, user: &str, kind: Kind) -> Outcome {
        self.index += 1;
        let envelopes = vec![envelope(user, kind)];
        let batch = log::Batch { time_ms: 1_000 + self.index, envelopes, ..log::Batch::default() };
        batch_in_place(&mut self.rows, self.index, &batch).unwrap().remove(0).outcome
    }

    pub(in crate::push) fn say(&mut self, user: &str, content: String) {
        let send = log::SendEvent {
            room_id: self.room_id.clone(),
            r#type: "m.room.message".into(),
            state_key: None,
            content: content.into(),
        };
        let outcome = self.apply(user, Kind::SendEvent(send));
        if matches!(outcome.kind, Some(outcome::Kind::EventSent(_))) {
            let log::Position { incarnation, index, ordinal } = outcome.position.unwrap();
            self.sent.push(Position { incarnation, index, ordinal });
        }
    }

    fn data(&mut self, event_type: &str, content: Bytes) {
        let data = log::PutAccountData { r#type: event_type.into(), content, ..log::PutAccountData::default() };
        self.apply("bob", Kind::PutAccountData(data));
    }

    /// Does something that may change what Bob has not read.
    fn step(&mut self, random: &mut StdRng) {
        let Some(last) = self.sent.len().checked_sub(1) else { return self.say("alice", r#"{"body":"x"}"#.into()) };
        let event_id = id::event_id(self.sent[random.random_range(0..=last)]);
        let user = if random.random_bool(0.8) { "alice" } else { "bob" };
        match random.random_range(0..12) {
            0..4 => self.say(user, r#"{"body":"hello bob","msgtype":"m.text"}"#.into()),
            4..6 => {
                let relation = if random.random_bool(0.7) { "m.thread" } else { "m.reference" };
                let relates = format!(r#"{{"event_id":"{event_id}","rel_type":"{relation}"}}"#);
                self.say(user, format!(r#"{{"body":"x","m.relates_to":{relates}}}"#));
            }
            6..9 => {
                let thread_id = match random.random_range(0..3) {
                    0 => String::new(),
                    1 => "main".into(),
                    _ => id::event_id(self.sent[random.random_range(0..=last)]),
                };
                let room_id = self.room_id.clone();
                let mut receipts = log::SetReceipts { room_id, thread_id, ..log::SetReceipts::default() };
                if random.random_bool(0.5) {
                    receipts.read = event_id;
                } else {
                    receipts.read_private = event_id;
                }
                self.apply("bob", Kind::SetReceipts(receipts));
            }
            9 => {
                let redact = log::Redact { room_id: self.room_id.clone(), event_id, reason: String::new() };
                self.apply(user, Kind::Redact(redact));
            }
            10 => {
                let user = UserId::parse("@bob:a.org").unwrap();
                let mut rules = default_rules(&user);
                rules.set_enabled(RuleKind::Underride, ".m.rule.room_one_to_one", random.random_bool(0.5)).unwrap();
                self.data(PUSH_RULES, encode_rules(rules).unwrap().into());
            }
            _ => {
                let ignored = if random.random_bool(0.3) { r#"{"@alice:a.org":{}}"# } else { "{}" };
                self.data(IGNORED_USERS, format!(r#"{{"ignored_users":{ignored}}}"#).into());
            }
        }
    }
}

#[test]
fn what_is_remembered_counts_as_much_as_what_is_counted_anew() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut chat = ChatRoom::new();
        let remembering = UnreadCounter::default();
        let mut counted = 0;
        for step in 0..120 {
            chat.step(&mut random);
            if random.random_bool(0.5) {
                continue;
            }
            let view = StateView::open(&chat.rows).unwrap();
            let room = [view.resolve_room(&chat.room_id).unwrap()];
            let remembered = remembering.count(&view, "bob", &room).unwrap();
            let anew = UnreadCounter::default().count(&view, "bob", &room).unwrap();
            assert_eq!(remembered, anew, "seed {seed}, step {step}");
            counted += anew.values().map(|counts| counts.total().notified).sum::<u64>();
        }
        assert!(counted > 0, "seed {seed}: nothing was ever unread");
    }
}

#[test]
fn a_redaction_has_much_that_is_unread_counted_anew_once_in_a_while() {
    let mut chat = ChatRoom::new();
    for _ in 0..=FEW_WALKED {
        chat.say("alice", r#"{"body":"x","msgtype":"m.text"}"#.into());
    }
    let count = |counter: &UnreadCounter, chat: &ChatRoom| {
        let view = StateView::open(&chat.rows).unwrap();
        let room = [view.resolve_room(&chat.room_id).unwrap()];
        let counts = counter.count(&view, "bob", &room).unwrap();
        counts.values().map(|counts| counts.total().notified).sum::<u64>()
    };
    let counter = UnreadCounter::default();
    let all = count(&counter, &chat);
    let walked_at = |counter: &UnreadCounter, at: Option<Instant>| {
        for known in counter.counts.lock().unwrap().young.known.values_mut() {
            known.walk.at = known.walk.at.and(at);
        }
    };
    // However long the test takes, the walk stays recent.
    walked_at(&counter, Some(Instant::now() + Duration::from_secs(3600)));
    let event_id = id::event_id(chat.sent[0]);
    let room_id = chat.room_id.clone();
    chat.apply("alice", Kind::Redact(log::Redact { room_id, event_id, reason: String::new() }));
    assert_eq!(count(&counter, &chat), all, "it was counted a moment ago");
    chat.say("alice", r#"{"body":"x","msgtype":"m.text"}"#.into());
    assert_eq!(count(&counter, &chat), all + 1, "what comes is counted");
    assert_eq!(count(&UnreadCounter::default(), &chat), all);
    walked_at(&counter, None);
    assert_eq!(count(&counter, &chat), all, "later it is counted anew, although nothing else was redacted");
}
