//! `imagestore label`: sets and removes labels of one image.

use prost_types::FieldMask;

use super::connect::Common;
use super::failure::Failure;
use super::pair::Pair;
use super::put;
use super::retry::RequestId;
use crate::proto::v1::{Image, PutImageRequest};

/// Set or remove labels of an image, and leave its others as they are
#[derive(Debug, clap::Args)]
pub struct Label {
    /// The image's whole name
    name: String,
    /// KEY=VALUE sets a label, KEY= removes it; of a key that is given twice, the last one counts
    #[arg(required = true, value_name = "KEY=[VALUE]")]
    labels: Vec<Pair>,
    /// Only if the record has this etag
    #[arg(long, value_name = "ETAG")]
    if_etag: Option<String>,
    #[command(flatten)]
    request_id: RequestId,
}

impl Label {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let request = self.request(common.one_namespace()?.to_owned());
        let answer = common.images().await?.put(request).await?;
        put::show(common.output(), answer.into_inner(), false)
    }

    fn request(self, namespace: String) -> PutImageRequest {
        let mut image = Image {
            name: self.name,
            ..Image::default()
        };
        let mut paths = Vec::with_capacity(self.labels.len());
        for Pair { key, value } in self.labels {
            paths.push(format!("labels.{key}"));
            match value.is_empty() {
                // In the mask and not in the image: the service removes it.
                true => image.labels.remove(&key),
                false => image.labels.insert(key, value),
            };
        }
        PutImageRequest {
            namespace,
            image: Some(image),
            update_mask: Some(FieldMask { paths }),
            if_etag: self.if_etag.unwrap_or_default(),
            request_id: self.request_id.text(),
            ..PutImageRequest::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_value_is_in_the_mask_only() {
        let label = Label {
            name: "a".into(),
            labels: ["k=v", "gone=", "twice=1", "twice="]
                .map(|text| text.parse().unwrap())
                .into(),
            if_etag: None,
            request_id: RequestId::default(),
        };
        let request = label.request("ns".into());
        let paths = request.update_mask.unwrap().paths;
        assert_eq!(
            paths,
            ["labels.k", "labels.gone", "labels.twice", "labels.twice"]
        );
        assert_eq!(
            request.image.unwrap().labels,
            [("k".into(), "v".into())].into()
        );
    }
}
