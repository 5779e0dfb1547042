//! One client for all peers: the same channel, the same codec, the same loop around it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use imagestore::proto::v1;
use prost::Message;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::lineup::{Peer, Work};
use crate::record::{LABEL, LISTED, MEDIA_TYPE, Record, SIZE};
use crate::wire::{Page, Rows, Told, containerd, etcd};

const LARGEST_ANSWER: usize = 64 << 20;
const PAGE: i32 = 1_000;

/// A connection to one peer. Clones share it.
#[derive(Clone)]
pub struct Client {
    peer: Peer,
    grpc: Grpc<Channel>,
}

impl Client {
    pub async fn connect(peer: Peer, socket: PathBuf) -> Result<Self, tonic::transport::Error> {
        let dial = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector(dial).await?;
        let grpc = Grpc::new(channel).max_decoding_message_size(LARGEST_ANSWER);
        Ok(Self { peer, grpc })
    }

    /// Asks something that is answered as soon as the peer is ready.
    pub async fn greet(&mut self) -> Result<(), Status> {
        match self.peer {
            // Its Status walks all pages once; that there is no such record is an answer too.
            Peer::Imagestore => match self.get(Record(0)).await {
                Err(status) if status.code() == Code::NotFound => Ok(()),
                answer => answer,
            },
            Peer::Null => self.get(Record(0)).await,
            Peer::Containerd => self.unary(containerd::VERSION, None, ()).await,
            Peer::Etcd => {
                let key = b"ready".to_vec();
                let request = etcd::RangeRequest {
                    key,
                    range_end: Vec::new(),
                };
                let _: etcd::RangeResponse = self.unary(etcd::RANGE, None, request).await?;
                Ok(())
            }
        }
    }

    /// Whether a lookup by digest reads a whole namespace.
    pub fn scans_for_digests(&self) -> bool {
        self.peer == Peer::Containerd
    }

    /// Does one piece of work on a record that exists. `fresh` counts up the numbers of records
    /// that do not.
    pub async fn perform(
        &mut self,
        work: Work,
        record: Record,
        fresh: &AtomicU64,
    ) -> Result<(), Status> {
        let next = || Record(fresh.fetch_add(1, Ordering::Relaxed));
        match work {
            Work::Get => self.get(record).await,
            Work::ByDigest => self.find_by_digest(record).await,
            Work::ByName => {
                let filter = format!("name=={}", record.name());
                self.find(record.namespace(), filter).await
            }
            Work::ByRepository => {
                // Quoted as Go's clients do.
                let repository = record.repository().replace('.', r"\.");
                let filter = format!("name~=^{repository}:");
                self.find(record.namespace(), filter).await
            }
            Work::Stream => {
                let rows = self.stream("listed").await?;
                expect_rows(rows, LISTED)
            }
            Work::Pages => {
                let rows = self.pages("listed").await?;
                expect_rows(rows, LISTED)
            }
            Work::Put => self.create(next()).await,
            Work::Overwrite => self.overwrite(record, next()).await,
        }
    }

    async fn get(&mut self, record: Record) -> Result<(), Status> {
        let (namespace, name) = (record.namespace(), record.name());
        let found = match self.peer {
            Peer::Imagestore | Peer::Null => {
                let request = v1::GetImageRequest {
                    namespace: namespace.into(),
                    name: name.clone(),
                    ..v1::GetImageRequest::default()
                };
                let answer: v1::GetImageResponse = self
                    .unary("/imagestore.v1.Images/Get", None, request)
                    .await?;
                answer.image.is_some_and(|image| image.name == name)
            }
            Peer::Containerd => {
                let request = containerd::GetImageRequest { name: name.clone() };
                let answer: containerd::OneImage = self
                    .unary(containerd::GET, Some(namespace), request)
                    .await?;
                answer.image.is_some_and(|image| image.name == name)
            }
            Peer::Etcd => {
                let request = etcd::RangeRequest {
                    key: key(record),
                    range_end: Vec::new(),
                };
                let answer: etcd::RangeResponse = self.unary(etcd::RANGE, None, request).await?;
                answer.rows.len() == 1
            }
        };
        if !found {
            return Err(Status::data_loss(format!("asked for {name}, got another")));
        }
        Ok(())
    }

    pub async fn create(&mut self, record: Record) -> Result<(), Status> {
        match self.peer {
            Peer::Containerd => self.send_image(containerd::CREATE, record, record).await,
            Peer::Imagestore | Peer::Null | Peer::Etcd => self.overwrite(record, record).await,
        }
    }

    /// Points the name of one record to the target of another.
    async fn overwrite(&mut self, named: Record, target: Record) -> Result<(), Status> {
        match self.peer {
            Peer::Imagestore | Peer::Null => {
                let request = v1::PutImageRequest {
                    namespace: named.namespace().into(),
                    image: Some(native(named, target)),
                    ..Default::default()
                };
                let answer: v1::PutImageResponse = self
                    .unary("/imagestore.v1.Images/Put", None, request)
                    .await?;
                if !answer.changed {
                    return Err(Status::data_loss("the Put changed nothing"));
                }
                Ok(())
            }
            Peer::Containerd => self.send_image(containerd::UPDATE, named, target).await,
            Peer::Etcd => {
                let request = etcd::PutRequest {
                    key: key(named),
                    value: foreign(named, target).encode_to_vec(),
                };
                let _: etcd::PutResponse = self.unary(etcd::PUT, None, request).await?;
                Ok(())
            }
        }
    }

    async fn send_image(
        &mut self,
        path: &'static str,
        named: Record,
        target: Record,
    ) -> Result<(), Status> {
        let request = containerd::OneImage {
            image: Some(foreign(named, target)),
        };
        let _: containerd::OneImage = self.unary(path, Some(named.namespace()), request).await?;
        Ok(())
    }

