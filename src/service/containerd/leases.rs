//! `containerd.services.leases.v1.Leases`.
//!
//! As containerd 1.6 does it, with resources of the type `images` beside, which came with 2.0. What
//! differs is listed in `tests/containerd/known.rs`.

use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::answers::{Answers, SMALL_BYTES, sharing};
use super::digest::digest;
use super::error::{Fault, Kind, bad_filter, not_found, quoted};
use super::{fits, namespace, too_large, wire};
use crate::domain::{Dialect, Filter, Lease, LeaseId, Namespace, Resource};
use crate::error::Error;
use crate::proto::containerd::services::leases::v1 as pb;
use crate::service::time_message;
use crate::store::Store;

/// The service over a store.
pub struct Service {
    store: Store,
    answers: Answers,
}

impl Service {
    pub fn new(store: &Store, answers: &Answers) -> Self {
        Self {
            store: store.clone(),
            answers: answers.clone(),
        }
    }

    /// The namespace and the id of a lease that must be there.
    fn place(&self, metadata: &MetadataMap, id: &str) -> Result<(Namespace, LeaseId), Fault> {
        let namespace = namespace(metadata)?;
        // There is no lease of an id that none can have.
        let id = id.parse().map_err(|_| not_found("lease", id))?;
        Ok((namespace, id))
    }

    /// Says what is wrong with a resource, unless there is no such lease.
    async fn refuse(
        &self,
        (namespace, id): &(Namespace, LeaseId),
        fault: Fault,
    ) -> Result<Response<()>, Status> {
        let found = self.store.leases().get(namespace, id).await;
        found.map_err(Fault::from)?;
        Err(fault.into())
    }
}

