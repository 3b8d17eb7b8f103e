//! Properties of any sequence of commands: the invariants hold, replicas agree, refusals leave nothing, packing does
//! not matter.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed check of a test is a panic")]

use quorate_core::id::{self, Position};
use quorate_core::proto::log::{Reason, outcome};
use quorate_core::table::{MemTable, Overlay, Table, TableRead, TableWrite};
use quorate_core::{apply, invariant};
use quorate_sim::plan::{PackedScript, SERVER};
use quorate_sim::rng::Rng;
use quorate_sim::{for_seeds, oracle, script};
use std::collections::BTreeMap;

fn plan(seed: u64, length: usize, largest: usize) -> PackedScript {
    let mut rng = Rng::new(seed);
    let steps = script::generate_script(&mut rng, length);
    PackedScript::new(steps, &mut rng, largest)
}

fn reason(outcome: &quorate_core::proto::log::Outcome) -> Option<Reason> {
    match &outcome.kind {
        Some(outcome::Kind::Rejected(rejected)) => Some(rejected.reason()),
        _ => None,
    }
}

#[test]
fn any_sequence_of_commands_keeps_the_invariants() {
    for_seeds(60, |seed| {
        plan(seed, 200, 8)
            .run(&mut MemTable::default(), |rows, index, _, _| {
                invariant::check_all(rows).unwrap_or_else(|violation| panic!("after entry {index}: {violation}"));
            })
            .unwrap();
    });
}

#[test]
fn the_scripts_reach_every_kind_of_answer() {
    let (mut accepted, mut refused, mut again) = (BTreeMap::new(), BTreeMap::new(), 0);
    for seed in 0..60 {
        plan(seed, 200, 8)
            .run(&mut MemTable::default(), |_, _, batch, applied| {
                for (envelope, applied) in batch.envelopes.iter().zip(applied) {
                    again += usize::from(applied.outcome.duplicate);
                    let kind = envelope.command.as_ref().unwrap().kind.as_ref().unwrap();
                    match reason(&applied.outcome) {
                        Some(reason) => *refused.entry(reason.as_str_name()).or_insert(0) += 1,
                        None => {
                            let name = format!("{kind:?}").split('(').next().unwrap().to_owned();
                            *accepted.entry(name).or_insert(0) += 1;
                        }
                    }
                }
            })
            .unwrap();
    }
    assert_eq!(accepted.len(), 33, "{accepted:?}");
    assert!(refused.len() >= 8, "{refused:?}");
    assert!(again > 100, "{again} repetitions");
    let (taken, turned_down) = (accepted.values().sum::<u64>(), refused.values().sum::<u64>());
    assert!(taken * 3 > turned_down, "{taken} accepted, {turned_down} refused: {refused:?}");
}

#[test]
fn replicas_are_equal_to_the_byte_also_one_that_applies_through_an_overlay() {
    for_seeds(60, |seed| {
        let plan = plan(seed, 200, 8);
        let (mut one, mut two) = (MemTable::default(), MemTable::default());
        for (index, batch) in plan.batches() {
            apply::batch_in_place(&mut one, index, &batch).unwrap();
            let mut overlay = Overlay::new(&two);
            apply::apply_batch(&apply::KnownFormat::CURRENT, &mut overlay, index, &batch).unwrap();
            let changes = overlay.into_changes();
            changes.write_to(&mut two);
            assert_eq!(
                invariant::state_digest(&one).unwrap(),
                invariant::state_digest(&two).unwrap(),
                "after entry {index}"
            );
        }
        assert_eq!(one, two);
    });
}

#[test]
fn going_on_from_a_copy_is_going_on() {
    for_seeds(60, |seed| {
        let plan = plan(seed, 200, 8);
        let (mut whole, mut copy) = (MemTable::default(), None);
        let half = u64::try_from(plan.batches().count() / 2).unwrap();
        for (index, batch) in plan.batches() {
            if index == half {
                copy = Some(whole.clone());
            }
            apply::batch_in_place(&mut whole, index, &batch).unwrap();
        }
        let mut copy = copy.unwrap();
        for (index, batch) in plan.batches().filter(|(index, _)| *index >= half) {
            apply::batch_in_place(&mut copy, index, &batch).unwrap();
        }
        assert_eq!(whole, copy);
    });
}

