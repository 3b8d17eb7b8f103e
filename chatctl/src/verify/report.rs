//! Report that `verify` prints at the end, and the result that it ends with.

use super::{
    check::CheckVerdict,
    history::RunHistory,
    minimise,
    probe::ReadTally,
    reader::ReaderSummary,
    run::VerifyRun,
    scan::ServerScan,
    setup::RunSetup,
    timing::{self, AckGap, to_milliseconds},
};
use crate::{commands::time, context::CommandContext, error::Error, session::ClientSession};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Data of which the report is made.
pub(super) struct VerifyReport<'a> {
    pub(super) run: &'a VerifyRun,
    pub(super) history: &'a RunHistory,
    pub(super) verdict: &'a CheckVerdict,
    pub(super) stage: &'a RunSetup,
    pub(super) read: Vec<ReaderSummary>,
    pub(super) asked_for_reads: bool,
    pub(super) tally: ReadTally,
    pub(super) scans: &'a [ServerScan],
    pub(super) caught_up: bool,
    pub(super) interrupted: bool,
}

/// Timing figures of the run.
struct RunTimings {
    longest: AckGap,
    listed: Vec<AckGap>,
    per_second: Vec<u64>,
    latency: timing::AckLatency,
}

impl VerifyReport<'_> {
    /// Prints the report, and returns the result of the command.
    ///
    /// # Errors
    /// [`Error::Violation`], [`Error::Inconclusive`], or an error if the report cannot be printed.
    pub(super) fn finish(self, context: &CommandContext) -> Result<(), Error> {
        let times = self.times();
        let smallest = minimise::minimal_history(self.history, self.verdict);
        let shown = smallest.map_or_else(Vec::new, |smallest| smallest.lines());
        context.out.emit(&self.document(&times, &shown), || self.text(&times, &shown))?;
        if self.verdict.is_clean() {
            return self.proof();
        }
        Err(Error::Violation(self.counts()))
    }

    fn counts(&self) -> String {
        let counts = self.verdict.findings().map(|(name, finding)| format!("{} {name}", finding.count));
        counts.join(", ")
    }

    /// Checks that a clean verdict rests on something: over nothing, it is worth nothing.
    fn proof(&self) -> Result<(), Error> {
        if self.verdict.acknowledged == 0 {
            let reason = self.run.refusal().unwrap_or("no message was acknowledged");
            return Err(Error::Inconclusive(reason.to_owned()));
        }
        if self.asked_for_reads && self.tally.linearizable == 0 {
            return Err(Error::Inconclusive("no read was answered with linearizable consistency".to_owned()));
        }
        match self.scans.iter().find_map(|scan| scan.error.as_deref()) {
            Some(error) if self.scans.iter().all(|scan| scan.observation.is_none()) => {
                Err(Error::Inconclusive(format!("cannot read the history of any server: {error}")))
            }
            _ => Ok(()),
        }
    }

    fn times(&self) -> RunTimings {
        let begun = self.run.begun_us();
        let ended = self.run.ended_us();
        let times = timing::acknowledgement_times(&self.history.messages);
        let gaps = timing::find_gaps(&times, begun, ended, self.run.now_us());
        RunTimings {
            longest: timing::longest_gap(&gaps).unwrap_or(AckGap { start_us: begun, length_us: 0 }),
            listed: timing::listed_gaps(&gaps),
            per_second: timing::per_second(&times, begun, ended),
            latency: timing::ack_latency(&self.history.messages),
        }
    }

    fn document(&self, times: &RunTimings, smallest: &[String]) -> Value {
        let verdict = self.verdict;
        let epoch = |us| self.run.to_epoch_ms(us);
        let gap = |gap: &AckGap| json!([epoch(gap.start_us), gap.length_us / 1000]);
        let scans = self.scans.iter().map(|scan| {
            let events = scan.observation.as_ref().map(|observation| observation.seen.len());
            json!({ "server": scan.server, "events": events, "error": scan.error })
        });
        json!({
            "ok": verdict.is_clean() && self.proof().is_ok(),
            "acknowledged": verdict.acknowledged,
            "lost": verdict.lost.count,
            "duplicated": verdict.duplicated.count,
            "reordered": verdict.reordered.count,
            "mismatched": verdict.mismatched.count,
            "phantom": verdict.phantom.count,
            "unlinearizable": verdict.unlinearizable.count,
            "unknown": verdict.unknown,
            "refused": verdict.refused,
            "first_refusal": self.run.refusal(),
            "sent": self.history.messages.len(),
            "longest_gap_ms": times.longest.length_us / 1000,
            "longest_gap_at_ms": epoch(times.longest.start_us),
            "gaps": times.listed.iter().map(gap).collect::<Vec<_>>(),
            "ack_latency_ms": times.latency,
            "acknowledged_per_second": times.per_second,
            "retries": self.counted(|session| session.client().counters().retries()),
            "rate_limited": self.counted(|session| session.client().counters().rate_limited()),
            "start_ms": epoch(self.run.begun_us()),
            "end_ms": epoch(self.run.ended_us()),
            "interrupted": self.interrupted,
            "caught_up": self.caught_up,
            "run": self.run.id,
            "rooms": self.run.rooms,
            "servers": self.stage.servers,
            "readers": self.read,
            "reads": self.tally,
            "scans": scans.collect::<Vec<_>>(),
            "unscanned": self.unscanned(),
            "violations": self.violations(),
            "smallest": smallest,
        })
    }

    fn violations(&self) -> Value {
        let examples = self.verdict.findings().map(|(name, finding)| (name.to_owned(), json!(finding.examples)));
        Value::Object(examples.into_iter().collect())
    }

    fn counted(&self, count: impl Fn(&ClientSession) -> u64) -> u64 {
        self.stage.writers.iter().map(count).sum()
    }

    fn unscanned(&self) -> usize {
        self.scans.iter().filter(|scan| scan.observation.is_none()).count()
    }

    fn text(&self, times: &RunTimings, smallest: &[String]) -> String {
        let verdict = self.verdict;
        let mut text = String::new();
        let begun = self.run.to_epoch_ms(times.longest.start_us);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "acknowledged {}, unknown {}, refused {}; {}",
            verdict.acknowledged,
            verdict.unknown,
            verdict.refused,
            self.counts()
        );
        if self.asked_for_reads {
            let _ = writeln!(text, "linearizable reads checked: {}", self.tally.linearizable);
        }
        let _ = writeln!(
            text,
            "longest gap between acknowledgements {:.0} ms (from {} UTC), {} gaps over {:.0} ms",
            to_milliseconds(times.longest.length_us),
            time::format_utc(begun),
            times.listed.len(),
            to_milliseconds(timing::LISTED_ABOVE_US)
        );
        let timing::AckLatency { p50, p99, max } = times.latency;
        let _ = writeln!(text, "acknowledgement latency p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms");
        if let Some(refusal) = self.run.refusal() {
            let _ = writeln!(text, "first refusal: {refusal}");
        }
        if !self.caught_up {
            let _ = writeln!(text, "not every reader caught up in time");
        }
        for scan in self.scans.iter().filter(|scan| scan.observation.is_none()) {
            let error = scan.error.as_deref().unwrap_or_default();
            let _ = writeln!(text, "cannot read the history of {}: {error}", scan.server);
        }
        for (name, finding) in verdict.findings() {
            for example in &finding.examples {
                let _ = writeln!(text, "{name}: {example}");
            }
        }
        if !smallest.is_empty() {
            let _ = writeln!(text, "smallest history that shows the violation:\n  {}", smallest.join("\n  "));
        }
        text
    }
}
