//! libFuzzer around one decoder, which `QUORATE_DECODER` names. Run by `chatd/fuzz/run`, which see.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_fuzz::{FuzzDecoder, check};
use std::sync::LazyLock;

static DECODER: LazyLock<FuzzDecoder> = LazyLock::new(|| {
    let name = std::env::var("QUORATE_DECODER").unwrap_or_default();
    FuzzDecoder::all().find(|decoder| decoder.name() == name).unwrap_or_else(|| {
        eprintln!("QUORATE_DECODER={name:?} is no decoder");
        std::process::abort()
    })
});

fuzz_target!(|bytes: &[u8]| {
    check(*DECODER, bytes);
});
