//! Listings of images, which a server may put together of images that are encoded already.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{self, DecodeContext, WireType, message, string, uint64};
use prost::{DecodeError, Message};

use super::containerd::services::images::v1 as containerds;
use super::v1;

const IMAGES: u32 = 1;

/// A message with images in its field 1, and other fields by their numbers and kinds.
macro_rules! listing {
    ($(#[$about:meta])* $name:ident of $image:ty {
        $($(#[$field_about:meta])* $field:ident: $type:ty = $kind:ident $number:literal,)*
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            /// The images; what is received is all here.
            pub images: Vec<$image>,
            /// More images, each encoded: who has thousands of them needs no message of each.
            pub encoded: Vec<Bytes>,
            $($(#[$field_about])* pub $field: $type,)*
        }

        impl Message for $name {
            fn encode_raw(&self, out: &mut impl BufMut) {
                message::encode_repeated(IMAGES, &self.images, out);
                for image in &self.encoded {
                    encoding::encode_key(IMAGES, WireType::LengthDelimited, out);
                    encoding::encode_varint(image.len() as u64, out);
                    out.put_slice(image);
                }
                $(if self.$field != <$type>::default() {
                    $kind::encode($number, &self.$field, out);
                })*
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
                    $($number => $kind::merge(wire_type, &mut self.$field, from, context),)*
                    _ => encoding::skip_field(wire_type, field, from, context),
                }
            }

            fn encoded_len(&self) -> usize {
                let images = message::encoded_len_repeated(IMAGES, &self.images)
                    + encoding::bytes::encoded_len_repeated(IMAGES, &self.encoded);
                images $(+ match self.$field == <$type>::default() {
                    true => 0,
                    false => $kind::encoded_len($number, &self.$field),
                })*
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }
    };
}

/// Those of `imagestore.v1`.
pub mod native {
    use super::*;

    listing! {
        /// A page of images.
        ListImagesResponse of v1::Image {
            /// Empty at the end; otherwise there may be more, even if this page is short or empty.
            next_page_token: String = string 2,
            /// The revision of the store that the page was read at.
            revision: u64 = uint64 3,
        }
    }

    listing! {
        /// Some of the images of a stream.
        StreamImagesResponse of v1::Image {
            /// The revision of the store that the whole stream is read at.
            revision: u64 = uint64 2,
        }
    }
}

listing! {
    /// The images that containerd's List finds.
    ListImagesResponse of containerds::Image {}
}
