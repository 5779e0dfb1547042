//! Compiles the protocol files without a system protoc.

use std::path::Path;
use std::{env, fs};

const API: [&str; 4] = [
    "imagestore/v1/image.proto",
    "imagestore/v1/images.proto",
    "imagestore/v1/namespaces.proto",
    "imagestore/v1/store.proto",
];
const STORAGE: [&str; 2] = [
    "imagestore/storage/v1/backup.proto",
    "imagestore/storage/v1/records.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = env::var("OUT_DIR")?;

    let api = protox::Compiler::new(["proto"])?
        .include_source_info(true)
        .include_imports(true)
        .open_files(API)?
        .file_descriptor_set();
    let described = protox::Compiler::new(["proto"])?
        .include_source_info(false)
        .include_imports(true)
        .open_files(API)?
        .encode_file_descriptor_set();
    fs::write(Path::new(&out).join("descriptors.bin"), described)?;
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".")
        .boxed(".imagestore.v1.Descriptor.platform")
        .compile_fds(api)?;

    let storage = protox::compile(STORAGE, ["proto"])?;
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".")
        .boxed(".imagestore.storage.v1.Descriptor.platform")
        .build_client(false)
        .build_server(false)
        .compile_fds(storage)?;
    Ok(())
}
