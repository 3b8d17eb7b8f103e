//! Secrets that the configuration names by file, read once at startup.

use crate::config::{AccountRules, Config, JwtRules, RegistrationMode};
use crate::exit::{ExitReason, ProcessFailure};
use crate::service::{AccountPolicy, JwtKey, JwtPolicy, SecretText, TermsOfService};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Largest file that is taken for a secret, in bytes; a longer one is another file.
const MAX_BYTES: usize = 4096;

/// Number of bytes that are read of a file: one more, by which a longer file is noticed.
const READ_BYTES: u64 = 4097;

/// Returns the rules for accounts with the secrets that they name.
///
/// # Errors
/// If a file cannot be read, or holds no secret.
pub(super) fn account_policy(config: &Config) -> Result<AccountPolicy, ProcessFailure> {
    let AccountRules {
        registration_token_file,
        shared_secret_file,
        notices_user,
        terms_url,
        terms_version,
        base_url,
        access_token_lifetime,
        jwt,
    } = &config.accounts;
    let by_token = config.registration == RegistrationMode::Token;
    let token_file = registration_token_file.as_deref().filter(|_| by_token);
    Ok(AccountPolicy {
        registration_by_token: by_token,
        registration_token: token_file.map(|path| read_secret("accounts.registrationTokenFile", path)).transpose()?,
        shared_secret: shared_secret_file
            .as_deref()
            .map(|path| read_secret("accounts.sharedSecretFile", path))
            .transpose()?,
        notices_user: notices_user.clone(),
        terms: terms_url.clone().map(|url| TermsOfService { url, version: terms_version.clone() }),
        base_url: base_url.clone(),
        access_token_lifetime: *access_token_lifetime,
        jwt: jwt_policy(jwt)?,
    })
}

fn jwt_policy(rules: &JwtRules) -> Result<Option<JwtPolicy>, ProcessFailure> {
    const KEY: &str = "accounts.jwt.keyFile";
    let JwtRules { algorithm: Some(algorithm), key_file: Some(path), issuer, audiences, leeway } = rules else {
        return Ok(None);
    };
    let text = read_text(KEY, path)?;
    let key = JwtKey::read(*algorithm, &text).map_err(|why| file_failure(KEY, path, &why))?;
    Ok(Some(JwtPolicy { key, issuer: issuer.clone(), audiences: audiences.clone(), leeway: *leeway }))
}

fn read_secret(key: &str, path: &Path) -> Result<SecretText, ProcessFailure> {
    read_text(key, path).map(SecretText::new)
}

fn file_failure(key: &str, path: &Path, why: &str) -> ProcessFailure {
    ProcessFailure::new(ExitReason::Config, format!("cannot use the file {} ({key}): {why}", path.display()))
}

/// Reads the text of a file, without white space around it, as editors end files with a line feed.
fn read_text(key: &str, path: &Path) -> Result<String, ProcessFailure> {
    let failure = |why: String| file_failure(key, path, &why);
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failure(error.to_string()))?;
    file.take(READ_BYTES).read_to_string(&mut text).map_err(|error| failure(error.to_string()))?;
    match text.trim() {
        "" => Err(failure("it is empty".into())),
        secret if text.len() <= MAX_BYTES => Ok(secret.to_owned()),
        _ => Err(failure(format!("it has more than {MAX_BYTES} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_text_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "complement\n").unwrap();
        assert!(read_secret("k", &path).unwrap().is("complement"));
        for wrong in ["", " \n", &"x".repeat(4097)] {
            std::fs::write(&path, wrong).unwrap();
            assert!(read_secret("k", &path).unwrap_err().to_string().contains("(k)"));
        }
        assert!(read_secret("k", &dir.path().join("other")).is_err());
    }
}
