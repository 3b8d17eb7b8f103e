//! Writes about rooms as a whole: aliases, the public directory, upgrades, reports.

use super::write::{expect_done, outcome_position, unexpected_outcome};
use super::{CallerSession, ChatService, RequestRefusal, RoomMade, decide, limits};
use quorate_core::proto::log::command::Kind as Command;
use quorate_core::proto::log::outcome::Kind;
use quorate_core::proto::log::{FileReport, SetAlias, SetListed, UpgradeRoom};

impl ChatService {
    /// Gives an alias to a room that the caller is in.
    ///
    /// # Errors
    /// [`RefusalCode::AliasExists`](super::RefusalCode::AliasExists) if it is taken.
    pub async fn put_alias(&self, s: &CallerSession, alias: &str, room_id: &str) -> Result<(), RequestRefusal> {
        limits::check_name("alias", alias)?;
        limits::check_name("room_id", room_id)?;
        let set = SetAlias { alias: alias.into(), room_id: room_id.into() };
        expect_done(self.propose(decide::session_envelope(s, "", Command::SetAlias(set))?).await?)
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// [`RefusalCode::RoomNotFound`](super::RefusalCode::RoomNotFound) if there is no such alias.
    pub async fn remove_alias(&self, s: &CallerSession, alias: &str) -> Result<(), RequestRefusal> {
        limits::check_name("alias", alias)?;
        let set = SetAlias { alias: alias.into(), room_id: String::new() };
        expect_done(self.propose(decide::session_envelope(s, "", Command::SetAlias(set))?).await?)
    }

    /// Adds a room to the public directory, or removes it.
    pub async fn set_listed(&self, s: &CallerSession, room_id: &str, listed: bool) -> Result<(), RequestRefusal> {
        limits::check_name("room_id", room_id)?;
        let set = SetListed { room_id: room_id.into(), listed };
        expect_done(self.propose(decide::session_envelope(s, "", Command::SetListed(set))?).await?)
    }

    /// Replaces a room by a new one of another version.
    pub async fn upgrade_room(&self, s: &CallerSession, upgrade: UpgradeRoom) -> Result<RoomMade, RequestRefusal> {
        limits::check_name("room_id", &upgrade.room_id)?;
        limits::check_name("new_version", &upgrade.new_version)?;
        limits::check_count("additional_creators", upgrade.additional_creators.len())?;
        for user in &upgrade.additional_creators {
            limits::check_name("additional_creators", user)?;
        }
        let outcome = self.propose(decide::session_envelope(s, "", Command::UpgradeRoom(upgrade))?).await?;
        let position = outcome_position(&outcome);
        match outcome.kind {
            Some(Kind::RoomCreated(made)) => Ok(RoomMade { room_id: made.room_id, position }),
            other => Err(unexpected_outcome(other.as_ref())),
        }
    }

    /// Files a report for the administrators, and writes a line to the log of this pod.
    pub async fn file_report(&self, s: &CallerSession, report: FileReport) -> Result<(), RequestRefusal> {
        limits::optional_name("room_id", &report.room_id)?;
        limits::optional_name("event_id", &report.event_id)?;
        limits::optional_name("user_id", &report.user_id)?;
        limits::check_text("reason", &report.reason)?;
        let FileReport { room_id, event_id, user_id, .. } = report.clone();
        expect_done(self.propose(decide::session_envelope(s, "", Command::FileReport(report))?).await?)?;
        tracing::info!(reporter = %s.user_id, %room_id, %event_id, %user_id, "content was reported to the administrators");
        Ok(())
    }
}
