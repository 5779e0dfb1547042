//! Which images a command is about, and reading them as one stream.

use tonic::Streaming;
use tonic::transport::Channel;

use super::failure::Failure;
use crate::domain::Digest;
use crate::proto::v1::images_client::ImagesClient;
use crate::proto::v1::{CountImagesRequest, Image, StreamImagesRequest, StreamImagesResponse};

/// The options that ls, count and export share.
#[derive(Debug, clap::Args)]
pub struct Conditions {
    /// Only images with this target digest, or one that starts so: at least 4 hex digits, with or
    /// without `sha256:`
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Only images that match, such as 'labels.arch==arm64,target.size>=1000'; of several filters,
    /// one must match
    #[arg(short, long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
}

/// Images of one snapshot, in order, as they come.
pub struct Images {
    messages: Streaming<StreamImagesResponse>,
}

impl Conditions {
    pub fn stream(self, namespace: &str, prefix: Option<String>) -> StreamImagesRequest {
        let (digest, digest_prefix) = self.digest.map(whole_or_prefix).unwrap_or_default();
        StreamImagesRequest {
            namespace: namespace.to_owned(),
            name_prefix: prefix.unwrap_or_default(),
            digest,
            digest_prefix,
            filters: self.filters,
        }
    }

    pub fn count(self, namespace: &str, prefix: Option<String>) -> CountImagesRequest {
        let same = self.stream(namespace, prefix);
        CountImagesRequest {
            namespace: same.namespace,
            name_prefix: same.name_prefix,
            digest: same.digest,
            digest_prefix: same.digest_prefix,
            filters: same.filters,
        }
    }
}

/// A digest for the request's field `digest` or for `digest_prefix`.
fn whole_or_prefix(digest: String) -> (String, String) {
    match digest.parse::<Digest>() {
        Ok(_) => (digest, String::new()),
        Err(_) => (String::new(), digest),
    }
}

impl Images {
    pub async fn open(
        client: &mut ImagesClient<Channel>,
        request: StreamImagesRequest,
    ) -> Result<Self, Failure> {
        let messages = client.stream(request).await?.into_inner();
        Ok(Self { messages })
    }

    /// The images that came together; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<Image>>, Failure> {
        Ok(self.messages.message().await?.map(|message| message.images))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_digest_is_looked_up_whole() {
        let whole = format!("sha256:{}", "0".repeat(64));
        assert_eq!(
            whole_or_prefix(whole.clone()),
            (whole.clone(), String::new())
        );
        for prefix in ["0123", "sha256:0123", &whole[..70]] {
            assert_eq!(
                whole_or_prefix(prefix.to_owned()),
                (String::new(), prefix.to_owned())
            );
        }
    }
}
