//! Acts of administrators about rooms, and the list of all of them.

use super::write::{expect_done, unexpected_outcome};
use super::{Administrator, ChatService, ReadConsistency, RefusalCode, RequestRefusal, limits};
use quorate_core::id::RoomNumber;
use quorate_core::proto::log::administer::Action;
use quorate_core::proto::log::{BlockRoom, DeleteRoom, RoomCleared, outcome};
use quorate_core::query::{ListedRoom, ListedRooms, StateView};

impl ChatService {
    /// Returns a page of all rooms, as [`StateView::list_rooms`] does.
    ///
    /// # Errors
    /// The refusals of reads.
    pub async fn list_all_rooms(
        &self,
        term: String,
        after: Option<RoomNumber>,
        limit: usize,
    ) -> Result<ListedRooms, RequestRefusal> {
        let question = move |view: &StateView<'_>| view.list_rooms(&term, after, limit);
        Ok(self.read(ReadConsistency::Linearizable, question).await?.0)
    }

    /// Blocks a room, so that nobody enters it any more, or unblocks it.
    ///
    /// # Errors
    /// [`RefusalCode::NotFound`] if there is no such room, [`RefusalCode::Forbidden`] if it was deleted; the refusals of
    /// the proposer.
    pub async fn block_room(
        &self,
        by: &Administrator,
        room_id: &str,
        blocked: bool,
    ) -> Result<ListedRoom, RequestRefusal> {
        self.governed_room(room_id).await?;
        let block = BlockRoom { room_id: room_id.to_owned(), blocked };
        expect_done(self.administer(by, Action::BlockRoom(block)).await?)?;
        tracing::info!(%by, room_id, blocked, "an administrator blocked or unblocked a room");
        self.governed_room(room_id).await
    }

    /// Deletes a room, or tells how far its deletion is: the cluster goes on by itself. Returns what this call did.
    ///
    /// # Errors
    /// [`RefusalCode::NotFound`] if there is no such room; the refusals of the proposer.
    pub async fn delete_room(
        &self,
        by: &Administrator,
        room_id: &str,
        reason: String,
    ) -> Result<(ListedRoom, RoomCleared), RequestRefusal> {
        limits::check_text("reason", &reason)?;
        let before = self.governed_room(room_id).await?;
        let delete = DeleteRoom { room_id: room_id.to_owned(), reason };
        let cleared = match self.administer(by, Action::DeleteRoom(delete)).await?.kind {
            Some(outcome::Kind::RoomCleared(cleared)) => cleared,
            other => return Err(unexpected_outcome(other.as_ref())),
        };
        if !before.deleted {
            tracing::info!(%by, room_id, members = before.summary.joined_members, "an administrator deleted a room");
        }
        Ok((self.governed_room(room_id).await?, cleared))
    }

    async fn governed_room(&self, room_id: &str) -> Result<ListedRoom, RequestRefusal> {
        limits::check_name("room_id", room_id)?;
        let id = room_id.to_owned();
        let (found, _) = self.read(ReadConsistency::Linearizable, move |view| view.find_room(&id)).await?;
        found.ok_or_else(|| RequestRefusal::new(RefusalCode::NotFound, format!("there is no room {room_id:?}")))
    }
}
