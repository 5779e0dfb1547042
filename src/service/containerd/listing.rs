//! The answer to a List of images, encoded as the images are found.

use bytes::Bytes;
use prost::Message;

use super::error::{Fault, Kind};
use super::wire::{self, Room};
use crate::proto::containerd::services::images::v1 as pb;
use crate::service::encode::{Target, field_len, put, put_entries};
use crate::store::{Parts, StoredImage};

/// The images of an answer so far, with their names.
pub struct Listing {
    room: Room,
    images: Vec<(Bytes, Bytes)>,
}

impl Listing {
    pub fn new() -> Self {
        Self {
            room: Room::new(),
            images: Vec::new(),
        }
    }

    /// Refuses what the answer has no room for.
    pub fn add(&mut self, image: StoredImage) -> Result<(), Fault> {
        let name = image.name().clone();
        let encoded = encoded(image)?;
        self.room.take(encoded.len()).map_err(too_large)?;
        self.images.push((name, encoded));
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        self.room.taken()
    }

    /// The images by the bytes of their names; an index of digests has another order.
    pub fn answer(mut self) -> pb::ListImagesResponse {
        let is_sorted = self
            .images
            .is_sorted_by(|(one, _), (other, _)| one <= other);
        if !is_sorted {
            self.images.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        let images = self.images.into_iter().map(|(_, encoded)| encoded);
        pb::ListImagesResponse {
            encoded: images.collect(),
            ..pb::ListImagesResponse::default()
        }
    }
}

fn too_large(limit: usize) -> Fault {
    Fault::bare(
        Kind::ResourceExhausted,
        format!(
            "the images take more than the {limit} bytes that a message may have; ask for fewer with a \
             filter such as name~=^docker\\.io/, or for all with imagestore.v1.Images/Stream"
        ),
    )
}

/// An image as [`wire::image_message`] makes it, encoded. That message itself would cost ten times as much.
fn encoded(image: StoredImage) -> Result<Bytes, Fault> {
    let Some(parts) = image.parts() else {
        let message = wire::image_message(image.read()?);
        return Ok(message.encode_to_vec().into());
    };
    let target = Target::of(&parts);
    let Parts {
        name,
        labels,
        created_at,
        updated_at,
        ..
    } = parts;
    let bytes = field_len(name.len())
        + labels.bytes()
        + target.field_len()
        + field_len(created_at.len())
        + field_len(updated_at.len());
    let mut out = Vec::with_capacity(bytes);
    put(&mut out, 1, name.as_bytes());
    put_entries(&mut out, 2, labels);
    target.put(&mut out, 5);
    put(&mut out, 7, created_at);
    put(&mut out, 8, updated_at);
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::service::encode::tests::image;

    proptest! {
        #[test]
        fn an_image_is_listed_byte_for_byte_as_its_message(image in image()) {
            let stored = StoredImage::of(&image);
            prop_assert!(stored.parts().is_some(), "it takes the long way");
            let message = wire::image_message(image).encode_to_vec();
            prop_assert_eq!(encoded(stored).unwrap(), message);
        }

        #[test]
        fn what_is_listed_of_a_broken_record_is_a_message(image in image(), at: Index, to: u8) {
            let stored = StoredImage::of(&image);
            let changed = stored.with(|record| {
                let at = at.index(record.len());
                record[at] = to;
            });
            if let Ok(encoded) = encoded(changed) {
                pb::Image::decode(encoded).unwrap();
            }
            let cut = stored.with(|record| record.truncate(at.index(record.len())));
            prop_assert!(encoded(cut).is_err());
        }
    }
}
