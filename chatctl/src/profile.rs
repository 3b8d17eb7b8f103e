//! The profile file: servers and session of each profile, readable by its owner only.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    env,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Servers and a session on them, stored under a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Addresses of the servers, as `host:port` or `https://host:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// PEM file with the authorities that sign the servers' certificates; TLS is used if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Name expected in the servers' certificates instead of the host connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
    /// Full user id of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Device id of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Access token of the session: whoever reads it can act as the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileContent {
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// File that holds all profiles.
#[derive(Debug, Clone)]
pub struct ProfileStore {
    path: PathBuf,
}

impl ProfileStore {
    /// Creates a store for the file at `path`, which need not exist.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the path of the user's own file: `$XDG_CONFIG_HOME/quorate/profiles.json`, or the same below
    /// `~/.config`.
    ///
    /// # Errors
    /// Returns an error if neither `XDG_CONFIG_HOME` nor `HOME` names a directory.
    pub fn default_path() -> Result<PathBuf, Error> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let base = base.ok_or_else(|| {
            Error::Usage("neither HOME nor XDG_CONFIG_HOME is set: pass --profile-file PATH".to_owned())
        })?;
        Ok(base.join("quorate").join("profiles.json"))
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads one profile; returns an empty one if the file or the profile does not exist.
    ///
    /// # Errors
    /// [`Error::BadFile`] if other users may access the file, or if its content is not what this program writes.
    pub fn load(&self, name: &str) -> Result<Profile, Error> {
        Ok(self.read()?.profiles.remove(name).unwrap_or_default())
    }

    /// Changes one profile. The file is replaced atomically, with mode 0600.
    ///
    /// # Errors
    /// Returns the errors of [`Self::load`], or an error if the directory cannot be written.
    pub fn update(&self, name: &str, change: impl FnOnce(&mut Profile)) -> Result<(), Error> {
        let directory = self.directory()?;
        // Without a lock, two commands at once would each overwrite what the other had changed.
        let _lock = self.lock()?;
        let mut content = self.read()?;
        let profile = content.profiles.entry(name.to_owned()).or_default();
        change(profile);
        if *profile == Profile::default() {
            content.profiles.remove(name);
        }
        let text = serde_json::to_vec_pretty(&content).map_err(|e| Error::file(&self.path)(e.into()))?;
        replace_file(&directory, &self.path, &text).map_err(Error::file(&self.path))
    }

    fn directory(&self) -> Result<PathBuf, Error> {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new(".")).to_owned();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(Error::file(&directory))?;
        Ok(directory)
    }

    fn lock(&self) -> Result<File, Error> {
        let mut path = self.path.clone().into_os_string();
        // A file of its own, because the profile file is replaced: a lock on the replaced one would exclude nobody.
        path.push(".lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let locked = opened.and_then(|file| file.lock().map(|()| file));
        locked.map_err(Error::file(path))
    }

    fn read(&self) -> Result<FileContent, Error> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(FileContent::default()),
            Err(error) => return Err(Error::file(&self.path)(error)),
        };
        let bad = |problem: String| Error::BadFile { path: self.path.clone(), problem };
        // The mode is that of the open file, not of the path, which may point elsewhere a moment later.
        let mode = file.metadata().map_err(Error::file(&self.path))?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = self.path.display();
            return Err(bad(format!(
                "contains access tokens, but mode {mode:04o} gives other users access: run chmod 600 {path}"
            )));
        }
        serde_json::from_reader(std::io::BufReader::new(file))
            .map_err(|e| bad(format!("is not a valid profile file ({e}): fix it, or remove it and log in again")))
    }
}

/// Writes a temporary file beside the target, syncs it, and renames it over the target. Temporary files of `tempfile`
/// have mode 0600 from the start.
fn replace_file(directory: &Path, path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text)?;
    file.write_all(b"\n")?;
    // Before the rename: after a crash the name must not stand for a file whose content was never written.
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ProfileStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = ProfileStore::new(directory.path().join("deep/profiles.json"));
        (directory, store)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_profile_comes_back_as_it_was_written_and_the_file_is_private() {
        let (_directory, store) = store();
        store.update("work", |p| p.token = Some("secret".into())).unwrap();
        store.update("home", |p| p.servers = vec!["h:7400".into()]).unwrap();
        assert_eq!(store.load("work").unwrap().token.as_deref(), Some("secret"));
        assert_eq!(store.load("home").unwrap().servers, ["h:7400"]);
        assert_eq!(mode(store.path()), 0o600);
        assert_eq!(mode(store.path().parent().unwrap()), 0o700);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_what_to_do() {
        let (_directory, store) = store();
        store.update("work", |p| p.token = Some("secret".into())).unwrap();
        for open in [0o640, 0o604, 0o660, 0o644] {
            fs::set_permissions(store.path(), fs::Permissions::from_mode(open)).unwrap();
            let error = store.load("work").unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{error}");
            assert_eq!(error.exit_code(), crate::exit::LOCAL);
            assert!(store.update("work", |_| ()).is_err());
        }
    }

    #[test]
    fn a_missing_file_is_an_empty_profile_and_a_broken_one_is_named() {
        let (_directory, store) = store();
        assert_eq!(store.load("any").unwrap(), Profile::default());
        store.update("work", |p| p.user = Some("u".into())).unwrap();
        fs::write(store.path(), "{\"profiles\": 7}").unwrap();
        assert!(store.load("work").unwrap_err().to_string().contains("profiles.json"));
    }

    #[test]
    fn nothing_but_the_file_and_its_lock_is_left_behind() {
        let (_directory, store) = store();
        for _ in 0..3 {
            store.update("work", |p| p.user = Some("u".into())).unwrap();
        }
        let names = fs::read_dir(store.path().parent().unwrap()).unwrap().count();
        assert_eq!(names, 2);
    }
}
