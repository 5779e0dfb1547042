//! Puts what the store holds into a running containerd.
//!
//! containerd keeps less: of a target only media type, digest, size and annotations, no text that is empty,
//! of leases no times but its own, and before 1.7 of images neither. What is lost so is told; nothing is
//! taken away there.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::cli::address::Address;
use crate::cli::connect::{Common, PAGE_SIZE};
use crate::cli::containerd::{Containerd, RawImage};
use crate::cli::failure::{Exit, Failure, concerns_one_item, say};
use crate::cli::output::{self, Output};
use crate::cli::table::Table;
use crate::cli::tally::Tally;
use crate::proto::containerd::services::images::v1 as theirs;
use crate::proto::containerd::types;
use crate::proto::v1::images_client::ImagesClient;
use crate::proto::v1::{Image, ImportedLease, ListImagesRequest, ListNamespacesRequest, Namespace};

/// Images that are put at once: containerd syncs its file for each.
const IN_FLIGHT: usize = 16;

struct Exporter {
    containerd: Containerd,
    keep_going: bool,
    bar: ProgressBar,
    tally: Tally,
    lost: Lost,
    refused: u64,
}

/// Images and leases of which containerd keeps less, by what is lost.
#[derive(Default, Serialize)]
struct Lost {
    image_times: u64,
    lease_times: u64,
    urls: u64,
    platform: u64,
    artifact_type: u64,
    data: u64,
    empty_texts: u64,
}

/// The report as JSON.
#[derive(Serialize)]
struct Report<'a> {
    namespaces: &'a Tally,
    lost: &'a Lost,
    refused: u64,
}

/// What became of something.
#[derive(Clone, Copy)]
enum Outcome {
    Created,
    Changed,
    Unchanged,
}

pub async fn run(
    address: Address,
    only: Option<&str>,
    keep_going: bool,
    common: &Common,
) -> Result<(), Failure> {
    let namespaces = namespaces(common, only).await?;
    let containerd = Containerd::connect(address).await?;
    let mut exporter = Exporter {
        containerd,
        keep_going,
        bar: progress(&namespaces),
        tally: Tally::default(),
        lost: Lost::default(),
        refused: 0,
    };
    let own = Containerd::of_store(common.channel().await?);
    let mut images = common.images().await?;
    for namespace in namespaces {
        let name = namespace.name.clone();
        exporter.put_namespace(namespace).await?;
        exporter.put_images(&name, &mut images).await?;
        let leases = own.leases(&name).await?.into_iter();
        // The store's own texts are text.
        let leases = leases.filter_map(Result::ok).collect();
        exporter.put_leases(&name, leases).await?;
    }
    exporter.report(common.output())
}

/// A bar over the images. Only on a terminal.
fn progress(namespaces: &[Namespace]) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40} {percent:>3}%  {pos} of {len} images  {elapsed}");
    let images: i64 = namespaces.iter().map(|namespace| namespace.images).sum();
    ProgressBar::new(u64::try_from(images).unwrap_or(0))
        .with_style(style.expect("the template is well formed"))
}

