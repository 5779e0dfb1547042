//! Encoding what is stored as fields of a message, without the message.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::store::{Entries, Parts};

/// Bytes of a field of a number below 16 with so many inside.
pub fn field_len(bytes: usize) -> usize {
    1 + encoded_len_varint(bytes as u64) + bytes
}

/// Bytes of a number in a field of a number below 16.
pub fn number_len(number: u64) -> usize {
    1 + encoded_len_varint(number)
}

/// The head of a field with so many bytes inside.
pub fn put_head(out: &mut Vec<u8>, field: u32, bytes: usize) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(bytes as u64, out);
}

pub fn put(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    put_head(out, field, value.len());
    out.extend_from_slice(value);
}

pub fn put_number(out: &mut Vec<u8>, field: u32, number: u64) {
    encode_key(field, WireType::Varint, out);
    encode_varint(number, out);
}

pub fn put_entries(out: &mut Vec<u8>, field: u32, entries: Entries<'_>) {
    for pair in entries.iter() {
        put(out, field, pair);
    }
}

/// The descriptor of a target as the services have it: media type, digest and size are their fields 1 to 3.
pub struct Target<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
    annotations: Entries<'a>,
    len: usize,
}

impl<'a> Target<'a> {
    pub fn of(parts: &Parts<'a>) -> Self {
        let digest = parts.digest.text();
        let len = field_len(parts.media_type.len())
            + field_len(digest.len())
            + number_len(parts.size)
            + parts.annotations.bytes();
        Self {
            media_type: parts.media_type,
            digest,
            size: parts.size,
            annotations: parts.annotations,
            len,
        }
    }

    /// Bytes of a field with it inside.
    pub fn field_len(&self) -> usize {
        field_len(self.len)
    }

    /// As field 3, with the annotations in a field of it.
    pub fn put(&self, out: &mut Vec<u8>, annotations: u32) {
        put_head(out, 3, self.len);
        put(out, 1, self.media_type.as_bytes());
        put(out, 2, self.digest.as_bytes());
        put_number(out, 3, self.size);
        put_entries(out, annotations, self.annotations);
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use crate::domain::{Algorithm, Descriptor, Digest, Image, Labels, Platform, Size, Timestamp};

    /// Any image.
    pub fn image() -> impl Strategy<Value = Image> {
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
}
