//! Takes over what the metadata file of a stopped containerd holds.
//!
//! ```text
//! v1/NAMESPACE/labels/KEY = VALUE
//! v1/NAMESPACE/images/NAME/{createdat, updatedat} = time
//!                         /target/{mediatype, digest, size} = text, text, varint
//!                         /{labels, annotations}/KEY = VALUE
//! v1/NAMESPACE/leases/ID/createdat = time
//!                       /labels/KEY = VALUE
//!                       /{content, ingests, images}/RESOURCE = nothing
//!                       /snapshots/SNAPSHOTTER/RESOURCE = nothing
//! ```
//!
//! All containerds since 1.0 write it so. Before, in 2017, there were no namespaces, times and labels:
//! `v1/images/NAME/{mediatype, digest, size}`. Such images go to the namespace `default`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use prost_types::Timestamp;
use tokio::task;

use super::account::How;
use super::take::{Goods, Taker};
use crate::cli::bolt::{Bolt, BoltError, Bucket, Entry};
use crate::cli::connect::Common;
use crate::cli::failure::{Failure, system_reason};
use crate::domain::Namespace;
use crate::proto::v1::{Descriptor, Image, ImportedLease, ImportedResource};

/// What the file holds in one namespace.
struct Found {
    namespace: String,
    goods: Goods,
    /// What cannot be imported, and why.
    spoilt: Vec<(String, String)>,
}

/// What a bucket holds, by key.
type Entries = BTreeMap<Vec<u8>, Entry>;

/// Where the images of 2017 go.
const DEFAULT_NAMESPACE: &str = "default";

pub async fn run(
    path: PathBuf,
    only: Option<&str>,
    how: How,
    common: &Common,
) -> Result<(), Failure> {
    // Before anything is asked of the server: the file is what may be wrong.
    let file = path.clone();
    let read = task::spawn_blocking(move || read(&file)).await;
    let mut found = read
        .expect("reading does not panic")
        .map_err(|why| failure(&path, &why))?;
    found.retain(|found| only.is_none_or(|only| only == found.namespace));
    let images = found.iter().map(|found| found.goods.images.len() as u64);
    let bar = progress(images.sum());
    let mut taker = Taker::new(common.store().await?, how, bar, common.output());
    if let Some(only) = only.filter(|_| found.is_empty()) {
        return Err(taker.has_none(only));
    }
    for Found {
        namespace,
        goods,
        spoilt,
    } in found
    {
        if namespace.parse::<Namespace>().is_err() {
            taker.refuse_namespace(&namespace)?;
            continue;
        }
        for (what, why) in spoilt {
            taker.refuse(&namespace, &what, &why)?;
        }
        taker.take(&namespace, goods).await?;
    }
    taker.report()
}

/// A bar over the images. Only on a terminal.
fn progress(images: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40} {percent:>3}%  {pos} of {len} images  {elapsed}");
    ProgressBar::new(images).with_style(style.expect("the template is well formed"))
}

fn failure(path: &Path, why: &BoltError) -> Failure {
    let path = path.display();
    match why {
        BoltError::Io(why) => Failure::new(format!("cannot read {path}: {}", system_reason(why))),
        BoltError::Busy => Failure::new(format!("cannot read {path}: containerd has it open"))
            .next("Import from its socket with --from-containerd, or stop it first"),
        BoltError::NotBolt(_) => Failure::new(format!("cannot read {path}: {why}"))
            .next("containerd keeps it in its root as io.containerd.metadata.v1.bolt/meta.db"),
        BoltError::Damaged { .. } => Failure::new(format!("cannot read {path}: {why}"))
            .next("A copy is only whole when containerd was stopped while it was made"),
    }
}

/// All that the file holds. Nothing is taken from one that is damaged anywhere on the way.
fn read(path: &Path) -> Result<Vec<Found>, BoltError> {
    let mut bolt = Bolt::open(path)?;
    let root = bolt.root();
    let mut root = entries(&mut bolt, Some(root))?;
    let Some(version) = take_bucket(&mut root, "v1") else {
        return Err(BoltError::NotBolt("it is not containerd's, it has no v1"));
    };
    let mut version = entries(&mut bolt, Some(version))?;
    let is_of_2017 = !version.contains_key(&b"version"[..]);
    let mut all = Vec::new();
    if is_of_2017 && let Some(images) = version.remove(&b"images"[..]) {
        all.push(old_namespace(&mut bolt, images)?);
    }
    for (name, entry) in version {
        // The version is a value.
        if let Entry::Bucket(bucket) = entry {
            all.push(namespace(&mut bolt, &name, bucket)?);
        }
    }
    Ok(all)
}

