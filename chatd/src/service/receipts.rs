//! Entries that a user keeps about rooms and about itself, one at a time: receipts, tags, and fields of the profile.

use super::write::expect_done;
use super::{CallerSession, ChatService, RefusalCode, RequestRefusal, decide, limits};
use bytes::Bytes;
use quorate_core::proto::log::{ChangeTag, Envelope, SetProfileField, SetReceipts, command::Kind};
use quorate_core::receipt::ReceiptKind;
use std::collections::BTreeSet;

impl ChatService {
    /// Moves the caller's receipts in a room forward. Receipts that are there already, or further on, cost no write.
    pub async fn set_receipts(&self, s: &CallerSession, receipts: SetReceipts) -> Result<(), RequestRefusal> {
        if receipts.read.is_empty() && receipts.read_private.is_empty() && receipts.fully_read.is_empty() {
            return Ok(());
        }
        let envelope = receipts_envelope(s, receipts.clone())?;
        let localpart = s.localpart.clone();
        // What this pod has applied is enough to know: receipts never move back.
        if self.glance(|view| view.has_read(&localpart, &receipts))? {
            return Ok(());
        }
        expect_done(self.propose(envelope).await?)
    }

    /// Marks a room as read up to an event, for everybody in it to know or for the caller alone; an empty `thread_id`
    /// means regardless of threads.
    pub async fn mark_read(
        &self,
        s: &CallerSession,
        room_id: &str,
        event_id: &str,
        kind: ReceiptKind,
        thread_id: &str,
    ) -> Result<(), RequestRefusal> {
        limits::check_name("event_id", event_id)?;
        let mut receipts =
            SetReceipts { room_id: room_id.into(), thread_id: thread_id.into(), ..SetReceipts::default() };
        match kind {
            ReceiptKind::Public => receipts.read = event_id.into(),
            ReceiptKind::Private => receipts.read_private = event_id.into(),
        }
        self.set_receipts(s, receipts).await
    }

    /// Sets a tag of a room with what describes it, or removes it.
    pub async fn change_tag(
        &self,
        s: &CallerSession,
        room_id: &str,
        tag: &str,
        info: Option<Bytes>,
    ) -> Result<(), RequestRefusal> {
        let quotas = self.quotas();
        let change = ChangeTag {
            room_id: room_id.into(),
            tag: tag.into(),
            info,
            max_entries: quotas.account_data_entries,
            max_bytes: u64::from(quotas.account_data_mebibytes) << 20,
        };
        expect_done(self.propose(tag_envelope(s, change)?).await?)
    }

    /// Sets a field of the caller's profile to a JSON value, or removes it.
    pub async fn set_profile_field(
        &self,
        s: &CallerSession,
        name: &str,
        value: Option<Bytes>,
    ) -> Result<(), RequestRefusal> {
        if let Some(value) = value.as_ref().filter(|value| value.len() > limits::MAX_EVENT) {
            let message = format!("the field has {} bytes; a profile has at most {}", value.len(), limits::MAX_EVENT);
            return Err(RequestRefusal::new(RefusalCode::TooLarge, message));
        }
        let change = Kind::SetProfileField(SetProfileField { name: name.into(), value });
        expect_done(self.propose(decide::session_envelope(s, "", change)?).await?)
    }

    /// Returns the ids of the users whom the caller ignores, as this pod knows.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn ignored_by(&self, s: &CallerSession) -> Result<BTreeSet<String>, RequestRefusal> {
        self.glance(|view| view.users_ignored_by(&s.localpart))
    }
}

fn receipts_envelope(s: &CallerSession, receipts: SetReceipts) -> Result<Envelope, RequestRefusal> {
    limits::check_name("room_id", &receipts.room_id)?;
    limits::optional_name("event_id", &receipts.read)?;
    limits::optional_name("event_id", &receipts.read_private)?;
    limits::optional_name("event_id", &receipts.fully_read)?;
    limits::optional_name("thread_id", &receipts.thread_id)?;
    decide::session_envelope(s, "", Kind::SetReceipts(receipts))
}

fn tag_envelope(s: &CallerSession, change: ChangeTag) -> Result<Envelope, RequestRefusal> {
    limits::check_name("room_id", &change.room_id)?;
    if change.tag.is_empty() || change.tag.len() > limits::MAX_NAME {
        return Err(RequestRefusal::invalid(format!("a tag must have 1 to {} bytes", limits::MAX_NAME)));
    }
    if let Some(info) = &change.info {
        limits::check_json_object("the body", info)?;
    }
    decide::session_envelope(s, "", Kind::ChangeTag(change))
}
