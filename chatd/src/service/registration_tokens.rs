//! Registration tokens that administrators hand out. A token is a secret, so that no line of the log names one.

use super::write::{expect_done, no_randomness};
use super::{Administrator, ChatService, ReadConsistency, RefusalCode, RequestRefusal, limits, token};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use quorate_core::proto::log::administer::Action;
use quorate_core::proto::log::{DeleteRegistrationToken, PutRegistrationToken};
use quorate_core::query::RegistrationTokenInfo;

/// Number of random bytes of a token that the server chooses: 16 letters, which nobody guesses and people can type.
const TOKEN_BYTES: usize = 12;

impl ChatService {
    /// Creates a registration token, or changes the limits of one. An empty name lets the server choose one.
    ///
    /// # Errors
    /// [`RefusalCode::Invalid`] for letters that no token has, [`RefusalCode::Forbidden`] if there are too many tokens;
    /// the refusals of the proposer.
    pub async fn put_registration_token(
        &self,
        by: &Administrator,
        mut put: PutRegistrationToken,
    ) -> Result<RegistrationTokenInfo, RequestRefusal> {
        limits::optional_name("token", &put.token)?;
        if put.token.is_empty() {
            let random = token::random_bytes::<TOKEN_BYTES>().map_err(no_randomness)?;
            put.token = URL_SAFE_NO_PAD.encode(random);
        }
        let name = put.token.clone();
        let uses_allowed = put.uses_allowed;
        let expires_ms = put.expires_ms;
        expect_done(self.administer(by, Action::PutRegistrationToken(put)).await?)?;
        tracing::info!(%by, ?uses_allowed, expires_ms, "an administrator created or changed a registration token");
        let (made, _) = self.read(ReadConsistency::Linearizable, move |view| view.registration_token(&name)).await?;
        // Another administrator may have deleted it meanwhile.
        made.ok_or_else(|| RequestRefusal::new(RefusalCode::NotFound, "the token was deleted meanwhile"))
    }

    /// Deletes a registration token. One that does not exist is no error.
    ///
    /// # Errors
    /// The refusals of the proposer.
    pub async fn delete_registration_token(&self, by: &Administrator, name: String) -> Result<(), RequestRefusal> {
        limits::check_name("token", &name)?;
        let delete = DeleteRegistrationToken { token: name };
        expect_done(self.administer(by, Action::DeleteRegistrationToken(delete)).await?)?;
        tracing::info!(%by, "an administrator deleted a registration token");
        let _ = self.catch_up_with_leader().await;
        Ok(())
    }

    /// Returns a page of registration tokens in byte order.
    ///
    /// # Errors
    /// The refusals of reads.
    pub async fn registration_tokens(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<RegistrationTokenInfo>, RequestRefusal> {
        let question =
            move |view: &quorate_core::query::StateView<'_>| view.registration_tokens(after.as_deref(), limit);
        Ok(self.read(ReadConsistency::Linearizable, question).await?.0)
    }
}
