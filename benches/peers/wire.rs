//! The few messages of containerd's and etcd's interfaces that the race needs, and answers of which
//! only the rows are counted.

use bytes::Bytes;
use prost::Message;

/// Rows of an answer, left undecoded, so that a list measures the server and not this client.
/// Fits `StreamImagesResponse` of imagestore and `ListImagesResponse` of containerd.
#[derive(Clone, PartialEq, Message)]
pub struct Rows {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub rows: Vec<Bytes>,
}

/// As [`Rows`], for `ListImagesResponse` of imagestore.
#[derive(Clone, PartialEq, Message)]
pub struct Page {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub rows: Vec<Bytes>,
    #[prost(string, tag = "2")]
    pub next_page_token: String,
}

/// Of `WatchImagesResponse` what says which revision it is about.
#[derive(Clone, PartialEq, Message)]
pub struct Told {
    #[prost(message, optional, tag = "3")]
    pub changes: Option<At>,
    #[prost(message, optional, tag = "4")]
    pub progress: Option<At>,
}

#[derive(Clone, PartialEq, Message)]
pub struct At {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
}

pub mod containerd {
    use std::collections::HashMap;

    use prost::Message;
    use prost_types::Timestamp;

    pub const VERSION: &str = "/containerd.services.version.v1.Version/Version";
    pub const GET: &str = "/containerd.services.images.v1.Images/Get";
    pub const LIST: &str = "/containerd.services.images.v1.Images/List";
    pub const CREATE: &str = "/containerd.services.images.v1.Images/Create";
    pub const UPDATE: &str = "/containerd.services.images.v1.Images/Update";

    #[derive(Clone, PartialEq, Message)]
    pub struct Descriptor {
        #[prost(string, tag = "1")]
        pub media_type: String,
        #[prost(string, tag = "2")]
        pub digest: String,
        #[prost(int64, tag = "3")]
        pub size: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Image {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(map = "string, string", tag = "2")]
        pub labels: HashMap<String, String>,
        #[prost(message, optional, tag = "3")]
        pub target: Option<Descriptor>,
        #[prost(message, optional, tag = "7")]
        pub created_at: Option<Timestamp>,
        #[prost(message, optional, tag = "8")]
        pub updated_at: Option<Timestamp>,
    }

    /// GetImageResponse, and the request and response of Create and of Update.
    #[derive(Clone, PartialEq, Message)]
    pub struct OneImage {
        #[prost(message, optional, tag = "1")]
        pub image: Option<Image>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct GetImageRequest {
        #[prost(string, tag = "1")]
        pub name: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct ListImagesRequest {
        #[prost(string, repeated, tag = "1")]
        pub filters: Vec<String>,
    }
}

pub mod etcd {
    use bytes::Bytes;
    use prost::Message;

    pub const RANGE: &str = "/etcdserverpb.KV/Range";
    pub const PUT: &str = "/etcdserverpb.KV/Put";

    #[derive(Clone, PartialEq, Message)]
    pub struct RangeRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub range_end: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct RangeResponse {
        #[prost(bytes = "bytes", repeated, tag = "2")]
        pub rows: Vec<Bytes>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct PutRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub value: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct PutResponse {
        #[prost(bytes = "bytes", tag = "1")]
        pub header: Bytes,
    }
}
