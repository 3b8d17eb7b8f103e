//! Real encodings, from which fuzzing begins: of the golden data directory, and of small worlds.
//!
//! `QUORATE_WRITE=1 cargo test --release --workspace --test fuzz seeds` writes those that are read to the corpus anew.

mod golden;
mod text;
mod wire;

use crate::replay::corpus;
use quorate_core::fuzzing as core;
use quorate_fuzz::{FuzzDecoder, check};
use std::fs;

/// Longest that is kept: libFuzzer is told to make none longer.
const LONGEST: usize = 4096;

fn seeds(decoder: FuzzDecoder, golden: &golden::Golden) -> Vec<Vec<u8>> {
    match decoder {
        FuzzDecoder::Core(core::CoreDecoder::Batch) => golden.batches.clone(),
        FuzzDecoder::Core(core::CoreDecoder::Outcome) => golden.outcomes.clone(),
        FuzzDecoder::Core(core::CoreDecoder::Row) => golden.rows.clone(),
        FuzzDecoder::Core(core::CoreDecoder::Key) => text::keys(),
        FuzzDecoder::Core(core::CoreDecoder::Content) | FuzzDecoder::Content => text::contents(&golden.contents),
        FuzzDecoder::Core(core::CoreDecoder::Levels) => text::levels(),
        FuzzDecoder::Core(core::CoreDecoder::Filter) => text::filters(),
        FuzzDecoder::Core(core::CoreDecoder::Names) => text::names(),
        FuzzDecoder::Core(core::CoreDecoder::Apply) => golden.commands(),
        FuzzDecoder::Segment => golden.segments(LONGEST),
        FuzzDecoder::Records => golden.records(),
        FuzzDecoder::Entry => golden.entries.clone(),
        FuzzDecoder::Peer => wire::messages(&golden.entries),
        FuzzDecoder::Manifest => golden.manifests.clone(),
        FuzzDecoder::Applied => golden.applied(),
        FuzzDecoder::Config => text::configurations(),
        FuzzDecoder::Duration => text::durations(),
        FuzzDecoder::Page => text::pages(),
        FuzzDecoder::Matrix => text::requests(),
        FuzzDecoder::Forwarded => text::forwarded(),
        FuzzDecoder::Role => text::roles(),
        FuzzDecoder::Messages => wire::bodies(),
    }
}

#[test]
fn seeds_for_every_decoder_are_what_it_reads() {
    let golden = golden::Golden::read();
    for decoder in FuzzDecoder::all() {
        let mut read: Vec<Vec<u8>> = seeds(decoder, &golden);
        read.retain(|seed| seed.len() <= LONGEST && check(decoder, seed));
        assert!(!read.is_empty(), "{} reads none of its seeds", decoder.name());
        if std::env::var_os("QUORATE_WRITE").is_some() {
            write(decoder, &read);
        }
    }
}

fn write(decoder: FuzzDecoder, seeds: &[Vec<u8>]) {
    let dir = corpus().join(decoder.name());
    fs::create_dir_all(&dir).expect("a directory");
    for seed in seeds {
        fs::write(dir.join(name(seed)), seed).expect("written");
    }
}

/// By content, so that the same seed is the same file.
fn name(seed: &[u8]) -> String {
    let sum = seed
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("seed-{sum:016x}")
}
