//! Configuration as written: for each key the last of default, file, environment and flag that sets it, as text
//! together with its place, so that an error can say where the value is written.

use super::{ConfigError, ConfigKey, KEYS};
use serde_yaml_ng::Value;
use std::collections::BTreeMap;
use std::{fs, path::Path};

/// Value of a key and the place where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenSetting {
    /// Text of the value as written.
    pub value: String,
    /// Place in words: "file x.yaml", "environment variable X" or "flag --x".
    pub from: String,
}

/// Settings by path of their keys; later layers replace earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenConfig {
    settings: BTreeMap<&'static str, WrittenSetting>,
}

impl WrittenConfig {
    /// Returns the setting of a key, or `None` if nothing sets it.
    #[must_use]
    pub fn get(&self, key: &ConfigKey) -> Option<&WrittenSetting> {
        self.settings.get(key.path)
    }

    /// Adds the settings of a file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is not YAML, or contains an unknown key or a value of the wrong
    /// shape.
    pub fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        self.add_yaml(&text, path)
    }

    /// Adds the settings in the text of a file. `path` is only used in error messages.
    pub fn add_yaml(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let parsed: Value =
            serde_yaml_ng::from_str(text).map_err(|source| ConfigError::Yaml { path: path.to_owned(), source })?;
        self.add_node("", &parsed, &format!("file {}", path.display()))
    }

    /// Adds the settings of the environment; `lookup` returns the value of a variable.
    pub fn add_environment(&mut self, lookup: impl Fn(&str) -> Option<String>) {
        for key in KEYS {
            let name = key.env();
            if let Some(value) = lookup(&name) {
                self.settings.insert(key.path, WrittenSetting { value, from: format!("environment variable {name}") });
            }
        }
    }

    /// Adds the value of a flag.
    pub fn add_flag(&mut self, key: &'static ConfigKey, value: String) {
        self.settings.insert(key.path, WrittenSetting { value, from: format!("flag --{}", key.flag()) });
    }

    fn add_node(&mut self, path: &str, node: &Value, from: &str) -> Result<(), ConfigError> {
        let key = KEYS.iter().find(|key| key.path == path);
        let is_section =
            path.is_empty() || KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|r| r.starts_with('.')));
        let shape = |expected| ConfigError::Shape { from: from.to_owned(), key: path.to_owned(), expected };
        match (key, node) {
            (None, _) if !is_section => {
                Err(ConfigError::UnknownKey { from: from.to_owned(), key: path.to_owned(), nearest: nearest_key(path) })
            }
            (None, Value::Mapping(fields)) => fields.iter().try_for_each(|(name, value)| {
                let name = name.as_str().ok_or_else(|| shape("a section whose keys are strings"))?;
                let inner = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                self.add_node(&inner, value, from)
            }),
            // An empty section.
            (None, Value::Null) => Ok(()),
            (None, _) if path.is_empty() => Err(ConfigError::Shape {
                from: from.to_owned(),
                key: "(the whole file)".into(),
                expected: "a mapping of keys to values",
            }),
            (None, _) => Err(shape("a section of keys")),
            (Some(key), node) => {
                let value = scalar_text(node).ok_or_else(|| shape("a single value"))?;
                self.settings.insert(key.path, WrittenSetting { value, from: from.to_owned() });
                Ok(())
            }
        }
    }
}

fn scalar_text(node: &Value) -> Option<String> {
    match node {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

/// Returns the key that a mistyped path probably means: the same path apart from case, hyphens and underscores, or one
/// with the same last word.
fn nearest_key(path: &str) -> Option<&'static str> {
    let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
    let last = |text: &str| plain(text.rsplit('.').next().unwrap_or(text));
    let same = |compare: &dyn Fn(&str) -> bool| KEYS.iter().map(|key| key.path).find(|known| compare(known));
    same(&|known| plain(known) == plain(path)).or_else(|| same(&|known| last(known) == last(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Result<WrittenConfig, String> {
        let mut written = WrittenConfig::default();
        written.add_yaml(text, Path::new("c.yaml")).map(|()| written).map_err(|e| e.to_string())
    }

    fn value(written: &WrittenConfig, path: &str) -> Option<String> {
        KEYS.iter().find(|key| key.path == path).and_then(|key| written.get(key)).map(|s| s.value.clone())
    }

    #[test]
    fn later_layers_win() {
        let mut written = yaml("serverName: a.org\nlisten: {grpc: '1.2.3.4:1'}\nrateLimit: {messages: 5}\n").unwrap();
        assert_eq!(value(&written, "rateLimit.messages").as_deref(), Some("5"));
        written.add_environment(|name| (name == "QUORATE_LISTEN_GRPC").then(|| "1.2.3.4:2".to_owned()));
        assert_eq!(value(&written, "listen.grpc").as_deref(), Some("1.2.3.4:2"));
        let key = KEYS.iter().find(|key| key.path == "listen.grpc").unwrap();
        written.add_flag(key, "1.2.3.4:3".into());
        assert_eq!(written.get(key).unwrap().from, "flag --listen-grpc");
        assert_eq!(value(&written, "serverName").as_deref(), Some("a.org"));
    }

    #[test]
    fn unknown_keys_are_named_with_their_path() {
        let error = yaml("listen: {grcp: '1'}").unwrap_err();
        assert!(error.contains("c.yaml") && error.contains("`listen.grcp`"), "{error}");
        let error = yaml("server-name: a.org").unwrap_err();
        assert!(error.contains("did you mean `serverName`"), "{error}");
        let error = yaml("heartbeatInterval: 50ms").unwrap_err();
        assert!(error.contains("did you mean `raft.heartbeatInterval`"), "{error}");
    }

    #[test]
    fn wrong_shapes_are_named_with_their_path() {
        for (text, key) in
            [("serverName: [a]", "serverName"), ("listen: 5", "listen"), ("- a", "whole file"), ("dataDir:", "dataDir")]
        {
            let error = yaml(text).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        assert!(yaml("a: [").unwrap_err().contains("YAML"));
        assert!(yaml("").is_ok() && yaml("tls:").is_ok());
    }
}
