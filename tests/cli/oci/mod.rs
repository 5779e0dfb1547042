//! Real images: made by umoci, buildah and skopeo, imported, and asked about. Where the tools are missing, each
//! test that needs them says so and passes, unless `IMAGESTORE_REQUIRE_PEERS` is `1`.

mod broken;
mod building;
mod importing;
mod lineage;
mod tools;
