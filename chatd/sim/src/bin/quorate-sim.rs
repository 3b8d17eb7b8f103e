//! `quorate-sim one SEED [MUTATION]` runs one seed, `quorate-sim from SEED` runs seeds until one fails or the program
//! is stopped, and `quorate-sim story FILE [MUTATION]` plays a story and prints it anew.

use quorate_sim::driver;
use quorate_sim::mutation::Mutation;
use quorate_sim::simulation::{self, PlayedStory, SimulationStats};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["one", seed] => with_seed(seed, |seed| run_one_seed(seed, None)),
        ["one", seed, mutation] => match mutation.parse() {
            Ok(mutation) => with_seed(seed, |seed| run_one_seed(seed, Some(mutation))),
            Err(error) => usage(&error),
        },
        ["story", path] => run_story(path, None),
        ["story", path, mutation] => match mutation.parse() {
            Ok(mutation) => run_story(path, Some(mutation)),
            Err(error) => usage(&error),
        },
        ["from", seed] => with_seed(seed, until_one_fails),
        [] => until_one_fails(0),
        _ => usage("unknown arguments"),
    }
}

fn usage(error: &str) -> ExitCode {
    eprintln!("quorate-sim: {error}; usage: `one SEED [MUTATION]`, `from SEED` or `story FILE`");
    ExitCode::from(2)
}

fn with_seed(text: &str, run: impl FnOnce(u64) -> ExitCode) -> ExitCode {
    match text.parse() {
        Ok(seed) => run(seed),
        Err(_) => usage(&format!("{text:?} is not a seed")),
    }
}

/// Runs a simulation on a thread of its own. Returns `None` after a panic of the simulation itself.
fn run_on_thread<T: Send + 'static>(run: impl FnOnce(&Path) -> T + Send + 'static) -> Result<Option<T>, String> {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = made.map_err(|error| format!("cannot create a directory for snapshots: {error}"))?;
    simulation::note_panics();
    let path = dir.path().to_owned();
    // A fresh thread has not drawn any random numbers yet.
    let thread = std::thread::Builder::new().name("simulation".to_owned()).stack_size(16 << 20);
    let thread = thread.spawn(move || run(&path)).map_err(|error| format!("cannot start a thread: {error}"))?;
    Ok(thread.join().ok())
}

fn run_story(path: &str, mutation: Option<Mutation>) -> ExitCode {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return usage(&format!("cannot read {path}: {error}")),
    };
    match run_on_thread(move |dir| simulation::play_story(&text, mutation, dir)) {
        Ok(Some(PlayedStory { text, violation })) => {
            print!("{text}");
            let Some(violation) = violation else { return ExitCode::SUCCESS };
            eprintln!("{path} broke={} what: {}", violation.invariant, violation.what);
            ExitCode::FAILURE
        }
        Ok(None) => {
            eprintln!("{path} broke=nobody_panics in the simulation itself");
            ExitCode::FAILURE
        }
        Err(error) => usage(&error),
    }
}

fn run_one_seed(seed: u64, mutation: Option<Mutation>) -> ExitCode {
    let start = Instant::now();
    let outcome = match run_on_thread(move |dir| simulation::simulate_seed(seed, mutation, dir)) {
        Ok(Some(outcome)) => outcome,
        Ok(None) => {
            println!("seed {seed} broke=nobody_panics in the simulation itself");
            return ExitCode::FAILURE;
        }
        Err(error) => return usage(&error),
    };
    let SimulationStats { simulated_ms, steps, crashes, power_losses, wiped, leaders, entries, replayed, .. } =
        outcome.figures;
    let SimulationStats { sends, acknowledged, repeated, reads, linearizable, connections, .. } = outcome.figures;
    let SimulationStats { member_changes, transfers, snapshots, .. } = outcome.figures;
    let figures = format!(
        "trace={} real_ms={} simulated_ms={simulated_ms} steps={steps} crashes={crashes} power_losses={power_losses} \
         wiped={wiped} terms={leaders} entries={entries} replayed={replayed} sends={sends} acknowledged={acknowledged} \
         repeated={repeated} reads={reads} linearizable={linearizable} connections={connections} \
         member_changes={member_changes} transfers={transfers} snapshots={snapshots}",
        outcome.trace,
        start.elapsed().as_millis(),
    );
    match outcome.violation {
        None => {
            println!("seed {seed} {figures}");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            let what = violation.what.replace('\n', " ");
            println!("seed {seed} broke={} {figures} what: {what}", violation.invariant);
            ExitCode::FAILURE
        }
    }
}

/// Number of seeds between two lines of progress.
const TELL_EVERY: u64 = 100;

fn until_one_fails(first: u64) -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return usage(&format!("cannot determine the path of this program: {error}")),
    };
    let start = Instant::now();
    let mut done = 0_u64;
    let mut failed = false;
    driver::run_seeds(&program, first..u64::MAX / 4, None, |ended| {
        done += 1;
        if !ended.sound {
            failed = true;
            println!("{}\nrerun with: QUORATE_SEED={} make sim", ended.line, ended.seed);
        } else if done.is_multiple_of(TELL_EVERY) {
            println!("{done} seeds in {} s, all passed; last: {}", start.elapsed().as_secs(), ended.line);
        }
        ended.sound
    });
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
