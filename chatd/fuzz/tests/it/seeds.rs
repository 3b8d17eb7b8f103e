//! Real encodings, from which fuzzing begins: of the golden data directory, and of small worlds.
//!
//! `QUORATE_WRITE=1 cargo test --release --workspace --test fuzz seeds` writes those that are read to the corpus anew.

mod golden;
mod text;
mod wire;

use crate::replay::corpus;
use quorate_core::fuzzing as core;
use quorate_fuzz::{Decoder, check};
use std::fs;

/// Longest that is kept: libFuzzer is told to make none longer.
const LONGEST: usize = 4096;

fn seeds(decoder: Decoder, golden: &golden::Golden) -> Vec<Vec<u8>> {
    match decoder {
        Decoder::Core(core::Decoder::Batch) => golden.batches.clone(),
        Decoder::Core(core::Decoder::Outcome) => golden.outcomes.clone(),
        Decoder::Core(core::Decoder::Row) => golden.rows.clone(),
        Decoder::Core(core::Decoder::Key) => text::keys(),
        Decoder::Core(core::Decoder::Content) | Decoder::Content => text::contents(&golden.contents),
        Decoder::Core(core::Decoder::Levels) => text::levels(),
        Decoder::Core(core::Decoder::Filter) => text::filters(),
        Decoder::Core(core::Decoder::Names) => text::names(),
        Decoder::Core(core::Decoder::Apply) => golden.commands(),
        Decoder::Segment => golden.segments(LONGEST),
        Decoder::Records => golden.records(),
        Decoder::Entry => golden.entries.clone(),
        Decoder::Peer => wire::messages(&golden.entries),
        Decoder::Manifest => golden.manifests.clone(),
        Decoder::Applied => golden.applied(),
        Decoder::Config => text::configurations(),
        Decoder::Duration => text::durations(),
        Decoder::Page => text::pages(),
        Decoder::Matrix => text::requests(),
        Decoder::Forwarded => text::forwarded(),
        Decoder::Role => text::roles(),
        Decoder::Messages => wire::bodies(),
    }
}

#[test]
fn seeds_for_every_decoder_are_what_it_reads() {
    let golden = golden::Golden::read();
    for decoder in Decoder::all() {
        let mut read: Vec<Vec<u8>> = seeds(decoder, &golden);
        read.retain(|seed| seed.len() <= LONGEST && check(decoder, seed));
        assert!(!read.is_empty(), "{} reads none of its seeds", decoder.name());
        if std::env::var_os("QUORATE_WRITE").is_some() {
            write(decoder, &read);
        }
    }
}

fn write(decoder: Decoder, seeds: &[Vec<u8>]) {
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
