//! Manifest of a snapshot: its file, and the checks of one that comes from another pod.

use super::SnapshotError;
use crate::raft::codec::{log_id_from_pb, membership_from_pb};
use crate::raft::types::{SnapshotMeta, StoredMembership};
use crate::store::{CheckpointContents, StoreError, write_durably};
use bytes::Bytes;
use prost::Message as _;
use quorate_core::apply::KnownFormat;
use quorate_core::proto::log;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Version of the manifest and of the directory that it describes.
pub(crate) const VERSION: u32 = 1;
/// Largest length of a name, which is a file in one directory; RocksDB's names are shorter.
const NAME_LIMIT: usize = 64;
/// Largest number of files: at 64 MiB a file this is 6 TiB, so a manifest with more is not valid.
const FILE_LIMIT: usize = 100_000;

/// A manifest that has been checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CheckedManifest {
    message: log::Manifest,
    /// Content of the file: CRC-32 of the message (big-endian), then the message.
    encoded: Bytes,
}

impl CheckedManifest {
    /// Describes a checkpoint with these contents and files.
    pub(super) fn describe(id: String, contents: &CheckpointContents, files: Vec<log::File>) -> Self {
        let message = log::Manifest {
            version: VERSION,
            snapshot_id: id,
            cluster_id: contents.cluster_id.clone().unwrap_or_default(),
            last_applied: contents.applied.log_id,
            membership_log_id: contents.applied.membership.log_id,
            membership: Some(contents.applied.membership.members.clone()),
            files,
            format_level: KnownFormat::encode_level(contents.format_level),
        };
        let body = message.encode_to_vec();
        let encoded = [&crc32fast::hash(&body).to_be_bytes(), body.as_slice()].concat().into();
        Self { message, encoded }
    }

    /// Parses and checks the content of a manifest file.
    pub(super) fn parse(encoded: Bytes) -> Result<Self, SnapshotError> {
        let cut = || SnapshotError::manifest("it is cut short");
        let (crc, body) = encoded.split_first_chunk::<4>().ok_or_else(cut)?;
        if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return Err(SnapshotError::manifest("its checksum does not match"));
        }
        let message = log::Manifest::decode(encoded.slice(4..)).map_err(SnapshotError::manifest)?;
        check_manifest(&message)?;
        Ok(Self { message, encoded })
    }

    pub(super) fn load(path: &Path) -> Result<Self, SnapshotError> {
        Self::parse(fs::read(path).map_err(StoreError::io("reading", path))?.into())
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), StoreError> {
        write_durably(path, &self.encoded)
    }

    /// Returns the format level in force in the state.
    pub(super) fn format_level(&self) -> u32 {
        self.message.format_level.max(1)
    }

    pub(super) fn encoded(&self) -> Bytes {
        self.encoded.clone()
    }

    pub(super) fn id(&self) -> &str {
        &self.message.snapshot_id
    }

    /// Returns the cluster id; empty if the snapshot was made before the bootstrap command.
    pub(super) fn cluster_id(&self) -> &str {
        &self.message.cluster_id
    }

    /// Returns `true` if the snapshot is of this cluster, or of one that had no id yet.
    pub(super) fn is_of(&self, cluster_id: &str) -> bool {
        self.message.cluster_id.is_empty() || self.message.cluster_id == cluster_id
    }

    pub(super) fn last_applied(&self) -> Option<log::LogId> {
        self.message.last_applied
    }

    pub(super) fn files(&self) -> &[log::File] {
        &self.message.files
    }

    pub(super) fn file(&self, name: &str) -> Option<&log::File> {
        self.message.files.iter().find(|file| file.name == name)
    }

    /// Returns the size of all files, in bytes; parsing checked that the sum does not overflow.
    pub(super) fn size(&self) -> u64 {
        self.message.files.iter().map(|file| file.size).sum()
    }

    /// Returns `true` if these are the contents that the manifest promises.
    pub(super) fn promises(&self, contents: &CheckpointContents) -> bool {
        let membership = &contents.applied.membership;
        self.message.last_applied == contents.applied.log_id
            && self.message.membership_log_id == membership.log_id
            && self.message.membership.as_ref() == Some(&membership.members)
            && self.message.cluster_id == contents.cluster_id.as_deref().unwrap_or_default()
    }

    /// Returns openraft's description of the snapshot.
    pub(super) fn meta(&self) -> Result<SnapshotMeta, SnapshotError> {
        let last_membership = match &self.message.membership_log_id {
            None => StoredMembership::default(),
            Some(id) => {
                let members = membership_from_pb(self.message.membership.clone().unwrap_or_default())?;
                StoredMembership::new(Some(log_id_from_pb(id)), members)
            }
        };
        let last_log_id = self.message.last_applied.as_ref().map(log_id_from_pb);
        Ok(SnapshotMeta { last_log_id, last_membership })
    }
}

