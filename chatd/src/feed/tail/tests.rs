use super::*;
use quorate_core::proto::store;
use quorate_core::table::{self, MemTable, Overlay, TableWrite as _};

fn at(index: u64, ordinal: u32) -> Position {
    Position { incarnation: 0, index, ordinal }
}

fn end(index: u64) -> Position {
    Position::end_of_entry(0, index)
}

fn rooms(numbers: &[u64]) -> BTreeSet<RoomNumber> {
    numbers.iter().copied().map(RoomNumber).collect()
}

/// Commits one entry with events in these rooms, in this order.
fn commit(tail: &EventTail, index: u64, rooms: &[u64], users: &[&str]) {
    change(tail, index, users, |changes| {
        for (place, room) in (0..).zip(rooms) {
            let row = store::Event { sender: "@a:a.org".into(), ..store::Event::default() };
            changes.put(
                Table::Timeline,
                key::room_position(RoomNumber(*room), at(index, place)),
                table::encode_value(&row),
            );
        }
    });
}

fn change(tail: &EventTail, index: u64, users: &[&str], change: impl FnOnce(&mut Overlay<'_>)) {
    change_keys(tail, index, users, &[], change);
}

fn change_keys(
    tail: &EventTail,
    index: u64,
    users: &[&str],
    keys: &[KeyChangeHint],
    change: impl FnOnce(&mut Overlay<'_>),
) {
    let base = MemTable::default();
    let mut changes = Overlay::new(&base);
    change(&mut changes);
    let users = users.iter().map(|user| (*user).to_owned()).collect();
    let room_id = |room: RoomNumber| Ok(format!("!{}:a.org", room.0));
    tail.push(end(index), TailAddition::of(changes.changes(), at(index, 0), &users, keys, room_id).unwrap());
}

fn places(page: &TailPage) -> Vec<Position> {
    page.events.iter().map(|event| event.position).collect()
}

#[test]
fn who_keeps_up_gets_the_events_of_its_rooms_in_order() {
    let tail = EventTail::default();
    commit(&tail, 1, &[7, 8, 7], &[]);
    commit(&tail, 2, &[8], &[]);
    commit(&tail, 3, &[9, 7], &[]);
    let page = tail.after(Position::ZERO, "a", &rooms(&[7, 8]), 10).unwrap();
    assert_eq!(places(&page), [at(1, 0), at(1, 1), at(1, 2), at(2, 0), at(3, 1)]);
    assert_eq!((page.next, page.more), (end(3), false));
    assert_eq!(page.events[1].room_id, "!8:a.org");
    let page = tail.after(end(2), "a", &rooms(&[7]), 10).unwrap();
    assert_eq!(places(&page), [at(3, 1)]);
    assert!(tail.after(end(3), "a", &rooms(&[7]), 10).unwrap().events.is_empty());
    assert!(tail.after(end(4), "a", &rooms(&[7]), 10).is_none(), "this pod is not there yet");
}

#[test]
fn a_page_that_is_full_leads_on_without_a_gap() {
    let tail = EventTail::default();
    commit(&tail, 1, &[7, 8, 7, 7], &[]);
    let (mut after, mut seen) = (Position::ZERO, Vec::new());
    loop {
        let page = tail.after(after, "a", &rooms(&[7]), 1).unwrap();
        seen.extend(places(&page));
        after = page.next;
        if !page.more {
            break;
        }
    }
    assert_eq!((seen, after), (vec![at(1, 0), at(1, 2), at(1, 3)], end(1)));
}

#[test]
fn whose_memberships_change_asks_the_rows_and_nobody_else_does() {
    let tail = EventTail::default();
    commit(&tail, 1, &[7], &[]);
    commit(&tail, 2, &[7, 7], &["bob"]);
    assert!(tail.after(end(1), "bob", &rooms(&[7]), 10).is_none());
    assert!(tail.after(end(1), "bob", &rooms(&[7]), 1).is_none(), "not even the first of them");
    assert_eq!(tail.after(end(1), "alice", &rooms(&[7]), 10).unwrap().events.len(), 2);
    assert!(tail.after(end(2), "bob", &rooms(&[7]), 10).is_some());
}

#[test]
fn changed_keys_are_told_in_the_rooms_of_their_user_and_by_the_rows_if_those_are_too_many() {
    let tail = EventTail::default();
    let hint = |rooms: Option<&[u64]>| KeyChangeHint {
        localpart: "bob".into(),
        rooms: rooms.map(|rooms| rooms.iter().copied().map(RoomNumber).collect()),
    };
    change_keys(&tail, 1, &["bob"], &[hint(Some(&[7, 8]))], |_| ());
    let told = |tail: &EventTail, after, room| {
        let page = tail.after(after, "alice", &rooms(&[room]), 10)?;
        Some(page.key_changes.iter().map(|(at, hint)| (*at, hint.localpart.clone())).collect::<Vec<_>>())
    };
    assert_eq!(told(&tail, Position::ZERO, 8), Some(vec![(at(1, 0), "bob".to_owned())]));
    assert_eq!(told(&tail, Position::ZERO, 9), Some(vec![]));
    assert_eq!(told(&tail, end(1), 8), Some(vec![]));
    assert!(tail.after(Position::ZERO, "bob", &rooms(&[7]), 10).is_none());
    change_keys(&tail, 2, &["bob"], &[hint(None)], |_| ());
    assert_eq!(told(&tail, end(1), 9), None);
}

#[test]
fn a_change_of_history_makes_everybody_ask_the_rows_once() {
    let old = key::room_position(RoomNumber(7), at(1, 0));
    let redacted =
        table::encode_value(&store::Event { redacted_by: at(2, 0).to_bytes().to_vec().into(), ..Default::default() });
    let rewrite = |changes: &mut Overlay<'_>| changes.put(Table::Timeline, old.clone(), redacted.clone());
    let removal = |changes: &mut Overlay<'_>| changes.delete(Table::Timeline, old.clone());
    for change_history in [&rewrite as &dyn Fn(&mut Overlay<'_>), &removal] {
        let tail = EventTail::default();
        commit(&tail, 1, &[7], &[]);
        change(&tail, 2, &[], change_history);
        assert!(tail.after(Position::ZERO, "a", &rooms(&[7]), 10).is_none());
        assert!(tail.after(end(1), "a", &rooms(&[7]), 10).is_none());
        commit(&tail, 3, &[7], &[]);
        assert_eq!(places(&tail.after(end(2), "a", &rooms(&[7]), 10).unwrap()), [at(3, 0)]);
    }
}

#[test]
fn an_event_redacted_in_its_own_commit_is_left_to_the_rows() {
    let tail = EventTail::default();
    change(&tail, 1, &[], |changes| {
        let row = store::Event { redacted_by: at(1, 1).to_bytes().to_vec().into(), ..Default::default() };
        changes.put(Table::Timeline, key::room_position(RoomNumber(7), at(1, 0)), table::encode_value(&row));
    });
    assert!(tail.after(Position::ZERO, "a", &rooms(&[7]), 10).is_none());
    assert!(tail.after(Position::ZERO, "a", &rooms(&[8]), 10).is_some());
}

#[test]
fn what_was_not_told_is_never_passed_over() {
    let tail = EventTail::default();
    commit(&tail, 1, &[7], &[]);
    tail.push(end(2), None);
    commit(&tail, 3, &[7], &[]);
    assert!(tail.after(end(1), "a", &rooms(&[7]), 10).is_none());
    assert!(tail.after(end(2), "a", &rooms(&[7]), 10).is_some());
}

#[test]
fn it_is_bounded_and_says_who_has_fallen_behind() {
    let tail = EventTail::default();
    let last = EVENTS as u64 + 10;
    for index in 1..=last {
        commit(&tail, index, &[7], &[]);
    }
    assert_eq!(tail.ring().items.len(), EVENTS);
    assert!(tail.after(end(9), "a", &rooms(&[7]), 1).is_none());
    let page = tail.after(end(10), "a", &rooms(&[7]), EVENTS).unwrap();
    assert_eq!((page.events.len(), page.next), (EVENTS, end(last)));
    let large = vec![b'x'; BYTES];
    change(&tail, last + 1, &[], |changes| {
        let row = store::Event { content: large.into(), ..Default::default() };
        changes.put(Table::Timeline, key::room_position(RoomNumber(7), at(last + 1, 0)), table::encode_value(&row));
    });
    assert_eq!(tail.ring().bytes, 0);
    assert!(tail.after(end(last), "a", &rooms(&[7]), 1).is_none());
}

#[test]
fn a_page_knows_when_its_oldest_event_came_and_who_is_too_late_is_counted() {
    let tail = EventTail::default();
    commit(&tail, 1, &[7], &[]);
    commit(&tail, 2, &[8], &[]);
    let page = tail.after(Position::ZERO, "a", &rooms(&[8]), 10).unwrap();
    assert!(page.applied.is_some() && page.applied == tail.applied_at(at(2, 0)));
    assert_eq!(tail.after(end(2), "a", &rooms(&[8]), 10).unwrap().applied, None);
    assert_eq!(tail.lagged(), 0);
    tail.push(end(3), None);
    assert!(tail.after(end(2), "a", &rooms(&[8]), 10).is_none());
    assert_eq!(tail.lagged(), 1);
    assert!(tail.applied_at(at(2, 0)).is_some(), "when it came is still known");
}

#[test]
fn the_times_of_commits_are_bounded() {
    let tail = EventTail::default();
    let commits = u64::try_from(EVENTS).unwrap() + 10;
    for index in 1..=commits {
        tail.push(end(index), None);
    }
    assert_eq!(tail.applied_at(end(10)), None);
    assert!(tail.applied_at(end(11)).is_some() && tail.applied_at(end(commits)).is_some());
}

/// Commits one entry with a receipt of this user in room 7.
fn commit_receipt(tail: &EventTail, index: u64, reader: &str, kind: ReceiptKind) {
    change(tail, index, &[], |changes| {
        let field = |at: Position| at.to_bytes().to_vec().into();
        let row = store::Receipt { event: field(at(1, 0)), time_ms: 5, changed: field(at(index, 0)) };
        let key = key::receipt_key(RoomNumber(7), reader, kind, "");
        changes.put(Table::Receipt, key, table::encode_value(&row));
    });
}

#[test]
fn public_receipts_come_with_the_events_of_their_rooms() {
    let tail = EventTail::default();
    commit(&tail, 1, &[7], &[]);
    commit_receipt(&tail, 2, "bob", ReceiptKind::Public);
    commit_receipt(&tail, 3, "carol", ReceiptKind::Private);
    let page = tail.after(Position::ZERO, "a", &rooms(&[7]), 10).unwrap();
    let readers: Vec<_> = page.receipts.iter().map(|found| found.receipt.reader.as_str()).collect();
    assert_eq!((page.events.len(), readers, &*page.receipts[0].room_id), (1, vec!["bob"], "!7:a.org"));
    assert!(tail.after(end(2), "a", &rooms(&[7]), 10).unwrap().receipts.is_empty());
    assert!(tail.after(Position::ZERO, "a", &rooms(&[8]), 10).unwrap().receipts.is_empty());
    let first = tail.after(Position::ZERO, "a", &rooms(&[7]), 1).unwrap();
    assert!(first.more && first.receipts.is_empty());
    let second = tail.after(first.next, "a", &rooms(&[7]), 1).unwrap();
    assert_eq!((second.events.len(), second.receipts.len(), second.next), (0, 1, end(3)));
}
