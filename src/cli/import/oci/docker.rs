//! The images in what `docker save` wrote before there were layouts in it, and `skopeo` still writes.

use super::blobs::{Blobs, MAX_CONFIG_BYTES, MAX_DOCUMENT_BYTES, Unreadable, check};
use super::document::{DOCKER_CONFIG, SavedImage};
use super::walk::{Finds, Found, Gone, parse};
use crate::cli::config::whole_name;
use crate::domain::{Algorithm, Digest};
use crate::proto::v1::Descriptor;

/// What lists the images.
pub const LIST: &str = "manifest.json";

/// Finds the configs that the list names. Such a config is what its names point to.
pub fn saved(blobs: &Blobs, finds: &Finds) -> Result<Result<(), Gone>, String> {
    let content = blobs.file(LIST, MAX_DOCUMENT_BYTES);
    let images: Result<Vec<SavedImage>, _> = content.and_then(|content| parse(&content));
    let images = images.map_err(|why| format!("{LIST}: {why}"))?;
    for image in images {
        if let Err(gone) = found(blobs, finds, image) {
            return Ok(Err(gone));
        }
    }
    Ok(Ok(()))
}

fn found(blobs: &Blobs, finds: &Finds, image: SavedImage) -> Result<(), Gone> {
    let place = format!("config {}", image.config);
    let (id, content) = match config(blobs, &image.config) {
        Ok(config) => config,
        Err(why) => return finds.refuse(&place, why),
    };
    let size = i64::try_from(content.len()).unwrap_or(i64::MAX);
    let targets = Vec::new();
    finds.tell(Found::Config {
        id,
        content,
        targets,
    })?;
    let tags = image.repo_tags.unwrap_or_default();
    if tags.is_empty() {
        let note = format!("{place}: it has no name; it is taken, and no image");
        finds.note(&note)?;
    }
    for tag in tags {
        let target = Box::new(Descriptor {
            media_type: DOCKER_CONFIG.to_owned(),
            digest: id.text(),
            size,
            ..Descriptor::default()
        });
        // What is no name of containerd's, the store may refuse in its own words.
        let name = whole_name(&tag).unwrap_or(tag);
        finds.tell(Found::Image { name, target })?;
    }
    Ok(())
}

/// A config, whose file is called by its digest.
fn config(blobs: &Blobs, path: &str) -> Result<(Digest, Vec<u8>), Unreadable> {
    let content = blobs.file(path, MAX_CONFIG_BYTES)?;
    let file = path.rsplit('/').next().unwrap_or(path);
    let hex = file.strip_suffix(".json").unwrap_or(file);
    let id = Digest::of(Algorithm::Sha256, &content);
    let said: Digest = format!("sha256:{hex}")
        .parse()
        .map_err(|_| Unreadable::Senseless("its file is not called by its digest".to_owned()))?;
    check(&said, &content)?;
    Ok((id, content))
}
