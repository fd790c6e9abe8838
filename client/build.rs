//! Compiles the .proto files, without a protoc on the system.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = "proto/tapstone/v1/tapstone.proto";
    println!("cargo:rerun-if-changed={proto}");
    let descriptors = protox::compile([proto], ["proto"])?;
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(folder.join("tapstone.bin"), descriptors.encode_to_vec())?;
    // Packets are passed on in the buffer that they came in.
    tonic_prost_build::configure()
        .bytes(".tapstone.v1.Capture.content")
        .bytes(".tapstone.v1.ImportRequest.bytes")
        .compile_fds(descriptors)?;
    Ok(())
}
