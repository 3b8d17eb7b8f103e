//! Compiles the log's and the store's formats without `protoc`, by `protox`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors =
        protox::compile(["proto/quorate/log/v1/log.proto", "proto/quorate/store/v1/store.proto"], ["proto"])?;
    // BTreeMap is not needed: the formats hold no maps, whose order an encoder would choose.
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
