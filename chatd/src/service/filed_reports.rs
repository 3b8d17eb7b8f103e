//! Reports that users have filed, for administrators.

use super::write::expect_done;
use super::{Administrator, ChatService, ReadConsistency, RequestRefusal, limits};
use bytes::Bytes;
use quorate_core::id::{self, Position};
use quorate_core::proto::log::DismissReport;
use quorate_core::proto::log::administer::Action;
use quorate_core::query::{FiledReport, StateView};

/// Name of a report: its reporter and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportName {
    /// Localpart of the reporter.
    pub reporter: String,
    /// Position of the report in the log.
    pub at: Position,
}

impl ReportName {
    /// Returns the name of a report.
    #[must_use]
    pub fn of(report: &FiledReport) -> Self {
        Self { reporter: report.reporter.clone(), at: report.at }
    }

    /// Returns the name as administrators see it.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}/{}", self.reporter, id::encode_cursor(self.at))
    }

    /// Parses a name.
    ///
    /// # Errors
    /// [`RefusalCode::Invalid`](super::RefusalCode::Invalid) if the text is none.
    pub fn parse(text: &str) -> Result<Self, RequestRefusal> {
        // Localparts may contain slashes, positions do not.
        let parts = text.rsplit_once('/').and_then(|(reporter, at)| Some((reporter, id::parse_cursor(at)?)));
        let (reporter, at) = parts.ok_or_else(|| {
            RequestRefusal::invalid("this is not the id of a report; give one as the list of reports shows it")
        })?;
        Ok(Self { reporter: reporter.to_owned(), at })
    }
}

impl ChatService {
    /// Returns a page of reports, by reporter and then oldest first.
    ///
    /// # Errors
    /// The refusals of reads.
    pub async fn filed_reports(
        &self,
        after: Option<ReportName>,
        limit: usize,
    ) -> Result<Vec<FiledReport>, RequestRefusal> {
        let question = move |view: &StateView<'_>| {
            view.reports(after.as_ref().map(|name| (name.reporter.as_str(), name.at)), limit)
        };
        Ok(self.read(ReadConsistency::Linearizable, question).await?.0)
    }

    /// Removes a report that was dealt with. One that does not exist is no error.
    ///
    /// # Errors
    /// The refusals of the proposer.
    pub async fn dismiss_report(&self, by: &Administrator, name: ReportName) -> Result<(), RequestRefusal> {
        limits::check_name("id", &name.reporter)?;
        let position = Bytes::copy_from_slice(&name.at.to_bytes());
        let dismiss = DismissReport { reporter: name.reporter.clone(), position };
        expect_done(self.administer(by, Action::DismissReport(dismiss)).await?)?;
        tracing::info!(%by, report = %name.to_text(), "an administrator dismissed a report");
        let _ = self.catch_up_with_leader().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_report_is_read_as_it_was_written() {
        let name = ReportName { reporter: "a/b".into(), at: Position { incarnation: 1, index: 7, ordinal: 0 } };
        assert_eq!(ReportName::parse(&name.to_text()), Ok(name));
        for wrong in ["", "alice", "alice/", "alice/x"] {
            assert!(ReportName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
