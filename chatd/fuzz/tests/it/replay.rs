//! The corpus: one directory for each decoder, one file for each input.

use quorate_fuzz::{FuzzDecoder, check, peak_of};
use std::collections::BTreeSet;
use std::fs;
use std::hint::black_box;
use std::panic::catch_unwind;
use std::path::PathBuf;

/// All of it: what is cloned and replayed by everyone.
const MOST_BYTES: u64 = 300 << 10;

/// Tests run in the folder of their package.
pub(crate) fn corpus() -> PathBuf {
    PathBuf::from("corpus")
}

fn files(decoder: FuzzDecoder) -> Vec<PathBuf> {
    let dir = corpus().join(decoder.name());
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn no_input_of_the_corpus_breaks_its_decoder() {
    let mut broken = Vec::new();
    for decoder in FuzzDecoder::all() {
        let files = files(decoder);
        assert!(files.len() > 1, "{} has no corpus: run chatd/fuzz/run", decoder.name());
        let mut read = 0;
        for path in files {
            let bytes = fs::read(&path).expect("reads");
            match catch_unwind(|| check(decoder, &bytes)) {
                Ok(is_read) => read += usize::from(is_read),
                Err(_) => broken.push(path),
            }
        }
        assert!(read > 0, "{}: nothing in its corpus is ever read, so nothing is tested", decoder.name());
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_corpus_is_small_and_all_of_it_is_of_some_decoder() {
    let names: BTreeSet<_> = FuzzDecoder::all().map(|decoder| decoder.name().to_owned()).collect();
    assert_eq!(names.len(), FuzzDecoder::all().count(), "two decoders of one name");
    let found: BTreeSet<_> = fs::read_dir(corpus())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, names);
    let size: u64 = FuzzDecoder::all().flat_map(files).map(|path| path.metadata().expect("a file").len()).sum();
    assert!(size <= MOST_BYTES, "{size} bytes");
}

#[test]
fn memory_that_a_length_field_asked_for_is_seen() {
    let ((), greedy) = peak_of(|| drop(black_box(Vec::<u8>::with_capacity(1 << 30))));
    assert!((1 << 30..2 << 30).contains(&greedy), "{greedy}");
    let ((), frugal) = peak_of(|| (0..1000).for_each(|_| drop(black_box(vec![0_u8; 1000]))));
    assert!(frugal < 10_000, "{frugal}");
}
