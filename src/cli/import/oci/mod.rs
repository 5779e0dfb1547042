//! Imports real images: the names, descriptors and configs of an OCI layout or of a `docker save`.

mod archive;
mod blobs;
mod docker;
mod document;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use prost_types::FieldMask;
use tokio::sync::mpsc;
use tokio::task;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use self::archive::Archive;
use self::blobs::Blobs;
use self::walk::{Finds, Found, Gone};
use super::account::{Account, How};
use crate::cli::connect::Common;
use crate::cli::failure::{Failure, concerns_one_item, system_reason};
use crate::domain::Digest;
use crate::proto::v1::configs_client::ConfigsClient;
use crate::proto::v1::images_client::ImagesClient;
use crate::proto::v1::{
    CreateConfigRequest, Descriptor, Image, LinkConfigRequest, PutImageRequest,
};

/// Where images are.
pub enum Source {
    /// A folder that is an OCI layout.
    Layout(PathBuf),
    /// A tar archive; `-` for standard input.
    Archive(PathBuf),
}

/// Writes what is found.
struct Writer {
    namespace: String,
    images: ImagesClient<Channel>,
    configs: ConfigsClient<Channel>,
    account: Account,
    /// Configs that were refused, which nothing can be linked to.
    refused: HashSet<Digest>,
}

/// Finds read ahead; a config has up to 1 MiB.
const READ_AHEAD: usize = 8;

pub async fn run(source: Source, how: How, common: &Common) -> Result<(), Failure> {
    let namespace = common.one_namespace()?.to_owned();
    let mut writer = Writer {
        namespace,
        images: common.images().await?,
        configs: common.configs().await?,
        account: Account::new(how, progress(), common.output()),
        refused: HashSet::new(),
    };
    let bar = writer.account.bar.clone();
    let (to, mut found) = mpsc::channel(READ_AHEAD);
    let reader = task::spawn_blocking(move || find(&source, &bar, to));
    while let Some(found) = found.recv().await {
        writer.write(found).await?;
    }
    let read = reader.await.expect("reading does not panic");
    match read {
        Ok(()) => writer.account.report(),
        Err(failure) => {
            writer.account.bar.finish_and_clear();
            Err(failure)
        }
    }
}

/// A running count of bytes, for an archive. Only on a terminal.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {bytes} read  {elapsed}");
    ProgressBar::new_spinner().with_style(style.expect("the template is well formed"))
}

/// Tells all that there is, on a thread of its own, until the end or until nobody wants more.
fn find(source: &Source, bar: &ProgressBar, to: mpsc::Sender<Found>) -> Result<(), Failure> {
    let finds = Finds::new(to);
    let (Source::Layout(path) | Source::Archive(path)) = source;
    let shown = match path.as_os_str().to_str() {
        Some("-") => "stdin".to_owned(),
        _ => path.display().to_string(),
    };
    let unreadable =
        |why: &io::Error| Failure::new(format!("cannot read {shown}: {}", system_reason(why)));
    let (blobs, is_layout) = match source {
        Source::Layout(_) => {
            let blobs = Blobs::in_folder(path).map_err(|why| unreadable(&why))?;
            (blobs, true)
        }
        Source::Archive(_) => {
            let archive = read_archive(path, bar).map_err(|why| {
                unreadable(&why).next("It must be a tar archive, plain or gzip, and whole")
            })?;
            let is_layout = archive.has("oci-layout");
            if !is_layout && !archive.has(docker::LIST) {
                let what = "it has neither an OCI layout nor the manifest.json of a docker save";
                return Err(Failure::new(format!("cannot read {shown}: {what}")));
            }
            (Blobs::Archive(archive), is_layout)
        }
    };
    let told = match is_layout {
        true => walk::layout(&blobs, &finds),
        false => docker::saved(&blobs, &finds),
    };
    match told {
        Ok(Ok(()) | Err(Gone)) => Ok(()),
        Err(why) => Err(Failure::new(format!("cannot read {shown}: {why}"))),
    }
}

fn read_archive(path: &PathBuf, bar: &ProgressBar) -> io::Result<Archive> {
    match path.as_os_str().to_str() {
        Some("-") => Archive::in_stream(bar.wrap_read(io::stdin())),
        _ => Archive::in_file(File::open(path)?),
    }
}

// === impl Writer ===

impl Writer {
    async fn write(&mut self, found: Found) -> Result<(), Failure> {
        match found {
            Found::Config {
                id,
                content,
                targets,
            } => self.create(id, content, &targets).await,
            Found::Link { id, target } => self.link(id, target).await,
            Found::Image { name, target } => self.put(name, *target).await,
            Found::Note(text) => {
                self.account.say(&text);
                Ok(())
            }
            Found::Refused { what, why } => self.account.refuse(&what, &why),
        }
    }

    async fn create(
        &mut self,
        id: Digest,
        content: Vec<u8>,
        targets: &[Digest],
    ) -> Result<(), Failure> {
        let request = CreateConfigRequest {
            namespace: self.namespace.clone(),
            config: content.into(),
            targets: targets.iter().map(Digest::text).collect(),
            validate_only: self.account.how.dry_run,
            ..CreateConfigRequest::default()
        };
        match self.configs.create(request).await {
            Ok(answer) => {
                let answer = answer.get_ref();
                let taken = self.account.taken.of(&self.namespace);
                taken.configs.note(answer.created, answer.changed);
                Ok(())
            }
            Err(status) => {
                self.refused.insert(id);
                self.settle(&format!("config {id}"), status)
            }
        }
    }

    async fn link(&mut self, id: Digest, target: Digest) -> Result<(), Failure> {
        // What would be created is not there to be linked to.
        if self.account.how.dry_run || self.refused.contains(&id) {
            return Ok(());
        }
        let request = LinkConfigRequest {
            namespace: self.namespace.clone(),
            id: id.text(),
            target: target.text(),
            ..LinkConfigRequest::default()
        };
        match self.configs.link(request).await {
            Ok(_) => Ok(()),
            Err(status) => self.settle(&format!("config {id}"), status),
        }
    }

    /// Labels that are there stay.
    async fn put(&mut self, name: String, target: Descriptor) -> Result<(), Failure> {
        let request = PutImageRequest {
            namespace: self.namespace.clone(),
            image: Some(Image {
                name: name.clone(),
                target: Some(target),
                ..Image::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["target".to_owned()],
            }),
            validate_only: self.account.how.dry_run,
            ..PutImageRequest::default()
        };
        match self.images.put(request).await {
            Ok(answer) => {
                let answer = answer.get_ref();
                let taken = self.account.taken.of(&self.namespace);
                taken.images.note(answer.created, answer.changed);
                Ok(())
            }
            Err(status) => self.settle(&name, status),
        }
    }

    /// What the service refused: the one thing, or all that would come.
    fn settle(&mut self, what: &str, status: Status) -> Result<(), Failure> {
        if !concerns_one_item(status.code()) {
            return Err(self.account.broke_off(status.into()));
        }
        let violations = status.get_details_bad_request();
        let violations = violations.map(|refused| refused.field_violations);
        let why = match violations.unwrap_or_default().first() {
            Some(violation) => format!("{} {}", violation.field, violation.description),
            None => status.message().to_owned(),
        };
        self.account.refuse(what, &why)
    }
}
