//! `containerd.services.images.v1.ListImagesResponse`, which a server may put together of encoded images.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{self, DecodeContext, WireType, message};
use prost::{DecodeError, Message};

use super::containerd::services::images::v1::Image;

/// The images that a List finds. What is received is all in `images`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListImagesResponse {
    pub images: Vec<Image>,
    /// More images, each encoded: who has thousands of them needs no message of each.
    pub encoded: Vec<Bytes>,
}

const IMAGES: u32 = 1;

impl Message for ListImagesResponse {
    fn encode_raw(&self, out: &mut impl BufMut) {
        message::encode_repeated(IMAGES, &self.images, out);
        for image in &self.encoded {
            encoding::encode_key(IMAGES, WireType::LengthDelimited, out);
            encoding::encode_varint(image.len() as u64, out);
            out.put_slice(image);
        }
    }

    fn merge_field(
        &mut self,
        field: u32,
        wire_type: WireType,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        match field {
            IMAGES => message::merge_repeated(wire_type, &mut self.images, from, context),
            _ => encoding::skip_field(wire_type, field, from, context),
        }
    }

    fn encoded_len(&self) -> usize {
        message::encoded_len_repeated(IMAGES, &self.images)
            + encoding::bytes::encoded_len_repeated(IMAGES, &self.encoded)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
