//! Hands to the store what another one holds, in requests that it takes, and keeps account of it.

use std::collections::BTreeMap;
use std::mem;

use indicatif::ProgressBar;
use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::account::{Account, How};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Output;
use crate::domain::ImageName;
use crate::proto::v1::store_client::StoreClient;
use crate::proto::v1::{Image, ImportRequest, ImportResponse, ImportedLabels, ImportedLease};
use crate::store::ApplyImages;

/// Things of one namespace.
#[derive(Default)]
pub struct Goods {
    /// The namespace's labels, where they are known.
    pub labels: Option<BTreeMap<String, String>>,
    pub images: Vec<Image>,
    /// Names that there are no more.
    pub deleted: Vec<String>,
    pub leases: Vec<ImportedLease>,
}

/// Hands things over, many at once.
pub struct Taker {
    client: StoreClient<Channel>,
    account: Account,
}

/// Bytes of the things of one request, well below the service's rules.
const MAX_BYTES: usize = 2 << 20;

impl Taker {
    pub fn new(client: StoreClient<Channel>, how: How, bar: ProgressBar, output: Output) -> Self {
        Self {
            client,
            account: Account::new(how, bar, output),
        }
    }

    /// Hands over all of it. Names come before leases, as they do in the request.
    pub async fn take(&mut self, namespace: &str, goods: Goods) -> Result<(), Failure> {
        let Goods {
            labels,
            images,
            deleted,
            leases,
        } = goods;
        let mut group = Group::new(namespace);
        if let Some(labels) = labels {
            let labels = ImportedLabels { labels };
            let bytes = labels.encoded_len();
            if bytes > MAX_BYTES {
                let why = format!("have {bytes} bytes, far more than a namespace may have");
                self.refuse(namespace, "labels", &why)?;
            } else {
                group.bytes += bytes;
                group.request.labels = Some(labels);
            }
        }
        for image in images {
            let bytes = image.encoded_len();
            if bytes > MAX_BYTES {
                let why = format!("has {bytes} bytes, far more than a record may have");
                self.refuse(namespace, &image.name, &why)?;
                continue;
            }
            self.make_room(&mut group, bytes).await?;
            group.request.images.push(image);
        }
        // What cannot be a name here is not here.
        for name in deleted
            .into_iter()
            .filter(|name| name.parse::<ImageName>().is_ok())
        {
            let bytes = name.len();
            self.make_room(&mut group, bytes).await?;
            group.request.deleted_images.push(name);
        }
        for lease in leases {
            let bytes = lease.encoded_len();
            if bytes > MAX_BYTES {
                let why = format!("has {bytes} bytes, far more than a lease may have");
                self.refuse(namespace, &format!("lease {}", lease.id), &why)?;
                continue;
            }
            self.make_room(&mut group, bytes).await?;
            group.request.leases.push(lease);
        }
        match group.items > 0 || group.request.labels.is_some() {
            true => self.send(group.request).await,
            false => Ok(()),
        }
    }

    /// What to say of the one namespace that was asked for and is not there.
    pub fn has_none(&self, namespace: &str) -> Failure {
        self.account.bar.finish_and_clear();
        Failure::new(format!("containerd has no namespace {namespace}")).exiting(Exit::NotFound)
    }

    /// Notes what could not even be asked for: an error, unless the import goes on past it.
    pub fn refuse(&mut self, namespace: &str, what: &str, why: &str) -> Result<(), Failure> {
        self.account.refuse(&format!("{namespace}/{what}"), why)
    }

    /// The same for a namespace that there cannot be, with all that is in it.
    pub fn refuse_namespace(&mut self, name: &str) -> Result<(), Failure> {
        let what = format!("namespace {name:?}");
        self.account.refuse(&what, "it has no valid name")
    }

    /// Tells what was taken.
    pub fn report(self) -> Result<(), Failure> {
        self.account.report()
    }

    async fn make_room(&mut self, group: &mut Group, bytes: usize) -> Result<(), Failure> {
        let is_full = group.items == ApplyImages::MAX_ITEMS || group.bytes + bytes > MAX_BYTES;
        if group.items > 0 && is_full {
            let full = mem::replace(group, Group::new(&group.request.namespace));
            self.send(full.request).await?;
        }
        group.items += 1;
        group.bytes += bytes;
        Ok(())
    }

