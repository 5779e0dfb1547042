//! Messages that are none: no UTF-8, no protobuf, too large, not there.

use bytes::{Buf, BufMut, Bytes};
use futures::stream;
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::common::{put, target};
use crate::victim::Victim;

/// Sends and receives messages as they are on the wire.
#[derive(Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Sends some messages to a method, none or more, and reads one.
pub async fn call(
    channel: &Channel,
    path: &'static str,
    messages: Vec<Bytes>,
) -> Result<Response<Bytes>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready()
        .await
        .map_err(|cause| Status::unavailable(cause.to_string()))?;
    let path = PathAndQuery::from_static(path);
    grpc.client_streaming(Request::new(stream::iter(messages)), path, Raw)
        .await
}

const PUT: &str = "/imagestore.v1.Images/Put";
const STREAM: &str = "/imagestore.v1.Images/Stream";
const CONFIGS: [&str; 15] = [
    "/imagestore.v1.Configs/Create",
    "/imagestore.v1.Configs/Get",
    "/imagestore.v1.Configs/List",
    "/imagestore.v1.Configs/Delete",
    "/imagestore.v1.Configs/SetParent",
    "/imagestore.v1.Configs/GetParent",
    "/imagestore.v1.Configs/Children",
    "/imagestore.v1.Configs/Ancestors",
    "/imagestore.v1.Configs/Resolve",
    "/imagestore.v1.Configs/Mark",
    "/imagestore.v1.Configs/Link",
    "/imagestore.v1.Configs/Unlink",
    "/imagestore.v1.Configs/BaseOf",
    "/imagestore.v1.Configs/Descendants",
    "/imagestore.v1.Configs/LayerUsers",
];
const LOOKUP: &str = "/imagestore.v1.BuildCache/Lookup";
const ALL: [&str; 11] = [
    PUT,
    "/imagestore.v1.Images/Get",
    "/imagestore.v1.Images/List",
    STREAM,
    "/imagestore.v1.Images/Count",
    "/imagestore.v1.Images/Delete",
    "/imagestore.v1.Namespaces/Put",
    "/imagestore.v1.Namespaces/Get",
    "/imagestore.v1.Namespaces/List",
    "/imagestore.v1.Namespaces/Delete",
    "/imagestore.v1.Store/Status",
];

impl Victim {
    async fn malformed(&mut self, path: &'static str, messages: Vec<Bytes>) -> Status {
        let channel = self.server.channel().await;
        let answer = call(&channel, path, messages).await;
        self.refused(answer, Code::InvalidArgument, "MALFORMED_REQUEST", None)
            .await
    }
}

/// A message with one field of bytes; protobuf writes a text the same way.
fn field(number: u32, bytes: &[u8]) -> Bytes {
    let mut message = Vec::new();
    prost::encoding::bytes::encode(number, &bytes.to_vec(), &mut message);
    message.into()
}

const NO_UTF8: &[u8] = b"caf\xe9";

#[tokio::test]
async fn a_text_that_is_no_utf8_is_refused_by_its_field() {
    let mut victim = Victim::new().await;
    // Image.name, Descriptor.media_type and Descriptor.digest of a Put.
    let (name, in_target) = (field(2, NO_UTF8), [field(1, NO_UTF8), field(2, NO_UTF8)]);
    let status = victim.malformed(PUT, vec![field(2, &name)]).await;
    assert!(status.message().contains("Image.name"), "{status:?}");
    for (target, named) in in_target
        .iter()
        .zip(["Descriptor.media_type", "Descriptor.digest"])
    {
        let status = victim
            .malformed(PUT, vec![field(2, &field(3, target))])
            .await;
        assert!(status.message().contains(named), "{status:?}");
    }
    for (path, number, named) in [
        ("/imagestore.v1.Images/Get", 2, "name"),
        ("/imagestore.v1.Images/Delete", 2, "name"),
        ("/imagestore.v1.Images/List", 2, "name_prefix"),
        ("/imagestore.v1.Images/List", 5, "filters"),
        ("/imagestore.v1.Images/List", 7, "page_token"),
        (STREAM, 1, "namespace"),
        ("/imagestore.v1.Images/Count", 4, "digest_prefix"),
        ("/imagestore.v1.Namespaces/Get", 1, "name"),
        ("/imagestore.v1.Configs/Get", 2, "reference"),
        ("/imagestore.v1.Configs/Create", 5, "targets"),
        (LOOKUP, 3, "container_config"),
        (LOOKUP, 5, "cache_from"),
    ] {
        let status = victim.malformed(path, vec![field(number, NO_UTF8)]).await;
        assert!(status.message().contains(named), "{path}: {status:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_protobuf_are_refused_by_every_method() {
    let mut victim = Victim::new().await;
    let whole = Message::encode_to_vec(&put("new", "new"));
    for path in ALL.into_iter().chain(CONFIGS).chain([LOOKUP]) {
        for bytes in [
            &b"\xff\xff\xff\xff"[..],
            b"\x0a",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\x00",
        ] {
            victim
                .malformed(path, vec![Bytes::copy_from_slice(bytes)])
                .await;
        }
    }
    victim
        .malformed(PUT, vec![Bytes::copy_from_slice(&whole[..whole.len() - 1])])
        .await;
}

#[tokio::test]
async fn a_call_without_a_message_is_refused() {
    let mut victim = Victim::new().await;
    for path in ALL.into_iter().chain(CONFIGS).chain([LOOKUP]) {
        victim.malformed(path, Vec::new()).await;
    }
}

#[tokio::test]
async fn fields_of_a_later_release_are_passed_over() {
    let victim = Victim::new().await;
    let mut message = Message::encode_to_vec(&put("new", "new"));
    message.extend_from_slice(&field(1999, b"later"));
    call(&victim.server.channel().await, PUT, vec![message.into()])
        .await
        .unwrap();
    assert_eq!(victim.server.status().await.images, 2);
}

#[tokio::test]
async fn a_message_over_4_mib_or_over_8_about_configs_is_refused_by_every_method() {
    let mut victim = Victim::new().await;
    let large = |bytes: usize| field(1999, &vec![b'x'; bytes + 1]);
    let (four, eight) = (large(4 << 20), large(8 << 20));
    let all = ALL.map(|path| (path, &four));
    let configs = CONFIGS
        .into_iter()
        .chain([LOOKUP])
        .map(|path| (path, &eight));
    for (path, large) in all.into_iter().chain(configs) {
        let channel = victim.server.channel().await;
        let answer = call(&channel, path, vec![large.clone()]).await;
        victim
            .refused(answer, Code::ResourceExhausted, "REQUEST_TOO_LARGE", None)
            .await;
    }
}

#[tokio::test]
async fn every_way_of_sending_a_target_twice_is_one_target() {
    // Protobuf merges a message field that comes twice; the record is checked after that.
    let mut victim = Victim::new().await;
    let image = |target: &[u8]| {
        let mut image = field(2, b"new").to_vec();
        image.extend_from_slice(&field(3, target));
        image
    };
    let mut twice = image(&Message::encode_to_vec(&target("new")));
    twice.extend_from_slice(&field(3, &field(2, b"sha256:short")));
    let channel = victim.server.channel().await;
    let answer = call(&channel, PUT, vec![field(2, &twice)]).await;
    let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
    victim
        .refused(answer, code, reason, Some("image.target.digest"))
        .await;
}
