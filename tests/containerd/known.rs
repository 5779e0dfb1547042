//! Where imagestore answers otherwise than containerd 1.6.20 on purpose: all of it, with the reasons.
//!
//! [`ALL`] holds what generated calls come to. They do not come to the rest:
//!
//! | | containerd 1.6.20 | imagestore | because |
//! |-|-|-|-|
//! | health of a service that is there | NOT_FOUND | SERVING | clients of ours ask for theirs; of no name and of any other name both say the same |
//! | a name that is not UTF-8 | taken | the request cannot be decoded | a name is text |
//! | a request that cannot be decoded | INTERNAL, `grpc: ` and Go's words | INTERNAL, with other words at the end | they are the decoder's own |
//! | an image List over 16 MiB | RESOURCE_EXHAUSTED, with the sizes | RESOURCE_EXHAUSTED, with what to do | the client is told how it gets them |
//! | lists that nobody reads | take memory without end | 256 MiB together, then RESOURCE_EXHAUSTED for large ones | nobody else is to suffer from it |
//! | a lease's resources | any number | 10,000, of 4 MiB | a record of ours has bounds |
//! | ids of leases and resources | of any length | 4,096 bytes, no NUL | as for names |
//! | events of namespaces | of the header's namespace, with the labels of the request | of that namespace, with the labels that it has | they come from the log of what changed; as in 2.x no header is needed |
//! | a subscriber who is too slow | waited for | told so, and ended | what waits is bounded |
//! | an event or envelope that is missing | ends containerd | INVALID_ARGUMENT | nobody else is to suffer from it |
//! | an event of more than 1 MiB | told | RESOURCE_EXHAUSTED | each subscriber is sent it |
//! | filters by texts of more than 4,096 bytes in events | looked at | not looked at | others would wait |
//! | more than 4,096 selectors in a list of filters | taken | INVALID_ARGUMENT | others would wait |
//! | filters by the digest of a ContentCreate | find nothing | find it | as of a ContentDelete |
//! | Content: Write | written | UNIMPLEMENTED | there is no content |
//! | Transfer | UNIMPLEMENTED | from image to image | from 2.x, for those who tag by it |
//! | Introspection | all plugins | the services that there are | nothing else is there |
//! | Version | its own | ours, without a revision | it is not containerd |
//! | regular expressions with `(?<name>` | refused | taken | Go has them from 1.22 on |

use imagestore::domain::Namespace;
use imagestore::proto::containerd::services as pb;
use imagestore::proto::containerd::types::Descriptor;
use tonic::Code;

use crate::answer::{Answer, Reply};
use crate::call::{Ask, Call};
use crate::common::digest;

/// One such difference.
pub struct Known {
    pub name: &'static str,
    /// Why it is meant.
    pub reason: &'static str,
    /// Whether a call and what containerd and imagestore answered are an instance of it.
    fits: fn(&Call, &Answer, &Answer) -> bool,
    /// What both are asked afterwards, so that they hold the same again.
    heal: Heal,
}

/// How both come to hold the same again.
enum Heal {
    /// They do.
    Nothing,
    Image,
    Namespace,
    Lease,
    Resource,
}

/// The most bytes of a name that imagestore keeps.
const NAME_BYTES: usize = 4096;

/// The most bytes of a label's key and value.
const LABEL_BYTES: usize = 4096;

