//! Compiles the protocol files without a system protoc.

use std::path::Path;
use std::{env, fs};

const API: [&str; 9] = [
    "imagestore/v1/build_cache.proto",
    "imagestore/v1/build_targets.proto",
    "imagestore/v1/builders.proto",
    "imagestore/v1/claim.proto",
    "imagestore/v1/configs.proto",
    "imagestore/v1/image.proto",
    "imagestore/v1/images.proto",
    "imagestore/v1/namespaces.proto",
    "imagestore/v1/store.proto",
];
const CONTAINERD: [&str; 12] = [
    "containerd/events/content.proto",
    "containerd/events/image.proto",
    "containerd/events/namespace.proto",
    "containerd/services/content/v1/content.proto",
    "containerd/services/events/v1/events.proto",
    "containerd/services/images/v1/images.proto",
    "containerd/services/introspection/v1/introspection.proto",
    "containerd/services/leases/v1/leases.proto",
    "containerd/services/namespaces/v1/namespace.proto",
    "containerd/services/transfer/v1/transfer.proto",
    "containerd/services/version/v1/version.proto",
    "containerd/types/transfer/imagestore.proto",
];
const STORAGE: [&str; 2] = [
    "imagestore/storage/v1/backup.proto",
    "imagestore/storage/v1/records.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = env::var("OUT_DIR")?;

    let served = API.into_iter().chain(CONTAINERD);
    let api = protox::Compiler::new(["proto"])?
        .include_source_info(true)
        .include_imports(true)
        .open_files(served.clone())?
        .file_descriptor_set();
    let described = protox::Compiler::new(["proto"])?
        .include_source_info(false)
        .include_imports(true)
        .open_files(served)?
        .encode_file_descriptor_set();
    fs::write(Path::new(&out).join("descriptors.bin"), described)?;
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".")
        .boxed(".imagestore.v1.Descriptor.platform")
        .codec_path("crate::proto::Codec")
        .extern_path(
            ".imagestore.v1.ListImagesResponse",
            "crate::proto::listing::native::ListImagesResponse",
        )
        .extern_path(
            ".imagestore.v1.StreamImagesResponse",
            "crate::proto::listing::native::StreamImagesResponse",
        )
        .extern_path(
            ".containerd.services.images.v1.ListImagesResponse",
            "crate::proto::listing::ListImagesResponse",
        )
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