#[tonic::async_trait]
impl pb::leases_server::Leases for Service {
    async fn create(
        &self,
        request: Request<pb::CreateRequest>,
    ) -> Result<Response<pb::CreateResponse>, Status> {
        let namespace = namespace(request.metadata())?;
        let pb::CreateRequest { id, labels } = request.into_inner();
        let leases = self.store.leases();
        let id = match id.as_str() {
            "" => leases.new_id(),
            id => id.parse().map_err(wire::refused)?,
        };
        let labels = wire::with_values(labels);
        if let Some(value) = labels.get("") {
            // That the lease is there is said first.
            let fault = match leases.get(&namespace, &id).await {
                Ok(_) => Fault::new(
                    Kind::AlreadyExists,
                    format!("lease {}", quoted(id.as_str())),
                ),
                Err(Error::NotFound(_)) => Fault::bare(
                    Kind::Unknown,
                    format!("failed to set label \"\"={}: key required", quoted(value)),
                ),
                Err(other) => other.into(),
            };
            return Err(fault.into());
        }
        let created = leases.create(&namespace, &id, labels).await;
        let created = created.map_err(Fault::from)?.value;
        Ok(Response::new(pb::CreateResponse {
            lease: Some(lease(created.record)),
        }))
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Result<Response<()>, Status> {
        let pb::DeleteRequest { id, sync } = request.get_ref();
        let (namespace, id) = self.place(request.metadata(), id)?;
        let leases = self.store.leases();
        leases.delete(&namespace, &id).await.map_err(Fault::from)?;
        if *sync {
            // containerd waits for its collector, which also takes the leases that have expired. Here
            // those that a sweep leaves go with the next one.
            leases.sweep(&namespace).await.map_err(Fault::from)?;
        }
        Ok(Response::new(()))
    }

    async fn list(
        &self,
        request: Request<pb::ListRequest>,
    ) -> Result<Response<pb::ListResponse>, Status> {
        let namespace = namespace(request.metadata())?;
        let filters = &request.get_ref().filters;
        let filter = Filter::parse::<Lease>(filters, Dialect::Containerd)
            .map_err(|error| bad_filter(&error))?;
        let mut share = None;
        loop {
            let found = self.store.leases().list(&namespace, &filter).await;
            let found = found.map_err(too_long)?.value;
            let leases = found.into_iter().map(|stored| lease(stored.record));
            let answer = pb::ListResponse {
                leases: leases.collect(),
            };
            let bytes = fits(&answer)?;
            if share.is_some() || bytes <= SMALL_BYTES {
                return Ok(sharing(answer, share));
            }
            // Read again with a share: who waits holds nothing.
            drop(answer);
            self.answers.share(&mut share, bytes).await?;
        }
    }

    async fn add_resource(
        &self,
        request: Request<pb::AddResourceRequest>,
    ) -> Result<Response<()>, Status> {
        let pb::AddResourceRequest { id, resource } = request.get_ref();
        let place = self.place(request.metadata(), id)?;
        let resource = match parse(resource.as_ref()) {
            Ok(resource) => resource,
            Err(Unfit::Never(fault) | Unfit::Unheld(fault)) => {
                return self.refuse(&place, fault).await;
            }
        };
        let (namespace, id) = &place;
        let leases = self.store.leases();
        let added = leases.add_resource(namespace, id, &resource).await;
        added.map_err(Fault::from)?;
        Ok(Response::new(()))
    }

    async fn delete_resource(
        &self,
        request: Request<pb::DeleteResourceRequest>,
    ) -> Result<Response<()>, Status> {
        let pb::DeleteResourceRequest { id, resource } = request.get_ref();
        let place = self.place(request.metadata(), id)?;
        let (namespace, id) = &place;
        let leases = self.store.leases();
        let done = match parse(resource.as_ref()) {
            Ok(resource) => leases
                .delete_resource(namespace, id, &resource)
                .await
                .map(|_| ()),
            // Nothing is wrong with deleting what is not there.
            Err(Unfit::Unheld(_)) => leases.get(namespace, id).await.map(|_| ()),
            Err(Unfit::Never(fault)) => return self.refuse(&place, fault).await,
        };
        done.map_err(Fault::from)?;
        Ok(Response::new(()))
    }

    async fn list_resources(
        &self,
        request: Request<pb::ListResourcesRequest>,
    ) -> Result<Response<pb::ListResourcesResponse>, Status> {
        let id = &request.get_ref().id;
        let (namespace, id) = self.place(request.metadata(), id)?;
        let held = self.store.leases().resources(&namespace, &id).await;
        let held = held.map_err(Fault::from)?.value;
        Ok(Response::new(pb::ListResourcesResponse {
            resources: held.into_iter().map(shown).collect(),
        }))
    }
}

/// Why something is no resource of a lease.
enum Unfit {
    /// There is no such type, or no such id of it.
    Never(Fault),
    /// No lease holds it, but containerd lets it be asked for.
    Unheld(Fault),
}

fn parse(resource: Option<&pb::Resource>) -> Result<Resource, Unfit> {
    let (kind, id) = resource.map_or(("", ""), |resource| (&resource.r#type, &resource.id));
    let never = |kind, text| Unfit::Never(Fault::new(kind, text));
    let required =
        |what: &str| Unfit::Unheld(Fault::bare(Kind::Unknown, format!("{what} required")));
    let unheld = |invalid| Unfit::Unheld(wire::refused(invalid));
    let (name, rest) = match kind.split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (kind, None),
    };
    match (name, rest) {
        ("content" | "ingests", Some(_)) => Err(never(
            Kind::InvalidArgument,
            format!("invalid resource type {kind}"),
        )),
        ("content", None) => digest(id).map(Resource::Content).map_err(|why| {
            let text = format!("invalid content resource id {id}: {why}");
            never(Kind::InvalidArgument, text)
        }),
        ("images" | "ingests", None) if id.is_empty() => Err(required("key")),
        ("images", None) => id.parse().map(Resource::Image).map_err(unheld),
        ("ingests", None) => id.parse().map(Resource::Ingest).map_err(unheld),
        ("snapshots", rest) if rest.is_none_or(|rest| rest.contains('/')) => Err(never(
            Kind::InvalidArgument,
            format!("invalid snapshot resource type {kind}"),
        )),
        ("snapshots", Some("")) => Err(required("bucket name")),
        ("snapshots", Some(_)) if id.is_empty() => Err(required("key")),
        ("snapshots", Some(snapshotter)) => Ok(Resource::Snapshot {
            snapshotter: snapshotter.parse().map_err(unheld)?,
            key: id.parse().map_err(unheld)?,
        }),
        _ => Err(never(
            Kind::NotImplemented,
            format!("resource type {kind} not supported yet"),
        )),
    }
}

fn shown(resource: Resource) -> pb::Resource {
    let (kind, id) = match resource {
        Resource::Content(digest) => ("content".to_owned(), digest.text()),
        Resource::Image(name) => ("images".to_owned(), name.to_string()),
        Resource::Ingest(id) => ("ingests".to_owned(), id.to_string()),
        Resource::Snapshot { snapshotter, key } => {
            (format!("snapshots/{snapshotter}"), key.to_string())
        }
    };
    pb::Resource { id, r#type: kind }
}

fn lease(lease: Lease) -> pb::Lease {
    pb::Lease {
        id: lease.id.to_string(),
        created_at: Some(time_message(lease.created_at)),
        labels: lease.labels,
    }
}

/// The size that it says is that of what was read until then.
fn too_long(error: Error) -> Fault {
    match error {
        Error::TooLarge { size, .. } => too_large(size),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tonic::Code;

    use super::*;
    use crate::kv::Memory;
    use crate::proto::containerd::services::leases::v1::leases_client::LeasesClient;
    use crate::proto::containerd::services::leases::v1::leases_server::LeasesServer;
    use crate::service::fixture::{in_namespace, said, store};

    type Client = LeasesClient<LeasesServer<Service>>;

    /// A store in memory behind the service, and what it is called with.
    struct On {
        store: Store,
        client: Client,
    }

    /// What an answer holds, or the code and the text of a refusal.
    type Said<T> = Result<T, (Code, String)>;

    fn asked<T>(message: T) -> Request<T> {
        in_namespace("ns", message)
    }

    fn refusal<T>(code: Code, text: impl Into<String>) -> Said<T> {
        Err((code, text.into()))
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(pair).collect()
    }

    fn resource(kind: &str, id: &str) -> pb::Resource {
        pb::Resource {
            id: id.to_owned(),
            r#type: kind.to_owned(),
        }
    }

    impl On {
        async fn memory() -> Self {
            let store = store(Arc::new(Memory::new())).await;
            let service = LeasesServer::new(Service::new(&store, &Answers::new()));
            Self {
                store,
                client: LeasesClient::new(service),
            }
        }

        async fn create(&mut self, id: &str, pairs: &[(&str, &str)]) -> Said<pb::Lease> {
            let request = pb::CreateRequest {
                id: id.to_owned(),
                labels: labels(pairs),
            };
            let created = said(self.client.create(asked(request)).await);
            created.map(|created| created.lease.expect("an answer has its lease"))
        }

        async fn delete(&mut self, id: &str, sync: bool) -> Said<()> {
            let id = id.to_owned();
            said(
                self.client
                    .delete(asked(pb::DeleteRequest { id, sync }))
                    .await,
            )
        }

        async fn list(&mut self, filters: &[&str]) -> Said<Vec<String>> {
            let filters = filters.iter().map(|text| (*text).to_owned()).collect();
            let found = said(self.client.list(asked(pb::ListRequest { filters })).await)?;
            Ok(found.leases.into_iter().map(|lease| lease.id).collect())
        }

        async fn add(&mut self, id: &str, resource: Option<pb::Resource>) -> Said<()> {
            let id = id.to_owned();
            let request = pb::AddResourceRequest { id, resource };
            said(self.client.add_resource(asked(request)).await)
        }

        async fn drop(&mut self, id: &str, resource: Option<pb::Resource>) -> Said<()> {
            let id = id.to_owned();
            let request = pb::DeleteResourceRequest { id, resource };
            said(self.client.delete_resource(asked(request)).await)
        }

        async fn resources(&mut self, id: &str) -> Said<Vec<pb::Resource>> {
            let id = id.to_owned();
            let request = asked(pb::ListResourcesRequest { id });
            let held = said(self.client.list_resources(request).await)?;
            Ok(held.resources)
        }
    }

    #[tokio::test]
    async fn a_namespace_is_asked_for_before_anything_else() {
        let mut on = On::memory().await;
        let required = || {
            refusal::<()>(
                Code::FailedPrecondition,
                "namespace is required: failed precondition",
            )
        };
        let answers = [
            said(on.client.create(pb::CreateRequest::default()).await).map(|_| ()),
            said(on.client.delete(pb::DeleteRequest::default()).await),
            said(
                on.client
                    .list(pb::ListRequest {
                        filters: vec!["=".to_owned()],
                    })
                    .await,
            )
            .map(|_| ()),
            said(
                on.client
                    .add_resource(pb::AddResourceRequest::default())
                    .await,
            ),
            said(
                on.client
                    .delete_resource(pb::DeleteResourceRequest::default())
                    .await,
            ),
            said(
                on.client
                    .list_resources(pb::ListResourcesRequest::default())
                    .await,
            )
            .map(|_| ()),
        ];
        for answer in answers {
            assert_eq!(answer, required());
        }
    }

    #[tokio::test]
    async fn a_create_answers_as_containerd_does() {
        let mut on = On::memory().await;
        let no_key = "failed to set label \"\"=\"v\": key required";
        assert_eq!(
            on.create("l0", &[("", "v")]).await,
            refusal(Code::Unknown, no_key)
        );
        let ns = "ns".parse().unwrap();
        assert!(
            on.store.namespaces().get(&ns).await.is_err(),
            "it made none"
        );

        let made = on
            .create("l1", &[("a", "b"), ("e", ""), ("", "")])
            .await
            .unwrap();
        let wanted = pb::Lease {
            id: "l1".to_owned(),
            created_at: Some(prost_types::Timestamp {
                seconds: 1000,
                nanos: 0,
            }),
            labels: labels(&[("a", "b")]),
        };
        assert_eq!(made, wanted);
        for pairs in [&[][..], &[("", "v")]] {
            let exists = refusal(Code::AlreadyExists, "lease \"l1\": already exists");
            assert_eq!(on.create("l1", pairs).await, exists);
        }
        assert_eq!(on.create("", &[]).await.unwrap().id, "0-CQkJ");
        let large = "v".repeat(5000);
        assert!(on.create("a/b c\n", &[(&large, &large)]).await.is_ok());
        // No lease of ours can have it.
        let (code, _) = on.create("a\0b", &[]).await.unwrap_err();
        assert_eq!(code, Code::InvalidArgument);
        let huge = "v".repeat(300 << 10);
        let (code, _) = on.create("huge", &[("k", &huge)]).await.unwrap_err();
        assert_eq!(code, Code::InvalidArgument);
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found_whatever_is_wrong_besides() {
        let mut on = On::memory().await;
        let long = "x".repeat(5000);
        for there_is_a_lease in [false, true] {
            for id in ["nope", "", "no\npe"] {
                let text = format!("lease {}: not found", quoted(id));
                let not_found = || refusal(Code::NotFound, text.clone());
                assert_eq!(on.delete(id, true).await, not_found());
                assert_eq!(on.add(id, Some(resource("foo", ""))).await, not_found());
                assert_eq!(on.drop(id, Some(resource("foo", ""))).await, not_found());
                assert_eq!(
                    on.drop(id, Some(resource("ingests", ""))).await,
                    not_found()
                );
                assert_eq!(on.resources(id).await.map(|_| ()), not_found());
            }
            assert_eq!(on.delete(&long, false).await.unwrap_err().0, Code::NotFound);
            if !there_is_a_lease {
                on.create("l1", &[]).await.unwrap();
            }
        }
        on.delete("l1", false).await.unwrap();
        assert_eq!(on.list(&[]).await.unwrap(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn leases_are_listed_by_id_and_filtered_as_containerd_does() {
        let mut on = On::memory().await;
        assert_eq!(on.list(&[]).await.unwrap(), Vec::<String>::new());
        on.create("l1", &[("a", "b")]).await.unwrap();
        on.create("Z", &[]).await.unwrap();
        for (filters, found) in [
            (&[][..], &["Z", "l1"][..]),
            (&["id==l1"], &["l1"]),
            (&["labels.a==b", "id==Z"], &["Z", "l1"]),
            (&["labels.a"], &["l1"]),
            (&["labels.a!=x,id==Z"], &["Z"]),
            (&["id"], &["Z", "l1"]),
            (&["labels"], &[]),
            (&["created_at"], &[]),
            (&["name==l1"], &[]),
            (&["id~=["], &[]),
        ] {
            assert_eq!(on.list(filters).await.unwrap(), found, "{filters:?}");
        }
        let twice = "filters: parse error: [id >|=|< l1]: unsupported operator \"=\": \
            invalid argument: invalid argument";
        let refused = on.list(&["id==l1", "id=l1"]).await;
        assert_eq!(refused, refusal(Code::InvalidArgument, twice));
    }

    #[tokio::test]
    async fn what_a_lease_holds_is_listed_in_containerds_order() {
        let mut on = On::memory().await;
        on.create("l1", &[]).await.unwrap();
        let held = [
            resource("content", &format!("sha256:{}", "ab".repeat(32))),
            resource("content", &format!("sha384:{}", "ab".repeat(48))),
            resource("content", &format!("sha512:{}", "ab".repeat(64))),
            resource("images", "docker.io/library/a:1"),
            resource("ingests", "a/b é\n"),
            resource("ingests", "r1"),
            resource("snapshots/native", "k"),
            resource("snapshots/over lay\"fs", "k"),
        ];
        for resource in held.iter().rev().chain(&held) {
            assert_eq!(on.add("l1", Some(resource.clone())).await, Ok(()));
        }
        assert_eq!(on.resources("l1").await.unwrap(), held);
        for resource in held.iter().chain(&held) {
            assert_eq!(on.drop("l1", Some(resource.clone())).await, Ok(()));
        }
        assert_eq!(on.resources("l1").await.unwrap(), []);
    }

    #[tokio::test]
    async fn resources_that_cannot_be_are_refused_in_containerds_words() {
        let mut on = On::memory().await;
        on.create("l1", &[]).await.unwrap();
        let digest = format!("sha256:{}", "ab".repeat(32));
        let (unserved, invalid) = (Code::Unimplemented, Code::InvalidArgument);
        for (kind, id, code, text) in [
            (
                "content",
                "zz",
                invalid,
                "invalid content resource id zz: invalid checksum digest format: invalid argument",
            ),
            (
                "content",
                "",
                invalid,
                "invalid content resource id : invalid checksum digest format: invalid argument",
            ),
            (
                "content",
                "md5:ab",
                invalid,
                "invalid content resource id md5:ab: unsupported digest algorithm: invalid argument",
            ),
            (
                "content",
                "sha256:ab",
                invalid,
                "invalid content resource id sha256:ab: invalid checksum digest length: invalid argument",
            ),
            (
                "content/",
                &digest,
                invalid,
                "invalid resource type content/: invalid argument",
            ),
            (
                "ingests/x",
                "r",
                invalid,
                "invalid resource type ingests/x: invalid argument",
            ),
            (
                "snapshots",
                "k",
                invalid,
                "invalid snapshot resource type snapshots: invalid argument",
            ),
            (
                "snapshots/a/b",
                "k",
                invalid,
                "invalid snapshot resource type snapshots/a/b: invalid argument",
            ),
            (
                "snapshots//",
                "k",
                invalid,
                "invalid snapshot resource type snapshots//: invalid argument",
            ),
            (
                "images/x",
                "i",
                unserved,
                "resource type images/x not supported yet: not implemented",
            ),
            (
                "",
                "",
                unserved,
                "resource type  not supported yet: not implemented",
            ),
            (
                "foo/bar",
                "x",
                unserved,
                "resource type foo/bar not supported yet: not implemented",
            ),
            (
                "/content",
                "x",
                unserved,
                "resource type /content not supported yet: not implemented",
            ),
            (
                "Content",
                &digest,
                unserved,
                "resource type Content not supported yet: not implemented",
            ),
        ] {
            let refused = refusal(code, text);
            assert_eq!(
                on.add("l1", Some(resource(kind, id))).await,
                refused,
                "{kind} {id}"
            );
            assert_eq!(
                on.drop("l1", Some(resource(kind, id))).await,
                refused,
                "{kind} {id}"
            );
        }
        let none = refusal(
            unserved,
            "resource type  not supported yet: not implemented",
        );
        assert_eq!(on.add("l1", None).await, none);
        assert_eq!(on.drop("l1", None).await, none);
        for (kind, id, text) in [
            ("ingests", "", "key required"),
            ("images", "", "key required"),
            ("snapshots/overlayfs", "", "key required"),
            ("snapshots/", "k", "bucket name required"),
        ] {
            let refused = refusal(Code::Unknown, text);
            assert_eq!(on.add("l1", Some(resource(kind, id))).await, refused);
            assert_eq!(on.drop("l1", Some(resource(kind, id))).await, Ok(()));
        }
        for id in ["a\0b", &"x".repeat(5000)] {
            for kind in ["ingests", "images", "snapshots/overlayfs"] {
                let refused = on.add("l1", Some(resource(kind, id))).await.unwrap_err();
                assert_eq!(refused.0, invalid);
                assert_eq!(on.drop("l1", Some(resource(kind, id))).await, Ok(()));
            }
        }
        assert_eq!(on.resources("l1").await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_delete_with_sync_takes_expired_leases_along() {
        let mut on = On::memory().await;
        let expired = [(Lease::EXPIRY, "1970-01-01T00:00:00Z")];
        for id in ["a", "b", "c"] {
            on.create(id, &expired).await.unwrap();
        }
        on.create("d", &[]).await.unwrap();
        let other = "other".parse().unwrap();
        let leases = on.store.leases();
        let (id, expired) = ("b".parse().unwrap(), labels(&expired));
        leases.create(&other, &id, expired).await.unwrap();
        on.delete("a", false).await.unwrap();
        assert_eq!(on.list(&[]).await.unwrap(), ["b", "c", "d"]);
        on.delete("b", true).await.unwrap();
        assert_eq!(on.list(&[]).await.unwrap(), ["d"]);
        // Those of other namespaces are not the caller's to wait for.
        on.store.leases().get(&other, &id).await.unwrap();
    }

    #[tokio::test]
    async fn a_list_that_is_too_long_says_so_as_containerd_does() {
        let mut on = On::memory().await;
        let large = "v".repeat(250 << 10);
        for i in 0..70 {
            on.create(&i.to_string(), &[("k", &large)]).await.unwrap();
        }
        let (code, text) = on.list(&[]).await.unwrap_err();
        assert_eq!(code, Code::ResourceExhausted);
        assert!(
            text.starts_with("grpc: trying to send message larger than max ("),
            "{text}"
        );
        assert_eq!(on.list(&["id==1"]).await.unwrap(), ["1"]);
    }
}
