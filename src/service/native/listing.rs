//! Images of a listing, encoded as they are found.

use bytes::Bytes;
use prost::Message;

use super::wire;
use crate::error::Error;
use crate::service::encode::{Target, field_len, number_len, put, put_entries, put_number};
use crate::store::{Parts, Stored, StoredImage};

/// An image as [`wire::image_message`] makes it, encoded. That message itself would cost several times as
/// much.
pub fn encoded(image: Stored<StoredImage>) -> Result<Bytes, Error> {
    let Some(parts) = image.record.parts().filter(|parts| !parts.has_more) else {
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
    let namespace = image.namespace.as_str();
    let etag = wire::etag_message(image.revision);
    let revision = image.revision.0;
    let bytes = field_len(namespace.len())
        + field_len(name.len())
        + target.field_len()
        + labels.bytes()
        + field_len(created_at.len())
        + field_len(updated_at.len())
        + field_len(etag.len())
        + number_len(revision);
    let mut out = Vec::with_capacity(bytes);
    put(&mut out, 1, namespace.as_bytes());
    put(&mut out, 2, name.as_bytes());
    target.put(&mut out, 4);
    put_entries(&mut out, 4, labels);
    put(&mut out, 5, created_at);
    put(&mut out, 6, updated_at);
    put(&mut out, 7, etag.as_bytes());
    put_number(&mut out, 8, revision);
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::kv::Revision;
    use crate::proto::v1 as pb;
    use crate::service::encode::tests::image;

    fn stored(record: StoredImage, revision: u64) -> Stored<StoredImage> {
        Stored {
            namespace: "a-namespace".parse().unwrap(),
            record,
            revision: Revision(revision),
        }
    }

    proptest! {
        #[test]
        fn an_image_is_listed_byte_for_byte_as_its_message(image in image(), revision in 1u64..) {
            let stored = stored(StoredImage::of(&image), revision);
            prop_assert!(stored.record.parts().is_some(), "it takes the long way");
            let message = wire::image_message(stored.clone().read().unwrap()).encode_to_vec();
            prop_assert_eq!(encoded(stored).unwrap(), message);
        }

        #[test]
        fn what_is_listed_of_a_broken_record_is_a_message(image in image(), at: Index, to: u8) {
            let record = StoredImage::of(&image);
            let changed = record.with(|record| {
                let at = at.index(record.len());
                record[at] = to;
            });
            let read = stored(changed.clone(), 7).read();
            match encoded(stored(changed, 7)) {
                Ok(encoded) => {
                    let message = pb::Image::decode(encoded).unwrap();
                    prop_assert_eq!(message, wire::image_message(read.unwrap()));
                }
                Err(_) => prop_assert!(read.is_err()),
            }
            let cut = record.with(|record| record.truncate(at.index(record.len())));
            prop_assert!(encoded(stored(cut, 7)).is_err());
        }
    }
}
