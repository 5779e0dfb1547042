//! The answer to a List of images, encoded as the images are found.

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::error::{Fault, Kind};
use super::wire::{self, Room};
use crate::proto::containerd::services::images::v1 as pb;
use crate::store::{Entries, Parts, StoredImage};

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
        let encoded = encoded(&image)?;
        self.room.take(encoded.len()).map_err(too_large)?;
        self.images.push((image.into_name(), encoded));
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
fn encoded(image: &StoredImage) -> Result<Bytes, Fault> {
    let Some(parts) = image.parts() else {
        let message = wire::image_message(image.read()?);
        return Ok(message.encode_to_vec().into());
    };
    let Parts {
        name,
        media_type,
        digest,
        size,
        annotations,
        labels,
        created_at,
        updated_at,
    } = parts;
    let digest = digest.text();
    let target = field_len(media_type.len())
        + field_len(digest.len())
        + (1 + encoded_len_varint(size))
        + annotations.bytes();
    let times = [(7, created_at), (8, updated_at)];
    let bytes = field_len(name.len())
        + labels.bytes()
        + field_len(target)
        + field_len(created_at.len())
        + field_len(updated_at.len());
    let mut out = Vec::with_capacity(bytes);
    put(&mut out, 1, name.as_bytes());
    put_entries(&mut out, 2, labels);
    put_head(&mut out, 3, target);
    put(&mut out, 1, media_type.as_bytes());
    put(&mut out, 2, digest.as_bytes());
    encode_key(3, WireType::Varint, &mut out);
    encode_varint(size, &mut out);
    put_entries(&mut out, 5, annotations);
    for (field, time) in times {
        put(&mut out, field, time);
    }
    Ok(out.into())
}

/// Bytes of a field with so many inside.
fn field_len(bytes: usize) -> usize {
    1 + encoded_len_varint(bytes as u64) + bytes
}

fn put_head(out: &mut Vec<u8>, field: u32, bytes: usize) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(bytes as u64, out);
}

fn put(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    put_head(out, field, value.len());
    out.extend_from_slice(value);
}

fn put_entries(out: &mut Vec<u8>, field: u32, entries: Entries<'_>) {
    for pair in entries.iter() {
        put(out, field, pair);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::domain::{Algorithm, Descriptor, Digest, Image, Labels, Platform, Size, Timestamp};

    fn image() -> impl Strategy<Value = Image> {
        let pairs = || btree_map("[a-cé.]{1,3}", "[a-cé]{0,200}", 0..4);
        let digest = (0..3usize, any::<[u8; 4]>())
            .prop_map(|(i, seed)| Digest::of(Algorithm::ALL[i], &seed));
        let time = (-62_135_596_800i64..253_402_300_000, 0u32..1_000_000_000);
        let time = prop_oneof![time, (-1i64..2, 0u32..2)];
        let size = prop_oneof![1..=i64::MAX, 1i64..300];
        let target = (digest, "[a-z/]{1,9}", size, pairs(), any::<bool>());
        ("[a-z:/é]{1,300}", target, pairs(), time.clone(), time).prop_map(
            |(name, (digest, media_type, size, annotations, more), labels, created, updated)| {
                let size = Size::try_from(size).unwrap();
                let mut target = Descriptor::new(media_type.parse().unwrap(), digest, size)
                    .with_annotations(annotations)
                    .unwrap();
                if more {
                    target = target
                        .with_artifact_type(Some(media_type.parse().unwrap()))
                        .with_platform(Some(Platform::new("amd64".into(), "linux".into()).unwrap()))
                        .with_urls(vec![media_type])
                        .unwrap();
                }
                let time = |(seconds, nanos)| Timestamp::new(seconds, nanos).unwrap();
                Image {
                    name: name.parse().unwrap(),
                    target,
                    labels: Labels::try_from(labels).unwrap(),
                    created_at: time(created),
                    updated_at: time(updated),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn an_image_is_listed_byte_for_byte_as_its_message(image in image()) {
            let stored = StoredImage::of(&image);
            prop_assert!(stored.parts().is_some(), "it takes the long way");
            let message = wire::image_message(image).encode_to_vec();
            prop_assert_eq!(encoded(&stored).unwrap(), message);
        }

        #[test]
        fn what_is_listed_of_a_broken_record_is_a_message(image in image(), at: Index, to: u8) {
            let stored = StoredImage::of(&image);
            let changed = stored.with(|record| {
                let at = at.index(record.len());
                record[at] = to;
            });
            if let Ok(encoded) = encoded(&changed) {
                pb::Image::decode(encoded).unwrap();
            }
            let cut = stored.with(|record| record.truncate(at.index(record.len())));
            prop_assert!(encoded(&cut).is_err());
        }
    }
}
