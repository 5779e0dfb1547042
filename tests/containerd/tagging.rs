//! `ctr images tag` of containerd 2, which is a Transfer: 1.6 has none.

use std::collections::BTreeMap;

use imagestore::proto::containerd::services::images::v1 as pb;
use imagestore::proto::containerd::services::images::v1::images_client::ImagesClient;
use imagestore::proto::containerd::services::transfer::v1::transfer_client::TransferClient;
use imagestore::proto::containerd::services::transfer::v1::{TransferOptions, TransferRequest};
use imagestore::proto::containerd::types::Descriptor;
use imagestore::proto::containerd::types::transfer::ImageStore;
use prost::Message;
use prost_types::Any;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::call::with_metadata;
use crate::common::{Server, digest};

type Labels = BTreeMap<String, String>;

/// A server that has an image `a` with a label.
struct Tagged {
    images: ImagesClient<Channel>,
    transfer: TransferClient<Channel>,
    source: pb::Image,
    /// Ends when dropped.
    _server: Server,
}

fn request<T>(message: T) -> Request<T> {
    with_metadata(message, &["default".to_owned()], None)
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

fn image(name: &str, pairs: &[(&str, &str)]) -> pb::Image {
    pb::Image {
        name: name.to_owned(),
        labels: labels(pairs),
        target: Some(Descriptor {
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            digest: digest(name),
            size: 3700,
            ..Default::default()
        }),
        ..Default::default()
    }
}

impl Tagged {
    async fn on(server: Server) -> Self {
        let mut images = ImagesClient::new(server.channel().await);
        let create = pb::CreateImageRequest {
            image: Some(image("a", &[("app", "web")])),
            ..Default::default()
        };
        let created = images.create(request(create)).await.unwrap();
        Self {
            images,
            transfer: TransferClient::new(server.channel().await),
            source: created.into_inner().image.unwrap(),
            _server: server,
        }
    }

    /// Tags, and returns the labels of the new image, which points to where the old one does.
    async fn tag(
        &mut self,
        from: &str,
        to: &str,
        pairs: &[(&str, &str)],
    ) -> Result<Labels, Status> {
        let store = |name: &str, labels: Labels| {
            let store = ImageStore {
                name: name.to_owned(),
                labels,
                ..Default::default()
            };
            Some(Any {
                type_url: "containerd.types.transfer.ImageStore".to_owned(),
                value: store.encode_to_vec(),
            })
        };
        let tag = TransferRequest {
            source: store(from, Labels::new()),
            destination: store(to, labels(pairs)),
            options: Some(TransferOptions::default()),
        };
        self.transfer.transfer(request(tag)).await?;
        let name = to.to_owned();
        let tagged = self.images.get(request(pb::GetImageRequest { name })).await;
        let tagged = tagged?.into_inner().image.unwrap();
        assert_eq!(tagged.target, self.source.target);
        Ok(tagged.labels)
    }
}

#[tokio::test]
async fn a_tag_keeps_the_labels_of_its_source() {
    let mut on = Tagged::on(Server::start().await).await;
    let of_source = on.source.labels.clone();
    assert_eq!(on.tag("a", "b", &[]).await.unwrap(), of_source);
    let own = [("own", "1")];
    assert_eq!(on.tag("a", "c", &own).await.unwrap(), labels(&own));
    assert_eq!(on.tag("a", "b", &own).await.unwrap(), labels(&own));
    let status = on.tag("absent", "d", &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
}

#[tokio::test]
async fn a_tag_drops_them_as_containerd_2_does_where_the_server_is_told_to() {
    let server = Server::start_with(&["--transfer-labels", "drop"]).await;
    let mut on = Tagged::on(server).await;
    assert_eq!(on.tag("a", "b", &[]).await.unwrap(), Labels::new());
    let own = [("own", "1")];
    assert_eq!(on.tag("a", "b", &own).await.unwrap(), labels(&own));
    // It overwrites, and so takes away.
    assert_eq!(on.tag("a", "b", &[]).await.unwrap(), Labels::new());
}
