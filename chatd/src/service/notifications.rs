//! Unread notifications of the caller's rooms.

use super::{CallerSession, ChatService, ReadConsistency, RefusalCode, RequestRefusal};
use crate::push::UnreadCounts;
use quorate_core::id::RoomNumber;
use quorate_core::query::StateView;
use std::collections::BTreeMap;

/// Number of rooms up to which remembered counts are brought up to date on the caller's thread: some rows for each,
/// where a change of thread costs more.
const FEW_ROOMS: usize = 4;

impl ChatService {
    /// Counts the unread notifications of the caller in rooms, as of what this pod has applied. A caller whom the feed
    /// has woken comes after those who ask. While too many reads wait, the rooms have no counts: their next news do.
    ///
    /// # Errors
    /// The refusals of reads, except for those of a busy pod.
    pub(crate) async fn unread_counts(
        &self,
        s: &CallerSession,
        rooms: Vec<RoomNumber>,
        was_woken: bool,
    ) -> Result<BTreeMap<RoomNumber, UnreadCounts>, RequestRefusal> {
        if rooms.is_empty() {
            return Ok(BTreeMap::new());
        }
        let counter = &self.inner.unread;
        if rooms.len() <= FEW_ROOMS
            && let Some(counts) = self.glance(|view| counter.count_quickly(view, &s.localpart, &rooms))?
        {
            return Ok(counts);
        }
        let counter = counter.clone();
        let localpart = s.localpart.clone();
        let question = move |view: &StateView<'_>| counter.count(view, &localpart, &rooms);
        let counted = if was_woken {
            self.read_woken(question).await
        } else {
            self.read(ReadConsistency::Local, question).await.map(|(counts, _)| counts)
        };
        match counted {
            Err(refusal) if matches!(refusal.code, RefusalCode::Overloaded | RefusalCode::LimitExceeded) => {
                Ok(BTreeMap::new())
            }
            counted => counted,
        }
    }
}
