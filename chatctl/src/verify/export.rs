//! Export of a run's record to a file, one JSON document per line, for examination with other tools.

use super::{
    history::{MessageOutcome, RunHistory},
    run::VerifyRun,
};
use crate::{error::Error, position::EventPosition};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

/// Writes everything that was recorded to the file at `path`.
pub(super) fn export_history(path: &Path, run: &VerifyRun, history: &RunHistory) -> Result<(), Error> {
    let written = File::create(path).and_then(|file| write_lines(&mut BufWriter::new(file), run, history));
    written.map_err(Error::file(path))
}

fn write_lines(out: &mut BufWriter<File>, run: &VerifyRun, history: &RunHistory) -> io::Result<()> {
    let rooms = &run.rooms;
    writeln!(out, "{}", json!({ "kind": "run", "run": run.id, "rooms": rooms, "start_ms": run.to_epoch_ms(0) }))?;
    for message in &history.messages {
        let (fate, at_us, position, event_id) = match &message.fate {
            MessageOutcome::Acknowledged { at_us, position, event_id } => {
                ("acknowledged", Some(*at_us), Some(*position), Some(event_id))
            }
            MessageOutcome::Refused => ("refused", None, None, None),
            MessageOutcome::Unknown => ("unknown", None, None, None),
        };
        let line = json!({
            "kind": "message",
            "writer": message.id.writer,
            "seq": message.id.seq,
            "room": message.room,
            "transaction_id": run.transaction_id(message.id),
            "fate": fate,
            "invoked_us": message.invoked_us,
            "acknowledged_us": at_us,
            "position": position.map(position_triple),
            "event_id": event_id,
        });
        writeln!(out, "{line}")?;
    }
    for observation in &history.observations {
        for (place, seen) in observation.seen.iter().enumerate() {
            let line = json!({
                "kind": "seen",
                "by": observation.name,
                "place": place,
                "writer": seen.id.writer,
                "seq": seen.id.seq,
                "room": seen.room,
                "position": position_triple(seen.position),
            });
            writeln!(out, "{line}")?;
        }
    }
    for read in &history.reads {
        let page = read.page.iter().map(|seen| json!([seen.id.writer, seen.id.seq, position_triple(seen.position)]));
        let line = json!({
            "kind": "read",
            "server": &*read.server,
            "room": read.room,
            "invoked_us": read.invoked_us,
            "ended_us": read.ended_us,
            "whole": read.whole,
            "page": page.collect::<Vec<_>>(),
        });
        writeln!(out, "{line}")?;
    }
    out.flush()
}

fn position_triple(position: EventPosition) -> Value {
    json!([position.incarnation, position.index, position.ordinal])
}
