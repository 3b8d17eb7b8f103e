//! Whole clusters, simulated from seeds. `QUORATE_SEED=7` runs that seed alone, `QUORATE_SEEDS=5000` runs that many;
//! `make sim` runs until it is stopped.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a failed check of a test is a panic")]

use quorate_sim::driver::{self, SeedResult};
use std::path::Path;

/// Number of seeds that `make seeds` runs.
const SEEDS: u64 = 500;
/// Seeds beyond these that have found a bug: 2517, a stream's message that met no leader came to stand after the next.
const ONCE_FAILED: [u64; 1] = [2517];
/// Number of seeds that are run twice.
const TWICE: u64 = 5;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate-sim"))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_goes_wrong_clients_get_what_they_were_promised() {
    let seeds = match number("QUORATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("QUORATE_SEEDS").unwrap_or(SEEDS),
    };
    let (wanted, mut sound, mut failed) = (seeds.end - seeds.start, 0, Vec::<SeedResult>::new());
    let mut not_replayed = Vec::new();
    driver::run_seeds(program(), seeds, None, |ended| {
        if ended.sound {
            sound += 1;
            if !was_replayed(ended) {
                not_replayed.push(ended.line.clone());
            }
        } else {
            println!("{}\nagain: QUORATE_SEED={} make sim", ended.line, ended.seed);
            failed.push(ended.clone());
        }
        // A few failures say more than one, and hundreds say no more than a few.
        failed.len() < 5
    });
    assert!(failed.is_empty(), "{} seeds failed, {sound} were sound; the first: {}", failed.len(), failed[0].line);
    assert_eq!(sound, wanted, "every seed was run");
    assert!(not_replayed.is_empty(), "the log was not replayed from its beginning: {not_replayed:?}");
}

/// Returns `true` if everything that was committed was applied again, not only what was left in some log at the end.
fn was_replayed(ended: &SeedResult) -> bool {
    let figure = |name| ended.figure(name).unwrap_or_default();
    figure("replayed") > 0 && figure("replayed") >= figure("entries")
}

#[test]
fn seeds_that_once_failed_are_sound() {
    for seed in ONCE_FAILED {
        let ended = driver::run_seed(program(), seed, None);
        assert!(ended.sound, "{}", ended.line);
    }
}

#[test]
fn the_same_seed_is_the_same_to_the_last_step() {
    for seed in 0..TWICE {
        let [first, second] = [(); 2].map(|()| driver::run_seed(program(), seed, None));
        assert!(!first.trace().is_empty(), "{}", first.line);
        assert_eq!(first.trace(), second.trace(), "\n{}\n{}", first.line, second.line);
    }
    assert_ne!(driver::run_seed(program(), 0, None).trace(), driver::run_seed(program(), 1, None).trace());
}
