//! Sources of a password: never the command line, which every process of the machine can read.

use crate::error::Error;
use clap::Args;
use std::{env, io};

/// Environment variable that holds the password for scripts.
pub const VARIABLE: &str = "QUORATE_PASSWORD";

/// Options that say how the password is given.
#[derive(Debug, Clone, Args)]
pub struct PasswordSource {
    /// Read the password from the first line of standard input instead of prompting for it
    ///
    /// Otherwise the password is taken from the environment variable QUORATE_PASSWORD, or prompted for without echo.
    #[arg(long)]
    pub password_stdin: bool,
}

impl PasswordSource {
    /// Reads the password; prompts twice if `confirm` is set and a person types it.
    ///
    /// # Errors
    /// [`Error::Password`] says why there is no password.
    pub fn read(&self, confirm: bool) -> Result<String, Error> {
        let password = if self.password_stdin { from_stdin()? } else { from_environment_or_prompt(confirm)? };
        if password.is_empty() {
            return Err(Error::Password("empty input".to_owned()));
        }
        Ok(password)
    }
}

fn from_stdin() -> Result<String, Error> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|e| Error::Password(format!("standard input: {e}")))?;
    // The line end alone, because a password may end with spaces.
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn from_environment_or_prompt(confirm: bool) -> Result<String, Error> {
    if let Ok(password) = env::var(VARIABLE) {
        return Ok(password);
    }
    let password = prompt("Password: ")?;
    if confirm && prompt("Confirm password: ")? != password {
        return Err(Error::Password("the passwords do not match".to_owned()));
    }
    Ok(password)
}

fn prompt(text: &str) -> Result<String, Error> {
    rpassword::prompt_password(text).map_err(|e| {
        Error::Password(format!("cannot prompt for it here ({e}): use --password-stdin or set {VARIABLE}"))
    })
}