/// Returns `true` for a valid name. Names become paths on this pod, so another pod may not choose them freely.
fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !name.is_empty() && name.len() <= NAME_LIMIT && !name.starts_with('.') && name.bytes().all(allowed)
}

fn check_manifest(manifest: &log::Manifest) -> Result<(), SnapshotError> {
    let wrong = |what: String| Err(SnapshotError::Manifest { what });
    if manifest.version != VERSION {
        return wrong(format!(
            "its version is {}, but this build reads {VERSION}; run a newer chatd",
            manifest.version
        ));
    }
    if !is_name(&manifest.snapshot_id) {
        return wrong(format!("{:?} is not a snapshot id", manifest.snapshot_id));
    }
    if manifest.files.len() > FILE_LIMIT {
        return wrong(format!("it lists {} files, at most {FILE_LIMIT} are possible", manifest.files.len()));
    }
    if manifest.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.size)).is_none() {
        return wrong("its files are larger than any disk".into());
    }
    let mut names = HashSet::new();
    match manifest.files.iter().find(|file| !is_name(&file.name) || !names.insert(&file.name)) {
        Some(file) => wrong(format!("{:?} is not a file name or is listed twice", file.name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::AppliedState;

    fn with_files(names: &[&str]) -> CheckedManifest {
        let files = names.iter().map(|&name| log::File { name: name.into(), size: 1, crc32: 2 }).collect();
        let contents =
            CheckpointContents { applied: AppliedState::default(), cluster_id: Some("c".into()), format_level: 1 };
        CheckedManifest::describe("1-a".into(), &contents, files)
    }

    #[test]
    fn a_manifest_survives_its_bytes() {
        let manifest = with_files(&["CURRENT", "000001.sst"]);
        assert_eq!(CheckedManifest::parse(manifest.encoded()).unwrap(), manifest);
    }

    #[test]
    fn a_damaged_manifest_is_refused_at_every_byte() {
        let encoded = with_files(&["CURRENT"]).encoded();
        for at in 0..encoded.len() {
            let mut bytes = encoded.to_vec();
            bytes[at] ^= 1;
            assert!(CheckedManifest::parse(bytes.into()).is_err(), "byte {at}");
            assert!(CheckedManifest::parse(encoded.slice(..at)).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn names_that_lead_out_of_the_directory_are_refused() {
        for bad in ["", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\0b", &"x".repeat(65)] {
            assert!(CheckedManifest::parse(with_files(&[bad]).encoded()).is_err(), "{bad:?}");
        }
        assert!(CheckedManifest::parse(with_files(&["a", "a"]).encoded()).is_err(), "listed twice");
    }

    #[test]
    fn files_that_together_are_larger_than_a_number_are_refused() {
        let file = |name: &str| log::File { name: name.into(), size: u64::MAX / 2 + 1, crc32: 2 };
        let contents = CheckpointContents { applied: AppliedState::default(), cluster_id: None, format_level: 1 };
        let described = |files| CheckedManifest::describe("1-a".into(), &contents, files).encoded();
        assert_eq!(CheckedManifest::parse(described(vec![file("a")])).unwrap().size(), u64::MAX / 2 + 1);
        assert!(CheckedManifest::parse(described(vec![file("a"), file("b")])).is_err());
    }
}
