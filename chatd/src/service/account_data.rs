//! Account data: pieces that are replaced whole, and changes that are derived from what is there.

use super::write::expect_done;
use super::{CallerSession, ChatService, ReadConsistency, RefusalCode, RequestRefusal, decide};
use bytes::Bytes;
use quorate_core::proto::log::PutAccountData;
use quorate_core::query::StateView;

/// Number of times that a change is tried: each failure means that another request of the same user succeeded.
const UPDATE_ATTEMPTS: usize = 5;

impl ChatService {
    /// Stores account data; an empty `room_id` means global account data.
    pub async fn put_account_data(
        &self,
        s: &CallerSession,
        room_id: &str,
        event_type: &str,
        content: Bytes,
    ) -> Result<(), RequestRefusal> {
        let data =
            PutAccountData { room_id: room_id.into(), r#type: event_type.into(), content, ..self.within_quota() };
        expect_done(self.propose(decide::put_account_data(s, data)?).await?)
    }

    /// Changes a piece of global account data: `change` makes the new content from the present one, if there is any. It
    /// is called again if another request changes the same data meanwhile, so that no change is lost.
    pub async fn update_account_data<F>(
        &self,
        s: &CallerSession,
        event_type: &'static str,
        change: F,
    ) -> Result<(), RequestRefusal>
    where
        F: Fn(Option<&Bytes>) -> Result<Bytes, RequestRefusal>,
    {
        let mut failed = 0;
        loop {
            let localpart = s.localpart.clone();
            let question = move |view: &StateView<'_>| view.account_data_version(&localpart, event_type);
            let present = self.read(ReadConsistency::Linearizable, question).await?.0;
            let content = change(present.as_ref().map(|(content, _)| content))?;
            let replaces = present.map(|(_, version)| version).unwrap_or_default();
            let data = PutAccountData {
                r#type: event_type.into(),
                content,
                replaces: Some(replaces.0),
                ..self.within_quota()
            };
            match self.propose(decide::put_account_data(s, data)?).await {
                Err(refusal) if refusal.code == RefusalCode::Conflict && failed + 1 < UPDATE_ATTEMPTS => failed += 1,
                answer => return expect_done(answer?),
            }
        }
    }

    /// Returns a command with the account's limits, which apply must know whatever the configurations of pods say.
    fn within_quota(&self) -> PutAccountData {
        let quotas = self.quotas();
        PutAccountData {
            max_entries: quotas.account_data_entries,
            max_bytes: u64::from(quotas.account_data_mebibytes) << 20,
            ..PutAccountData::default()
        }
    }
}