#[test]
fn a_refused_command_changes_nothing_but_the_time() {
    for_seeds(60, |seed| {
        let mut before = MemTable::default();
        plan(seed, 200, 1)
            .run(&mut MemTable::default(), |rows, _, batch, applied| {
                if reason(&applied[0].outcome).is_some() || applied[0].outcome.duplicate {
                    let mut now = rows.clone();
                    let cluster = before.get(Table::Meta, b"cluster").unwrap().unwrap();
                    now.put(Table::Meta, b"cluster".to_vec(), cluster);
                    assert_eq!(now, before, "{batch:?}");
                    assert_eq!(applied[0].touched, apply::ChangeHints::default());
                }
                before = rows.clone();
            })
            .unwrap();
    });
}

#[test]
fn a_repetition_of_what_was_accepted_gets_its_answer() {
    for_seeds(60, |seed| {
        let mut answers = BTreeMap::new();
        let note = |_: &MemTable, _, batch: &quorate_core::proto::log::Batch, applied: &[apply::AppliedCommand]| {
            for (envelope, applied) in batch.envelopes.iter().zip(applied) {
                let key = (envelope.user.clone(), envelope.device_id.clone(), envelope.transaction_id.clone());
                if envelope.transaction_id.is_empty() || reason(&applied.outcome).is_some() {
                    continue;
                }
                if applied.outcome.duplicate {
                    let first: &quorate_core::proto::log::Outcome = &answers[&key];
                    assert_eq!((&first.kind, &first.position), (&applied.outcome.kind, &applied.outcome.position));
                } else {
                    answers.insert(key, applied.outcome.clone());
                }
            }
        };
        plan(seed, 200, 8).run(&mut MemTable::default(), note).unwrap();
    });
}

/// Returns events and answers with positions taken out: ids are replaced by the number of the command that made them.
fn without_positions(plan: &PackedScript) -> (Vec<String>, Vec<String>) {
    let mut rows = MemTable::default();
    let mut answers = Vec::new();
    plan.run(&mut rows, |_, _, _, applied| {
        for applied in applied {
            let outcome = &applied.outcome;
            let kind = outcome.kind.as_ref().map(std::mem::discriminant);
            answers.push(format!("{kind:?} {:?} {}", reason(outcome), outcome.duplicate));
        }
    })
    .unwrap();
    let names: Vec<(String, String)> = (0..plan.commands())
        .flat_map(|number| {
            let at: Position = plan.position(number);
            // Events in the middle of a command are named, too: the tombstone of a room that was upgraded.
            let middle = Position { ordinal: at.ordinal + 1, ..at };
            [
                (id::event_id(at), format!("event {number}")),
                (id::event_id(middle), format!("second event {number}")),
                (id::room_id(at, SERVER), format!("room {number}")),
                (id::room_id_without_server(at), format!("room {number}")),
            ]
        })
        .collect();
    let render = |event: oracle::BareEvent| {
        let row = event.row;
        let mut content = String::from_utf8(row.content.to_vec()).unwrap();
        if content.contains(['$', '!']) {
            for (id, name) in &names {
                content = content.replace(id, name);
            }
        }
        let what = (row.sender, row.r#type, row.state_key, content, row.transaction_id);
        format!("{} {what:?} {} {}", event.room, row.redacted_by.is_empty(), row.replaces.is_empty())
    };
    (oracle::read_events(&rows).into_iter().map(render).collect(), answers)
}

#[test]
fn how_commands_are_packed_into_entries_does_not_matter() {
    for_seeds(60, |seed| {
        let mut rng = Rng::new(seed);
        let steps = script::generate_script(&mut rng, 200);
        let packed = |rng: &mut Rng, largest| {
            let mut plan = PackedScript::new(steps.clone(), rng, largest);
            // All entries have the same time, or sessions would expire at other commands.
            plan.tick_ms = 0;
            without_positions(&plan)
        };
        let singly = packed(&mut rng, 1);
        assert_eq!(singly, packed(&mut rng, 5));
        assert_eq!(singly, packed(&mut rng, 64));
    });
}