    async fn find_by_digest(&mut self, record: Record) -> Result<(), Status> {
        let namespace = record.namespace();
        if self.peer == Peer::Containerd {
            let filter = format!("target.digest=={}", record.digest());
            return self.find(namespace, filter).await;
        }
        let request = v1::ListImagesRequest {
            namespace: namespace.into(),
            digest: record.digest(),
            ..Default::default()
        };
        let page = self.list(request).await?;
        expect_rows(page.rows.len() as u64, 1)
    }

    /// Finds the one record that a filter matches.
    async fn find(&mut self, namespace: &'static str, filter: String) -> Result<(), Status> {
        let filters = vec![filter];
        if self.peer == Peer::Containerd {
            let request = containerd::ListImagesRequest { filters };
            let answer: Rows = self
                .unary(containerd::LIST, Some(namespace), request)
                .await?;
            return expect_rows(answer.rows.len() as u64, 1);
        }
        let request = v1::ListImagesRequest {
            namespace: namespace.into(),
            filters,
            ..Default::default()
        };
        let page = self.list(request).await?;
        expect_rows(page.rows.len() as u64, 1)
    }

    /// Reads a whole namespace in the way that costs the peer least; `-` is all of imagestore's.
    pub async fn stream(&mut self, namespace: &'static str) -> Result<u64, Status> {
        if self.peer != Peer::Imagestore {
            return self.pages(namespace).await;
        }
        let request = v1::StreamImagesRequest {
            namespace: namespace.into(),
            ..Default::default()
        };
        self.ready().await?;
        let answer = self.grpc.server_streaming(
            Request::new(request),
            PathAndQuery::from_static("/imagestore.v1.Images/Stream"),
            ProstCodec::<v1::StreamImagesRequest, Rows>::default(),
        );
        let mut messages = answer.await?.into_inner();
        let mut rows = 0;
        while let Some(message) = messages.message().await? {
            rows += message.rows.len() as u64;
        }
        Ok(rows)
    }

    /// Watches all that changes in imagestore from now on.
    pub async fn watch(&mut self) -> Result<Streaming<Told>, Status> {
        let request = v1::WatchImagesRequest {
            namespace: "-".into(),
            ..Default::default()
        };
        self.ready().await?;
        let answer = self.grpc.server_streaming(
            Request::new(request),
            PathAndQuery::from_static("/imagestore.v1.Images/Watch"),
            ProstCodec::<v1::WatchImagesRequest, Told>::default(),
        );
        Ok(answer.await?.into_inner())
    }

    /// Reads a whole namespace in pages where the peer has pages, and else in one answer.
    async fn pages(&mut self, namespace: &'static str) -> Result<u64, Status> {
        match self.peer {
            Peer::Imagestore | Peer::Null => {
                let (mut rows, mut page_token) = (0, String::new());
                loop {
                    let request = v1::ListImagesRequest {
                        namespace: namespace.into(),
                        page_size: PAGE,
                        page_token,
                        ..Default::default()
                    };
                    let page = self.list(request).await?;
                    rows += page.rows.len() as u64;
                    page_token = page.next_page_token;
                    if page_token.is_empty() {
                        return Ok(rows);
                    }
                }
            }
            Peer::Containerd => {
                let request = containerd::ListImagesRequest::default();
                let answer: Rows = self
                    .unary(containerd::LIST, Some(namespace), request)
                    .await?;
                Ok(answer.rows.len() as u64)
            }
            Peer::Etcd => {
                let request = etcd::RangeRequest {
                    key: format!("{namespace}/").into_bytes(),
                    range_end: format!("{namespace}0").into_bytes(),
                };
                let answer: etcd::RangeResponse = self.unary(etcd::RANGE, None, request).await?;
                Ok(answer.rows.len() as u64)
            }
        }
    }

    async fn list(&mut self, request: v1::ListImagesRequest) -> Result<Page, Status> {
        self.unary("/imagestore.v1.Images/List", None, request)
            .await
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let ready = self.grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))
    }

    async fn unary<Q, A>(
        &mut self,
        path: &'static str,
        namespace: Option<&'static str>,
        message: Q,
    ) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.ready().await?;
        let mut request = Request::new(message);
        if let Some(namespace) = namespace {
            let value = MetadataValue::from_static(namespace);
            request.metadata_mut().insert("containerd-namespace", value);
        }
        let path = PathAndQuery::from_static(path);
        let answer = self.grpc.unary(request, path, ProstCodec::default()).await;
        answer.map(Response::into_inner)
    }
}

fn expect_rows(got: u64, expected: u64) -> Result<(), Status> {
    if got != expected {
        let shortfall = format!("expected {expected} records, got {got}");
        return Err(Status::data_loss(shortfall));
    }
    Ok(())
}

/// `/` separates, so that `namespace/` to `namespace0` is all of a namespace.
fn key(record: Record) -> Vec<u8> {
    format!("{}/{}", record.namespace(), record.name()).into_bytes()
}

/// The record as imagestore has it.
pub fn native(named: Record, target: Record) -> v1::Image {
    v1::Image {
        name: named.name(),
        labels: [(LABEL.into(), target.commit())].into(),
        target: Some(v1::Descriptor {
            media_type: MEDIA_TYPE.into(),
            digest: target.digest(),
            size: SIZE,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The record as containerd has it, which is also the value that etcd gets.
fn foreign(named: Record, target: Record) -> containerd::Image {
    containerd::Image {
        name: named.name(),
        labels: [(LABEL.into(), target.commit())].into(),
        target: Some(containerd::Descriptor {
            media_type: MEDIA_TYPE.into(),
            digest: target.digest(),
            size: SIZE,
        }),
        created_at: None,
        updated_at: None,
    }
}