async fn namespaces(common: &Common, only: Option<&str>) -> Result<Vec<Namespace>, Failure> {
    let mut client = common.namespaces().await?;
    let mut request = ListNamespacesRequest {
        page_size: PAGE_SIZE,
        ..ListNamespacesRequest::default()
    };
    let mut all = Vec::new();
    loop {
        let page = client.list(request.clone()).await?.into_inner();
        all.extend(page.namespaces);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if let Some(only) = only {
        all.retain(|namespace| namespace.name == only);
        if all.is_empty() {
            return Err(Failure::new(format!("namespace {only} not found"))
                .exiting(Exit::NotFound)
                .next("'imagestore ns ls' shows which there are"));
        }
    }
    Ok(all)
}

// === impl Exporter ===

impl Exporter {
    async fn put_namespace(&mut self, namespace: Namespace) -> Result<(), Failure> {
        let Namespace { name, labels, .. } = namespace;
        let labels = self.without_empty(labels);
        let result = self.namespace(&name, labels).await;
        let counts = |exporter: &mut Self, outcome: Outcome| {
            outcome.add_to(&mut exporter.tally.of(&name).namespace);
        };
        match result {
            Ok(outcome) => {
                counts(self, outcome);
                Ok(())
            }
            Err(status) => self.refuse(&name, "namespace", &status),
        }
    }

    async fn namespace(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<Outcome, Status> {
        match self.containerd.create_namespace(name, labels.clone()).await {
            Err(status) if status.code() == Code::AlreadyExists => {}
            created => return created.map(|()| Outcome::Created),
        }
        let there = self.containerd.namespace(name).await?;
        if there.labels().as_ref() == Ok(&labels) {
            return Ok(Outcome::Unchanged);
        }
        let updated = self.containerd.update_namespace(name, labels).await;
        updated.map(|()| Outcome::Changed)
    }

    async fn put_images(
        &mut self,
        namespace: &str,
        client: &mut ImagesClient<Channel>,
    ) -> Result<(), Failure> {
        // By pages: no snapshot lives as long as containerd may take for all of them.
        let mut request = ListImagesRequest {
            namespace: namespace.to_owned(),
            page_size: PAGE_SIZE,
            ..ListImagesRequest::default()
        };
        loop {
            let page = client.list(request.clone()).await?.into_inner();
            let images = page.images.into_iter().map(|image| self.reduced(image));
            let images: Vec<Image> = images.collect();
            let containerd = &self.containerd.clone();
            let mut put = stream::iter(images)
                .map(|image| async move {
                    let result = put_image(containerd, namespace, &image).await;
                    (image.name, result)
                })
                .buffer_unordered(IN_FLIGHT);
            while let Some((name, result)) = put.next().await {
                self.bar.inc(1);
                match result {
                    Ok((outcome, keeps_times)) => {
                        self.lost.image_times += u64::from(!keeps_times);
                        outcome.add_to(&mut self.tally.of(namespace).images);
                    }
                    Err(status) => self.refuse(namespace, &name, &status)?,
                }
            }
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn put_leases(
        &mut self,
        namespace: &str,
        leases: Vec<ImportedLease>,
    ) -> Result<(), Failure> {
        for mut lease in leases {
            lease.labels = self.without_empty(lease.labels);
            let outcome = match self.containerd.create_lease(namespace, &lease).await {
                Ok(()) => {
                    self.lost.lease_times += 1;
                    Outcome::Created
                }
                // Its labels cannot be changed; what it holds is added.
                Err(status) if status.code() == Code::AlreadyExists => Outcome::Unchanged,
                Err(status) => {
                    self.refuse(namespace, &format!("lease {}", lease.id), &status)?;
                    continue;
                }
            };
            for resource in lease.resources {
                let what = format!("lease {}, {} {}", lease.id, resource.r#type, resource.id);
                let added = self
                    .containerd
                    .add_resource(namespace, &lease.id, resource)
                    .await;
                if let Err(status) = added {
                    self.refuse(namespace, &what, &status)?;
                }
            }
            outcome.add_to(&mut self.tally.of(namespace).leases);
        }
        Ok(())
    }

    /// Notes what containerd does not take: an error, unless the export goes on past it.
    fn refuse(&mut self, namespace: &str, what: &str, status: &Status) -> Result<(), Failure> {
        // containerd has no code for what its engine refuses, such as an empty key.
        let is_its_fault = concerns_one_item(status.code()) || status.code() == Code::Unknown;
        if !is_its_fault && status.code() != Code::Unimplemented {
            self.bar.finish_and_clear();
            return Err(self
                .containerd
                .failure(&format!("putting {namespace}/{what}"), status)
                .next("Export again when that is mended; what is there already stays"));
        }
        self.refused += 1;
        let said = format!("{namespace}/{what}: {}", status.message());
        if self.keep_going {
            self.bar.suspend(|| say(&said));
            return Ok(());
        }
        self.bar.finish_and_clear();
        Err(Failure::new(format!(
            "the export stopped at {said}; what came before it stays"
        ))
        .next("Pass over what containerd refuses with --keep-going"))
    }

    /// The image as containerd can keep it.
    fn reduced(&mut self, mut image: Image) -> Image {
        let mut target = image.target.take().unwrap_or_default();
        let lost = &mut self.lost;
        lost.urls += u64::from(!target.urls.is_empty());
        lost.platform += u64::from(target.platform.take().is_some());
        lost.artifact_type += u64::from(!target.artifact_type.is_empty());
        lost.data += u64::from(!target.data.is_empty());
        target.annotations = self.without_empty(target.annotations);
        image.labels = self.without_empty(image.labels);
        image.target = Some(target);
        image
    }

    fn without_empty(&mut self, mut texts: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let before = texts.len();
        texts.retain(|_, value| !value.is_empty());
        self.lost.empty_texts += (before - texts.len()) as u64;
        texts
    }

    fn report(self, output: Output) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        match output {
            Output::Table => {
                let lost = self.lost.table().map(|lost| format!("\n{lost}"));
                let text = self.tally.table().to_string() + &lost.unwrap_or_default();
                output::text(&text)?;
            }
            Output::Json | Output::Ndjson => {
                let report = Report {
                    namespaces: &self.tally,
                    lost: &self.lost,
                    refused: self.refused,
                };
                output::object(output, &report)?;
            }
        }
        match self.refused {
            0 => Ok(()),
            _ => Err(Failure::told(Exit::Error)),
        }
    }
}

/// Creates an image, or makes the one that is there the same. Says what was done, and whether the times are
/// the image's own then.
async fn put_image(
    containerd: &Containerd,
    namespace: &str,
    image: &Image,
) -> Result<(Outcome, bool), Status> {
    let target = image.target.clone().unwrap_or_default();
    let message = theirs::Image {
        name: image.name.clone(),
        labels: image.labels.clone(),
        target: Some(types::Descriptor {
            media_type: target.media_type,
            digest: target.digest,
            size: target.size,
            annotations: target.annotations,
        }),
        ..theirs::Image::default()
    };
    let create = theirs::CreateImageRequest {
        image: Some(message.clone()),
        source_date_epoch: image.created_at,
    };
    let update = theirs::UpdateImageRequest {
        image: Some(message),
        update_mask: None,
        source_date_epoch: image.updated_at,
    };
    let has_times = |there: &RawImage| {
        (there.created_at, there.updated_at) == (image.created_at, image.updated_at)
    };
    match containerd.create_image(namespace, create).await {
        // It takes the one time for both; another update is worth it only where it takes any.
        Ok(made) if made.created_at == image.created_at && !has_times(&made) => {
            let made = containerd.update_image(namespace, update).await?;
            return Ok((Outcome::Created, has_times(&made)));
        }
        Ok(made) => return Ok((Outcome::Created, has_times(&made))),
        Err(status) if status.code() == Code::AlreadyExists => {}
        Err(status) => return Err(status),
    }
    let there = containerd.find_image(namespace, &image.name).await?;
    if let Some(there) = there {
        let keeps_times = has_times(&there);
        let is_same = there.record().is_ok_and(|there| {
            let ours = image.target.as_ref().map(content);
            there.labels == image.labels && there.target.as_ref().map(content) == ours
        });
        if is_same {
            return Ok((Outcome::Unchanged, keeps_times));
        }
    }
    let there = containerd.update_image(namespace, update).await?;
    Ok((Outcome::Changed, has_times(&there)))
}

/// What containerd keeps of a target.
fn content(target: &crate::proto::v1::Descriptor) -> (&str, &str, i64, &BTreeMap<String, String>) {
    (
        &target.media_type,
        &target.digest,
        target.size,
        &target.annotations,
    )
}

// === impl Lost, Outcome ===

impl Lost {
    /// `None` where all was kept.
    fn table(&self) -> Option<Table> {
        let mut table = Table::new(["NOT KEPT THERE", "OF"]);
        let counts = [
            (
                "the times, before containerd 1.7",
                self.image_times,
                "images",
            ),
            ("the times", self.lease_times, "leases"),
            ("urls", self.urls, "images"),
            ("the platform", self.platform, "images"),
            ("the artifact type", self.artifact_type, "images"),
            ("embedded data", self.data, "images"),
            ("empty values", self.empty_texts, "labels and annotations"),
        ];
        let mut is_empty = true;
        for (what, count, of) in counts {
            if count > 0 {
                table.push([what, &format!("{count} {of}")]);
                is_empty = false;
            }
        }
        (!is_empty).then_some(table)
    }
}

impl Outcome {
    fn add_to(self, counts: &mut crate::cli::tally::Counts) {
        match self {
            Self::Created => counts.created += 1,
            Self::Changed => counts.changed += 1,
            Self::Unchanged => counts.unchanged += 1,
        }
    }
}
