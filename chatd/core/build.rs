//! Compiles the formats of the log and of the store with `protox`, without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors =
        protox::compile(["proto/quorate/log/v1/log.proto", "proto/quorate/store/v1/store.proto"], ["proto"])?;
    // The formats contain no maps, so no `btree_map` setting is needed to fix the order in which they are encoded.
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
