//! Invariant of what relations add up to.

use super::{InvariantResult, all_rows, ensure_holds};
use crate::id::{self, Position, RoomNumber};
use crate::proto::store;
use crate::relates::{RelatesTo, relation_type};
use crate::rows;
use crate::table::{self, Table, TableRead, key};
use std::collections::BTreeMap;

/// Checks that the counts of threads and the keys of annotations are those of the relations.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn aggregates_agree_with_relations(rows: &dyn TableRead) -> InvariantResult {
    let server_name = rows::cluster_row(rows)?.unwrap_or_default().server_name;
    let mut expected = BTreeMap::<Vec<u8>, store::Aggregate>::new();
    let mut threads = BTreeMap::<(RoomNumber, Position), (Position, u64)>::new();
    for (row_key, value) in all_rows(rows, Table::Relation)? {
        let row: store::Relation = table::decode_value(Table::Relation, value)?;
        let room = rows::room_in(Table::Relation, &row_key)?;
        let at = rows::position_in(Table::Relation, &row_key)?;
        let Some(target) = row_key.get(8..24).and_then(Position::from_bytes) else { continue };
        let localpart = id::user_localpart(&row.sender, &server_name).unwrap_or_default();
        match key::relation_type(&row_key) {
            Some(relation_type::THREAD) => {
                let thread = threads.entry((room, target)).or_insert((at, 0));
                *thread = (thread.0.max(at), thread.1 + 1);
                expected.entry(key::thread_author(room, target, localpart)).or_default().events += 1;
            }
            Some(relation_type::ANNOTATION) => {
                let content = rows::known_event(rows, room, at)?.content;
                let Some(text) = RelatesTo::of(&content).and_then(|relation| relation.key) else { continue };
                let key = key::annotation_key(room, target, &row.event_type, localpart, &text);
                expected.entry(key).or_default().annotation = table::position_field(at);
            }
            _ => {}
        }
    }
    for ((room, root), (newest, events)) in threads {
        let row = store::Aggregate { root: table::position_field(root), events, ..store::Aggregate::default() };
        expected.insert(key::thread_newest(room, newest), row);
    }
    let mut found = BTreeMap::new();
    for (key, value) in all_rows(rows, Table::Aggregate)? {
        found.insert(key, table::decode_value::<store::Aggregate>(Table::Aggregate, value)?);
    }
    ensure_holds(found == expected, "aggregates_agree_with_relations", || {
        let differs = |(key, row): &(&Vec<u8>, &store::Aggregate)| expected.get(*key) != Some(*row);
        format!("{:?} among {} rows, not {}", found.iter().find(differs), found.len(), expected.len())
    })
}
