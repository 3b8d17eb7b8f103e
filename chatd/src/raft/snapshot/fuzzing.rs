//! Fuzz target for manifests; see [`crate::fuzzing`].

use super::manifest::CheckedManifest;
use bytes::Bytes;

/// Parses a manifest, and checks that everything asked of one from another pod can be answered. Returns `false` if it
/// is not valid.
pub(crate) fn fuzz_manifest(bytes: &[u8]) -> bool {
    drop(CheckedManifest::parse(Bytes::copy_from_slice(bytes)));
    let checked = [&crc32fast::hash(bytes).to_be_bytes(), bytes].concat();
    let Ok(manifest) = CheckedManifest::parse(checked.into()) else { return false };
    let again = CheckedManifest::parse(manifest.encoded());
    assert!(again.is_ok_and(|again| again == manifest));
    assert!(!manifest.id().contains('/') && !manifest.id().starts_with('.'));
    for file in manifest.files() {
        assert!(!file.name.contains('/') && !file.name.starts_with('.'), "{:?} leads away", file.name);
        assert_eq!(manifest.file(&file.name), Some(file));
        assert!(manifest.size() >= file.size);
    }
    drop(manifest.meta());
    true
}
