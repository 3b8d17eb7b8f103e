//! Span of a log entry on the leader: sampled commands become one entry.

use super::command::CommandMark;
use super::entry::EntryTrace;
use super::{LiveSpan, attribute, span_builder};
use std::sync::Arc;

/// Span of an entry on the leader: from its packing until it is applied.
pub(crate) struct EntrySpan {
    live: LiveSpan,
    trace: Arc<EntryTrace>,
}

/// Begins the span in the trace of the first of the sampled commands, with links to all of them: an entry is one, and
/// has no more spans for more commands. `None` if no command is sampled.
pub(crate) fn begin_entry(sampled: &[CommandMark], commands: usize) -> Option<EntrySpan> {
    let first = sampled.first()?;
    let links = sampled.iter().map(|command| command.mark().link()).collect();
    let mut live = first.mark().start(span_builder("entry").with_links(links))?;
    live.count(attribute::COMMANDS, commands);
    let trace = Arc::new(EntryTrace::new(live.mark().clone()));
    for command in sampled {
        command.packed(&trace);
    }
    Some(EntrySpan { live, trace })
}

impl EntrySpan {
    pub(crate) fn trace(&self) -> &Arc<EntryTrace> {
        &self.trace
    }

    /// Ends the span. `None` means that the entry was not written, or that its fate is unknown.
    pub(crate) fn applied(mut self, index: Option<u64>) {
        match index {
            Some(index) => self.live.count(attribute::INDEX, index),
            None => self.live.failed("not applied by this leader"),
        }
    }
}
