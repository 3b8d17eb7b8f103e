//! Any bytes for every decoder: [`check`] runs one on one input. `make fuzz` makes inputs with libFuzzer; the corpus, which
//! is what it found, is replayed by `make test`.

mod memory;

pub use memory::peak_of;
pub use quorate_chatd::fuzzing::FuzzDecoder;

#[global_allocator]
static MEMORY: memory::Counted = memory::Counted;

/// What a decoder may take for nothing: worlds, buffers of a fixed size, words of an error.
const FREE: usize = 4 << 20;
/// What it may take for each byte of the input. Two bytes of protobuf make a message of some hundred in memory, and a
/// vector that grows is there twice.
const FOR_EACH_BYTE: usize = 4096;

/// Feeds one input to one decoder; whether it is something that the decoder reads.
///
/// # Panics
/// When the decoder panics, breaks a promise, or takes more memory than the input is worth.
pub fn check(decoder: FuzzDecoder, bytes: &[u8]) -> bool {
    let (read, peak) = peak_of(|| decoder.run(bytes));
    let most = FREE + FOR_EACH_BYTE * bytes.len();
    assert!(peak <= most, "{}: {} bytes made it hold {peak}, at most {most} are right", decoder.name(), bytes.len());
    read
}
