//! Dehydrated device of the caller: leaving one with the server, and removing it.

use super::write::{WriteProposal, expect_done, unexpected_outcome};
use super::{CallerSession, ChatService, RequestRefusal, limits};
use quorate_core::proto::log::{DeleteDehydratedDevice, PutDehydratedDevice, command, outcome::Kind};

impl ChatService {
    /// Replaces the caller's dehydrated device.
    ///
    /// # Errors
    /// [`super::RefusalCode::Invalid`], [`super::RefusalCode::BadJson`], [`super::RefusalCode::TooLarge`] and the refusals
    /// of the proposer.
    pub async fn put_dehydrated_device(
        &self,
        session: &CallerSession,
        put: PutDehydratedDevice,
    ) -> Result<(), RequestRefusal> {
        limits::check_name("device_id", &put.device_id)?;
        limits::check_json_object("device_data", &put.data)?;
        expect_done(self.propose(WriteProposal::of_session(session, command::Kind::PutDehydratedDevice(put))).await?)
    }

    /// Removes the caller's dehydrated device, and returns its id.
    ///
    /// # Errors
    /// [`super::RefusalCode::NotFound`] if there is none; the refusals of the proposer.
    pub async fn delete_dehydrated_device(&self, session: &CallerSession) -> Result<String, RequestRefusal> {
        let delete = command::Kind::DeleteDehydratedDevice(DeleteDehydratedDevice {});
        match self.propose(WriteProposal::of_session(session, delete)).await?.kind {
            Some(Kind::DehydratedDeviceDeleted(deleted)) => Ok(deleted.device_id),
            other => Err(unexpected_outcome(other.as_ref())),
        }
    }
}
