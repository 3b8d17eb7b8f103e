//! What a real pod wrote: `chatd/tests/golden`.

use bytes::Bytes;
use prost::Message as _;
use quorate_core::apply;
use quorate_core::fuzzing;
use quorate_core::proto::log::command::Kind;
use quorate_core::proto::log::{self, Batch, Entry, entry, room_ref};
use quorate_core::table::{self, MemTable, Table};
use std::fs;
use std::mem::discriminant;
use std::path::Path;
use std::process::Command;

/// Of each kind a few.
#[derive(Default)]
pub(super) struct Golden {
    segment: Vec<u8>,
    records: Vec<(u8, Vec<u8>)>,
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) batches: Vec<Vec<u8>>,
    pub(super) outcomes: Vec<Vec<u8>>,
    pub(super) rows: Vec<Vec<u8>>,
    pub(super) contents: Vec<Bytes>,
    pub(super) manifests: Vec<Vec<u8>>,
}

impl Golden {
    pub(super) fn read() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // Tests run in the folder of their package.
        let archive = Path::new("../tests/golden/version-1.tar.gz");
        let done = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(dir.path()).status().expect("tar");
        assert!(done.success());
        let mut golden = Self {
            segment: fs::read(dir.path().join("log/00000000000000000001.log")).expect("a segment"),
            ..Self::default()
        };
        golden.records = records_of(&golden.segment);
        golden.apply();
        for snapshot in fs::read_dir(dir.path().join("state/snapshots")).expect("snapshots") {
            let manifest = fs::read(snapshot.expect("an entry").path().join("manifest")).expect("a manifest");
            golden.manifests.extend([manifest[4..].to_vec(), manifest]);
        }
        golden
    }

    /// The entries, applied.
    fn apply(&mut self) {
        let mut rows = MemTable::default();
        let mut kinds = Vec::new();
        let mut payloads = Vec::new();
        let entries: Vec<_> =
            self.records.iter().filter(|(kind, _)| *kind == 2).map(|(_, entry)| entry.clone()).collect();
        for bytes in entries {
            let entry = Entry::decode(bytes.as_slice()).expect("an entry");
            let payload = entry.payload.expect("a payload");
            if !payloads.contains(&discriminant(&payload)) {
                payloads.push(discriminant(&payload));
                self.entries.push(bytes);
            }
            let entry::Payload::Batch(bytes) = payload else { continue };
            let batch = Batch::decode(bytes.clone()).expect("a batch");
            let index = entry.log_id.expect("an id").index;
            let applied = apply::batch_in_place(&mut rows, index, &batch).expect("applies");
            let of_batch: Vec<_> = batch.envelopes.iter().filter_map(kind_of).map(discriminant).collect();
            if of_batch.iter().any(|kind| !kinds.contains(kind)) {
                kinds.extend(of_batch);
                self.batches.push(bytes.to_vec());
                self.outcomes.extend(applied.iter().map(|applied| applied.outcome.encode_to_vec()));
            }
        }
        for table in Table::ALL {
            let of_table = rows.rows().filter(|(of, ..)| *of == table).take(2);
            self.rows.extend(of_table.map(|(table, _, value)| [&[table as u8], value.as_ref()].concat()));
        }
        let events = rows.rows().filter(|(table, ..)| *table == Table::Timeline);
        self.contents = events
            .map(|(table, _, value)| {
                table::decode_value::<quorate_core::proto::store::Event>(table, value.clone())
                    .expect("an event")
                    .content
            })
            .collect();
        self.contents.sort();
        self.contents.dedup();
        self.contents.retain(|content| content.len() > 60);
    }

    pub(super) fn segments(&self, longest: usize) -> Vec<Vec<u8>> {
        [longest, 500].map(|len| self.segment[..len].to_vec()).to_vec()
    }

    /// As the decoder of records wants them; the first is the state.
    pub(super) fn records(&self) -> Vec<Vec<u8>> {
        let short: Vec<_> = self.records.iter().filter(|(_, payload)| payload.len() < 256).collect();
        let form = |(kind, payload): &(u8, Vec<u8>)| {
            let len = u8::try_from(payload.len()).expect("short");
            // A write of its own.
            [&[0x80 | (kind - 1), len], payload.as_slice()].concat()
        };
        [1, 3, 6].map(|count| short.iter().take(count).flat_map(|record| form(record)).collect()).to_vec()
    }

    /// The last applied entry, then the one that made the membership.
    pub(super) fn applied(&self) -> Vec<Vec<u8>> {
        let value = |bytes: &[u8]| [&[table::VALUE_VERSION], bytes].concat();
        let of = |bytes: &Vec<u8>| {
            let entry = Entry::decode(bytes.as_slice()).expect("an entry");
            let id = value(&entry.log_id.expect("an id").encode_to_vec());
            [&[u8::try_from(id.len()).expect("short")], id.as_slice(), value(bytes).as_slice()].concat()
        };
        self.entries.iter().map(of).collect()
    }

    /// The commands, by Alice and Bob of the small world and in its room.
    pub(super) fn commands(&self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for bytes in &self.batches {
            let Batch { time_ms, envelopes, time_trust, level } = Batch::decode(bytes.as_slice()).expect("a batch");
            for mut envelope in envelopes {
                let Some(kind) = envelope.command.as_mut().and_then(|command| command.kind.as_mut()) else { continue };
                move_here(kind);
                if !envelope.user.is_empty() {
                    envelope.device_id = "D".into();
                }
                envelope.sequence = None;
                out.push(Batch { time_ms, envelopes: vec![envelope], time_trust, level }.encode_to_vec());
            }
        }
        out
    }
}

fn kind_of(envelope: &log::Envelope) -> Option<&Kind> {
    envelope.command.as_ref()?.kind.as_ref()
}

fn move_here(kind: &mut Kind) {
    let room = fuzzing::sample_room_id();
    match kind {
        Kind::SendEvent(command) => command.room_id = room,
        Kind::SetMembership(command) => {
            command.room = Some(log::RoomRef { by: Some(room_ref::By::RoomId(room)) });
        }
        Kind::Redact(command) => command.room_id = room,
        Kind::PurgeHistory(command) => command.room_id = room,
        Kind::PutAccountData(command) if !command.room_id.is_empty() => command.room_id = room,
        Kind::CreateRoom(command) => command.alias = "another".into(),
        Kind::Register(command) => command.localpart = "carol".into(),
        _ => {}
    }
}

/// Kind and payload of each record; read here by hand, so that it is not the reader under test that finds them.
fn records_of(segment: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut out, mut at) = (Vec::new(), 48);
    while let Some(header) = segment.get(at..at + 16).filter(|header| header[12] != 0) {
        let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        out.push((header[12], segment[at + 16..at + 16 + len].to_vec()));
        at += (16 + len).next_multiple_of(8);
    }
    out
}