fn namespace(bolt: &mut Bolt, name: &[u8], bucket: Bucket) -> Result<Found, BoltError> {
    let mut found = Found::new(&String::from_utf8_lossy(name));
    let mut namespace = entries(bolt, Some(bucket))?;
    let labels = take_bucket(&mut namespace, "labels");
    match pairs("labels", &entries(bolt, labels)?) {
        Ok(labels) => found.goods.labels = Some(labels),
        Err(why) => found.spoilt.push(("labels".to_owned(), why)),
    }
    let images = take_bucket(&mut namespace, "images");
    for (name, bucket) in buckets(entries(bolt, images)?) {
        let record = image(bolt, &name, bucket)?;
        found.add_image(&name, record);
    }
    let leases = take_bucket(&mut namespace, "leases");
    for (id, bucket) in buckets(entries(bolt, leases)?) {
        match lease(bolt, &id, bucket)? {
            Ok(lease) => found.goods.leases.push(lease),
            Err(why) => {
                let id = String::from_utf8_lossy(&id);
                found.spoilt.push((format!("lease {id}"), why));
            }
        }
    }
    Ok(found)
}

fn old_namespace(bolt: &mut Bolt, images: Entry) -> Result<Found, BoltError> {
    let mut found = Found::new(DEFAULT_NAMESPACE);
    if let Entry::Bucket(images) = images {
        for (name, bucket) in buckets(entries(bolt, Some(images))?) {
            let target = descriptor(&entries(bolt, Some(bucket))?);
            let image = target.and_then(|target| {
                Ok(Image {
                    name: text("name", &name)?,
                    target: Some(target),
                    ..Image::default()
                })
            });
            found.add_image(&name, image);
        }
    }
    Ok(found)
}

/// The outer error is the file's, the inner one the record's.
fn image(bolt: &mut Bolt, name: &[u8], bucket: Bucket) -> Result<Result<Image, String>, BoltError> {
    let mut image = entries(bolt, Some(bucket))?;
    let target = take_bucket(&mut image, "target");
    let target = entries(bolt, target)?;
    let labels = take_bucket(&mut image, "labels");
    let labels = entries(bolt, labels)?;
    let annotations = take_bucket(&mut image, "annotations");
    let annotations = entries(bolt, annotations)?;
    let record = || {
        let mut target = descriptor(&target)?;
        target.annotations = pairs("target.annotations", &annotations)?;
        Ok(Image {
            name: text("name", name)?,
            target: Some(target),
            labels: pairs("labels", &labels)?,
            created_at: time("created_at", &image, "createdat")?,
            updated_at: time("updated_at", &image, "updatedat")?,
            ..Image::default()
        })
    };
    Ok(record())
}

fn lease(
    bolt: &mut Bolt,
    id: &[u8],
    bucket: Bucket,
) -> Result<Result<ImportedLease, String>, BoltError> {
    let mut lease = entries(bolt, Some(bucket))?;
    let labels = take_bucket(&mut lease, "labels");
    let labels = entries(bolt, labels)?;
    let mut held: Vec<(String, Vec<u8>)> = Vec::new();
    for kind in ["content", "ingests", "images"] {
        let bucket = take_bucket(&mut lease, kind);
        let resources = entries(bolt, bucket)?;
        held.extend(resources.into_keys().map(|id| (kind.to_owned(), id)));
    }
    let snapshots = take_bucket(&mut lease, "snapshots");
    for (snapshotter, bucket) in buckets(entries(bolt, snapshots)?) {
        let kind = format!("snapshots/{}", String::from_utf8_lossy(&snapshotter));
        let resources = entries(bolt, Some(bucket))?;
        held.extend(resources.into_keys().map(|id| (kind.clone(), id)));
    }
    let record = || {
        let resource = |(kind, id): &(String, Vec<u8>)| {
            Ok(ImportedResource {
                id: text("resources", id)?,
                r#type: kind.clone(),
            })
        };
        Ok(ImportedLease {
            id: text("id", id)?,
            created_at: time("created_at", &lease, "createdat")?,
            labels: pairs("labels", &labels)?,
            resources: held.iter().map(resource).collect::<Result<_, String>>()?,
        })
    };
    Ok(record())
}

// === what keys hold ===

fn descriptor(target: &Entries) -> Result<Descriptor, String> {
    let field = |key: &str| value(target, key).unwrap_or_default();
    Ok(Descriptor {
        media_type: text("target.media_type", field("mediatype"))?,
        digest: text("target.digest", field("digest"))?,
        size: varint(field("size")).ok_or("target.size is no number")?,
        ..Descriptor::default()
    })
}

fn text(field: &str, bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| format!("{field} is not valid UTF-8"))?;
    Ok(text.to_owned())
}

