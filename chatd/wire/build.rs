//! Compiles the `.proto` files with `protox`, without `protoc`, and keeps the descriptor set for server reflection.

use prost::Message as _;
use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 3] =
    ["proto/quorate/admin/v1/admin.proto", "proto/quorate/chat/v1/chat.proto", "proto/quorate/raft/v1/raft.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Payloads are passed on without being copied.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
