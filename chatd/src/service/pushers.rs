//! Pushers of the caller, and the list of what has notified the caller.

use super::write::expect_done;
use super::{CallerSession, ChatService, ReadConsistency, RequestRefusal, decide, limits};
use crate::push::{NotifiedPage, NotifiedQuery, check_gateway};
use quorate_core::proto::log::{SetPusher, command::Kind};

/// Maximum number of pushers of an account: each is one more request for each message. People have a handful of devices,
/// with an app or two on each.
const MAX_PUSHERS: u32 = 50;

/// Maximum length of a pushkey in bytes (specification, `POST /pushers/set`).
const MAX_PUSHKEY: usize = 512;

impl ChatService {
    /// Adds, changes or removes one of the caller's pushers; without a kind, it is removed. `url` is that of its gateway.
    pub async fn set_pusher(&self, s: &CallerSession, set: SetPusher, url: &str) -> Result<(), RequestRefusal> {
        limits::check_name("app_id", &set.app_id)?;
        limits::check_text("pushkey", &set.pushkey)?;
        if set.pushkey.is_empty() || set.pushkey.len() > MAX_PUSHKEY {
            return Err(RequestRefusal::invalid(format!("pushkey must have 1 to {MAX_PUSHKEY} bytes")));
        }
        for (field, text) in [
            ("app_display_name", &set.app_display_name),
            ("device_display_name", &set.device_display_name),
            ("profile_tag", &set.profile_tag),
            ("lang", &set.lang),
        ] {
            limits::check_text(field, text)?;
        }
        if !set.kind.is_empty() {
            check_gateway(url).map_err(RequestRefusal::invalid)?;
            limits::check_json_object("data", &set.data)?;
        }
        let set = SetPusher { max_pushers: MAX_PUSHERS, ..set };
        expect_done(self.propose(decide::session_envelope(s, "", Kind::SetPusher(set))?).await?)
    }

    /// Returns a page of the events that have notified the caller.
    ///
    /// # Errors
    /// The refusals of reads.
    pub(crate) async fn notified_events(
        &self,
        s: &CallerSession,
        query: NotifiedQuery,
    ) -> Result<NotifiedPage, RequestRefusal> {
        let counter = self.inner.unread.clone();
        let localpart = s.localpart.clone();
        let question = move |view: &quorate_core::query::StateView<'_>| counter.notified(view, &localpart, query);
        Ok(self.read(ReadConsistency::Linearizable, question).await?.0)
    }
}