    /// Sends a request: again without each thing that is refused, and in halves where all of it is too much
    /// for one write.
    async fn send(&mut self, request: ImportRequest) -> Result<(), Failure> {
        let mut requests = vec![request];
        while let Some(mut request) = requests.pop() {
            request.validate_only = self.account.how.dry_run;
            let status = match self.client.import(request.clone()).await {
                Ok(answer) => {
                    self.settle(&request.namespace, answer.get_ref());
                    continue;
                }
                Err(status) => status,
            };
            if let Some((what, why)) = blamed(&mut request, &status) {
                self.refuse(&request.namespace, &what, &why)?;
                requests.push(request);
                continue;
            }
            if status.code() == Code::InvalidArgument
                && let Some(half) = halve(&mut request)
            {
                requests.extend([half, request]);
                continue;
            }
            return Err(self.account.broke_off(status.into()));
        }
        Ok(())
    }

    fn settle(&mut self, namespace: &str, answer: &ImportResponse) {
        let taken = self.account.taken.of(namespace);
        let before = taken.images.all();
        for (sum, more) in [
            (&mut taken.namespace, answer.namespaces),
            (&mut taken.images, answer.images),
            (&mut taken.leases, answer.leases),
        ] {
            let more = more.unwrap_or_default();
            sum.created += more.created;
            sum.changed += more.changed;
            sum.unchanged += more.unchanged;
            sum.deleted += more.deleted;
        }
        let after = taken.images.all();
        self.account
            .bar
            .inc(u64::try_from(after - before).unwrap_or(0));
    }
}

/// A request in the making.
struct Group {
    request: ImportRequest,
    items: usize,
    bytes: usize,
}

impl Group {
    fn new(namespace: &str) -> Self {
        Self {
            request: ImportRequest {
                namespace: namespace.to_owned(),
                from_containerd: true,
                ..ImportRequest::default()
            },
            items: 0,
            bytes: 0,
        }
    }
}

/// The thing that a request was refused for, which is taken out of it, and what is wrong with it.
fn blamed(request: &mut ImportRequest, status: &Status) -> Option<(String, String)> {
    if status.code() != Code::InvalidArgument {
        return None;
    }
    let details = status.get_details_bad_request()?;
    let violation = details.field_violations.first()?;
    let (field, why) = (violation.field.as_str(), &violation.description);
    let (list, rest) = field.split_once('[').unwrap_or((field, ""));
    let (index, part) = rest.split_once(']').unwrap_or(("", ""));
    let part = part.trim_start_matches('.');
    let why = format!("{} {why}", if part.is_empty() { "it" } else { part });
    let index: Option<usize> = index.parse().ok();
    match (list, index) {
        ("images", Some(index)) if index < request.images.len() => {
            Some((request.images.remove(index).name, why))
        }
        ("leases", Some(index)) if index < request.leases.len() => {
            Some((format!("lease {}", request.leases.remove(index).id), why))
        }
        // Without them those that are here stay.
        _ if field == "labels" || field.starts_with("labels.") => {
            request.labels = None;
            Some(("labels".to_owned(), why))
        }
        _ => None,
    }
}

/// Takes half of the longest list out of a request; `None` where nothing has two.
fn halve(request: &mut ImportRequest) -> Option<ImportRequest> {
    let mut half = ImportRequest {
        namespace: request.namespace.clone(),
        from_containerd: request.from_containerd,
        ..ImportRequest::default()
    };
    let longest = request
        .images
        .len()
        .max(request.deleted_images.len())
        .max(request.leases.len());
    let middle = longest.div_ceil(2);
    if longest < 2 {
        return None;
    }
    if request.images.len() == longest {
        half.images = request.images.split_off(middle);
    } else if request.deleted_images.len() == longest {
        half.deleted_images = request.deleted_images.split_off(middle);
    } else {
        half.leases = request.leases.split_off(middle);
    }
    Some(half)
}