fn pairs(field: &str, entries: &Entries) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = BTreeMap::new();
    for (key, entry) in entries {
        if let Entry::Value(value) = entry {
            pairs.insert(text(field, key)?, text(field, value)?);
        }
    }
    Ok(pairs)
}

/// A time as Go packs it, nothing where there is none.
fn time(field: &str, entries: &Entries, key: &str) -> Result<Option<Timestamp>, String> {
    let Some(bytes) = value(entries, key) else {
        return Ok(None);
    };
    let time = go_time(bytes).ok_or_else(|| format!("{field} is no time"))?;
    Ok(Some(time))
}

/// Version 1: seconds since the year 1 and nanoseconds, big-endian, and the zone in minutes, which does not
/// matter. Version 2 has a byte more, for the seconds of the zone.
fn go_time(bytes: &[u8]) -> Option<Timestamp> {
    const YEAR_1: i64 = -62_135_596_800;
    match (bytes.first()?, bytes.len()) {
        (1, 15) | (2, 16) => {}
        _ => return None,
    }
    let seconds = i64::from_be_bytes(bytes.get(1..9)?.try_into().ok()?);
    let nanos = i32::from_be_bytes(bytes.get(9..13)?.try_into().ok()?);
    Some(Timestamp {
        seconds: seconds.checked_add(YEAR_1)?,
        nanos,
    })
}

/// A signed number as Go packs it: seven bits a byte, the lowest first, and the sign in the lowest bit.
fn varint(bytes: &[u8]) -> Option<i64> {
    let mut folded: u64 = 0;
    for (i, byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = u32::try_from(7 * i).ok().filter(|shift| *shift < 64)?;
        if (bits << shift) >> shift != bits {
            return None;
        }
        folded |= bits << shift;
        if byte & 0x80 == 0 {
            let half = i64::try_from(folded >> 1).ok()?;
            return Some(if folded & 1 == 0 { half } else { !half });
        }
    }
    None
}

// === buckets ===

fn entries(bolt: &mut Bolt, bucket: Option<Bucket>) -> Result<Entries, BoltError> {
    match bucket {
        Some(bucket) => Ok(bolt.read(bucket)?.into_iter().collect()),
        None => Ok(Entries::new()),
    }
}

fn take_bucket(entries: &mut Entries, key: &str) -> Option<Bucket> {
    match entries.remove(key.as_bytes())? {
        Entry::Bucket(bucket) => Some(bucket),
        Entry::Value(_) => None,
    }
}

fn buckets(entries: Entries) -> impl Iterator<Item = (Vec<u8>, Bucket)> {
    entries.into_iter().filter_map(|(key, entry)| match entry {
        Entry::Bucket(bucket) => Some((key, bucket)),
        Entry::Value(_) => None,
    })
}

fn value<'a>(entries: &'a Entries, key: &str) -> Option<&'a [u8]> {
    match entries.get(key.as_bytes())? {
        Entry::Value(value) => Some(value),
        Entry::Bucket(_) => None,
    }
}

impl Found {
    fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            goods: Goods::default(),
            spoilt: Vec::new(),
        }
    }

    fn add_image(&mut self, name: &[u8], image: Result<Image, String>) {
        match image {
            Ok(image) => self.goods.images.push(image),
            Err(why) => {
                let name = String::from_utf8_lossy(name).into_owned();
                self.spoilt.push((name, why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_go_is_read_to_the_nanosecond_whatever_its_zone() {
        let known = [
            0x01, 0, 0, 0, 0x0e, 0xe2, 0x93, 0xf8, 0x6e, 0x37, 0xab, 0xdc, 0xdf, 0xff, 0xff,
        ];
        let time = Timestamp {
            seconds: 1_795_293_550,
            nanos: 934_010_079,
        };
        assert_eq!(go_time(&known), Some(time));
        let mut with_seconds = known.to_vec();
        with_seconds[0] = 2;
        assert_eq!(go_time(&with_seconds), None, "version 2 has a byte more");
        with_seconds.push(30);
        assert_eq!(go_time(&with_seconds), Some(time));
        for bad in [&known[..14], &[][..], &[3; 15]] {
            assert_eq!(go_time(bad), None);
        }
    }

    #[test]
    fn a_varint_of_go_has_its_sign_in_the_lowest_bit() {
        for (bytes, number) in [
            (&[0x00][..], Some(0)),
            (&[0x01], Some(-1)),
            (&[0xa4, 0x13], Some(1234)),
            (
                &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                Some(i64::MAX),
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                Some(i64::MIN),
            ),
            (&[0xff; 9], None),
            (&[0xff; 11], None),
            (&[], None),
        ] {
            assert_eq!(varint(bytes), number, "{bytes:x?}");
        }
    }
}