pub static ALL: [Known; 11] = [
    Known {
        name: "namespace events",
        reason: "containerd 1.6 changes a namespace, and then says that it could not publish the event \
                 unless the header names a namespace too. As in 2.x, the event is of the namespace itself",
        fits: |call, containerd, imagestore| {
            call.ask.namespace().is_some()
                && refused(containerd, Code::Unknown, "failed publishing event: ")
                && imagestore.is_ok()
        },
        heal: Heal::Nothing,
    },
    Known {
        name: "namespaces of no valid name",
        reason: "containerd's Update makes a namespace of any name, which no header can then name",
        fits: |call, _, imagestore| {
            let named = call.ask.namespace().unwrap_or_default();
            matches!(call.ask, Ask::UpdateNamespace(_))
                && named.parse::<Namespace>().is_err()
                && refused(imagestore, Code::InvalidArgument, "")
        },
        heal: Heal::Namespace,
    },
    Known {
        name: "the namespace version",
        reason: "containerd keeps its schema's version under that name",
        fits: |call, containerd, imagestore| {
            // What it makes is deleted at once, so that there is none.
            let brings = |reply: pb::namespaces::v1::Namespace| {
                *imagestore == Ok(Reply::Namespace(Some(reply)))
            };
            let is_wrong = |(key, value): (&String, &String)| {
                key.is_empty() || key.len() + value.len() > LABEL_BYTES
            };
            let is_refused_if =
                |wrong: bool| wrong && refused(imagestore, Code::InvalidArgument, "");
            let incompatible = refused(containerd, Code::Unknown, "incompatible value");
            call.ask.namespace() == Some("version")
                && match &call.ask {
                    Ask::CreateNamespace(ask) => {
                        let asked = ask.namespace.clone().unwrap_or_default();
                        let wrong = asked.labels.iter().any(is_wrong);
                        brings(asked) || is_refused_if(wrong)
                    }
                    Ask::UpdateNamespace(ask) => {
                        let mut labels = ask.namespace.iter().flat_map(|named| &named.labels);
                        let mut paths = ask.update_mask.iter().flat_map(|mask| &mask.paths);
                        let wrong =
                            labels.any(is_wrong) || paths.any(|path| !path.starts_with("labels"));
                        incompatible && (brings(Default::default()) || is_refused_if(wrong))
                    }
                    Ask::DeleteNamespace(_) => refused(imagestore, Code::NotFound, "namespace "),
                    _ => false,
                }
        },
        heal: Heal::Namespace,
    },
    Known {
        name: "long names",
        reason: "a name of ours has at most 4,096 bytes",
        fits: |call, containerd, imagestore| {
            call.ask.image().len() > NAME_BYTES
                && containerd.is_ok()
                && refused(imagestore, Code::InvalidArgument, "")
        },
        heal: Heal::Image,
    },
    Known {
        name: "NUL in names",
        reason: "NUL ends a name in our keys",
        fits: |call, containerd, imagestore| {
            call.ask.image().contains('\0')
                && containerd.is_ok()
                && refused(imagestore, Code::InvalidArgument, "")
        },
        heal: Heal::Image,
    },
    Known {
        name: "NUL in ids of leases",
        reason: "NUL ends an id in our keys",
        fits: |call, containerd, imagestore| {
            matches!(&call.ask, Ask::CreateLease(ask) if ask.id.contains('\0'))
                && containerd.is_ok()
                && refused(imagestore, Code::InvalidArgument, "")
        },
        heal: Heal::Lease,
    },
    Known {
        name: "large records",
        reason: "a record of ours has at most 256 KiB",
        fits: |call, containerd, imagestore| {
            let target = match &call.ask {
                Ask::CreateImage(ask) => ask.image.as_ref().and_then(|image| image.target.as_ref()),
                _ => None,
            };
            target.is_some_and(|target| target.annotations.contains_key("huge"))
                && containerd.is_ok()
                && refused(imagestore, Code::InvalidArgument, "")
        },
        heal: Heal::Image,
    },
    Known {
        name: "empty keys of labels",
        reason: "the client is at fault, which containerd's UNKNOWN of its database does not say",
        fits: |_, containerd, imagestore| {
            matches!(containerd, Err(refusal) if refusal.code == Code::Unknown
                && refusal.message.ends_with("key required"))
                && refused(imagestore, Code::InvalidArgument, "")
        },
        heal: Heal::Nothing,
    },
    Known {
        name: "empty names in what is empty",
        reason: "where there is nothing at all, containerd's database takes nothing for an empty name",
        fits: |call, containerd, imagestore| {
            let is_empty = match &call.ask {
                Ask::DeleteImage(ask) => ask.name.is_empty(),
                Ask::DeleteLease(ask) => ask.id.is_empty(),
                Ask::DeleteNamespace(ask) => ask.name.is_empty(),
                _ => false,
            };
            is_empty
                && refused(containerd, Code::Unknown, "incompatible value")
                && refused(imagestore, Code::NotFound, "")
        },
        heal: Heal::Nothing,
    },
    Known {
        name: "images as resources of leases",
        reason: "containerd has them from 2.0 on",
        fits: |call, containerd, imagestore| {
            let resource = match &call.ask {
                Ask::AddResource(ask) => ask.resource.as_ref(),
                Ask::DeleteResource(ask) => ask.resource.as_ref(),
                _ => None,
            };
            // As in 2.x, one without an id is refused.
            let answered = |resource: &pb::leases::v1::Resource| match imagestore {
                Ok(_) => true,
                Err(_) => {
                    resource.id.is_empty() && refused(imagestore, Code::Unknown, "key required")
                }
            };
            resource.is_some_and(|resource| resource.r#type == "images" && answered(resource))
                && refused(containerd, Code::Unimplemented, "resource type images ")
        },
        heal: Heal::Resource,
    },
    Known {
        name: "times that are none",
        reason: "times in requests do not matter; containerd 1.6 refuses to read a message with one \
                 beyond the years 1 to 9999",
        fits: |call, containerd, imagestore| {
            let asked = match &call.ask {
                Ask::CreateImage(ask) => ask.image.as_ref(),
                Ask::UpdateImage(ask) => ask.image.as_ref(),
                _ => None,
            };
            // It is made or replaced all the same.
            let done = |asked: &pb::images::v1::Image| match imagestore {
                Ok(Reply::Image(Some(image))) => {
                    image.name == asked.name
                        && image.labels == asked.labels
                        && image.target == asked.target
                        && image.created_at.is_some()
                        && image.updated_at.is_some()
                        && image.created_at != asked.created_at
                        && image.updated_at != asked.updated_at
                }
                _ => false,
            };
            asked.is_some_and(done) && refused(containerd, Code::Internal, "grpc: ")
        },
        heal: Heal::Image,
    },
];

impl Known {
    /// What both are to be asked after such a call.
    pub fn heal(&self, call: &Call) -> Vec<Call> {
        let ask = match self.heal {
            Heal::Nothing => Vec::new(),
            Heal::Image => heal_image(call.ask.image()),
            Heal::Namespace => vec![Ask::DeleteNamespace(
                pb::namespaces::v1::DeleteNamespaceRequest {
                    name: call.ask.namespace().unwrap_or_default().to_owned(),
                },
            )],
            Heal::Lease => heal_lease(&call.ask),
            Heal::Resource => heal_resource(&call.ask),
        };
        ask.into_iter().map(|ask| call.beside(ask)).collect()
    }
}

/// A name that no call of a plan has.
const OTHER: &str = "healed";

/// Deletes the image, and makes the namespace that its creation made.
fn heal_image(name: &str) -> Vec<Ask> {
    let delete = |name: &str| {
        Ask::DeleteImage(pb::images::v1::DeleteImageRequest {
            name: name.to_owned(),
            ..Default::default()
        })
    };
    let other = pb::images::v1::Image {
        name: OTHER.to_owned(),
        target: Some(Descriptor {
            media_type: "application/vnd.test".to_owned(),
            digest: digest(OTHER),
            size: 1,
            ..Default::default()
        }),
        ..Default::default()
    };
    let create = Ask::CreateImage(pb::images::v1::CreateImageRequest {
        image: Some(other),
        ..Default::default()
    });
    vec![delete(name), create, delete(OTHER)]
}

/// Deletes the lease, and makes the namespace that its creation made.
fn heal_lease(ask: &Ask) -> Vec<Ask> {
    let Ask::CreateLease(made) = ask else {
        return Vec::new();
    };
    let delete = |id: &str| {
        Ask::DeleteLease(pb::leases::v1::DeleteRequest {
            id: id.to_owned(),
            sync: false,
        })
    };
    let create = Ask::CreateLease(pb::leases::v1::CreateRequest {
        id: OTHER.to_owned(),
        ..Default::default()
    });
    vec![delete(&made.id), create, delete(OTHER)]
}

fn heal_resource(ask: &Ask) -> Vec<Ask> {
    let Ask::AddResource(added) = ask else {
        return Vec::new();
    };
    vec![Ask::DeleteResource(pb::leases::v1::DeleteResourceRequest {
        id: added.id.clone(),
        resource: added.resource.clone(),
    })]
}

fn refused(answer: &Answer, code: Code, start: &str) -> bool {
    matches!(answer, Err(refusal) if refusal.code == code && refusal.message.starts_with(start))
}

/// The one that explains a difference.
pub fn explain(call: &Call, containerd: &Answer, imagestore: &Answer) -> Option<&'static Known> {
    ALL.iter()
        .find(|known| (known.fits)(call, containerd, imagestore))
}
