//! Description of one configuration key, and its names in the environment and among the flags.

use crate::config::Config;
use serde_json::Value;

/// Configuration key: its name, the values that it accepts and its field in [`Config`].
pub struct ConfigKey {
    /// Path in the file, with sections separated by dots.
    pub path: &'static str,
    /// Description of the accepted values, for the reference.
    pub kind: &'static str,
    /// Value if nothing sets the key.
    pub default: KeyDefault,
    /// Explanation for the reference: the effect of the key, and when to change it.
    pub meaning: &'static str,
    pub(in crate::config) set: fn(&mut Config, &str) -> Result<(), String>,
    pub(in crate::config) show: fn(&Config) -> Value,
}

/// Value of a key that nothing sets.
#[derive(Clone, Copy, Debug)]
pub enum KeyDefault {
    /// The key has no default and must be set.
    Required,
    /// A fixed default value.
    Value(&'static str),
    /// The default is derived from other things, which this text describes.
    Computed(&'static str),
}

impl ConfigKey {
    /// Returns the name of the environment variable, such as `QUORATE_LISTEN_HTTP` for `listen.http`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("QUORATE_{}", self.words('_').to_ascii_uppercase())
    }

    /// Returns the name of the flag without leading dashes, such as `listen-http` for `listen.http`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.words('-').to_ascii_lowercase()
    }

    fn words(&self, between: char) -> String {
        let mut out = String::new();
        for c in self.path.chars() {
            match c {
                '.' => out.push(between),
                c if c.is_ascii_uppercase() => out.extend([between, c]),
                c => out.push(c),
            }
        }
        out
    }
}
