//! The codec of all calls.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{self, EncodeBuf, Encoder};
use tonic_prost::{ProstCodec, ProstDecoder};

/// tonic's codec, with room for all of a message before it is encoded: a buffer that grows under one of
/// megabytes copies it several times.
pub struct Codec<T, U>(PhantomData<(T, U)>);

/// Encodes in one piece.
pub struct Whole<T>(PhantomData<T>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Whole<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Whole<T> {
        Whole(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstCodec::<T, U>::default().decoder()
    }
}

impl<T: Message> Encoder for Whole<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(message.encoded_len());
        message.encode_raw(out);
        Ok(())
    }
}
