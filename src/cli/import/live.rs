//! Takes over what a running containerd holds, and what changes there meanwhile.
//!
//! containerd's lists are of one moment each, its events are not kept, and it does not say when a
//! subscription begins. So the import sends events of its own, as marks: the first one that comes back shows
//! that the subscription is there; only then it lists. A mark that is sent after the lists comes back behind
//! the event of every change that containerd answered before; what these events are about is read again and
//! taken as it is now. So every change that was answered before the last mark is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{mem, process};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use prost::Message as _;
use tokio::sync::watch;
use tokio::time;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::account::How;
use super::take::{Goods, Taker};
use crate::cli::address::Address;
use crate::cli::connect::Common;
use crate::cli::containerd::{Containerd, RawImage, RawNamespace};
use crate::cli::failure::{Exit, Failure};
use crate::domain::Namespace;
use crate::proto::containerd::events::NamespaceDelete;
use crate::proto::containerd::services::images::v1::ImageDelete;
use crate::proto::containerd::types::Envelope;
use crate::proto::v1::DeleteNamespaceRequest;
use crate::proto::v1::namespaces_client::NamespacesClient;

/// Images that are read again at once.
const IN_FLIGHT: usize = 16;
/// How long a mark may take to come back, and after how long the first one is sent again.
const MARK_TIME: Duration = Duration::from_secs(30);
const MARK_AGAIN: Duration = Duration::from_millis(20);
/// Where marks are sent; any namespace will do, and none is made by it.
const MARK_NAMESPACE: &str = "default";

/// What events were about.
#[derive(Default)]
struct Seen {
    namespaces: BTreeSet<String>,
    images: BTreeMap<String, BTreeSet<String>>,
}

/// The events of a containerd, gathered as they come.
struct Events {
    containerd: Containerd,
    topic: String,
    sent: u64,
    gathered: Arc<Mutex<Seen>>,
    /// The last mark that came back; ends with why the events did.
    marks: watch::Receiver<Result<u64, Status>>,
}

struct Live<'a> {
    containerd: Containerd,
    only: Option<&'a str>,
    taker: Taker,
    common: &'a Common,
    dry_run: bool,
    /// The namespaces there, as last read.
    namespaces: BTreeSet<String>,
    /// Those whose names there cannot be here.
    refused: BTreeSet<Bytes>,
}

pub async fn run(
    address: Address,
    only: Option<&str>,
    how: How,
    rounds: u32,
    common: &Common,
) -> Result<(), Failure> {
    let store = common.store().await?;
    let containerd = Containerd::connect(address).await?;
    let mut live = Live {
        containerd: containerd.clone(),
        only,
        taker: Taker::new(store, how, progress(), common.output()),
        common,
        dry_run: how.dry_run,
        namespaces: BTreeSet::new(),
        refused: BTreeSet::new(),
    };
    let mut events = Events::subscribe(containerd).await?;
    live.take_all().await?;
    if let Some(only) = only.filter(|only| !live.namespaces.contains(*only)) {
        return Err(live.taker.has_none(only));
    }
    let mut is_quiet = false;
    for _ in 0..=rounds {
        let seen = events.gathered_until_now().await?;
        is_quiet = seen.is_empty(only);
        if is_quiet {
            break;
        }
        // Whatever was gathered is taken: nothing tells of it again.
        live.take_again(seen).await?;
    }
    // They have no events, so that what is read last is the newest.
    live.take_leases().await?;
    let reported = live.taker.report();
    if is_quiet {
        return reported;
    }
    let restless = Failure::new(
        "containerd went on changing; what has changed there since the last look is not taken",
    );
    let next = "Import again; what was deleted there meanwhile stays here until you remove it";
    restless.next(next).tell();
    reported.and(Err(Failure::told(Exit::Error)))
}

/// A running count. Only on a terminal.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {human_pos} images  {elapsed}");
    ProgressBar::new_spinner().with_style(style.expect("the template is well formed"))
}

/// Removes a namespace that is gone there, unless something is in it here.
async fn remove_namespace(
    client: &mut NamespacesClient<Channel>,
    name: String,
) -> Result<(), Failure> {
    let request = DeleteNamespaceRequest {
        name,
        ..DeleteNamespaceRequest::default()
    };
    match client.delete(request).await {
        Ok(_) => Ok(()),
        Err(status) => match status.code() {
            Code::NotFound | Code::FailedPrecondition => Ok(()),
            _ => Err(status.into()),
        },
    }
}

// === impl Live ===

impl Live<'_> {
    /// Lists and takes all images.
    async fn take_all(&mut self) -> Result<(), Failure> {
        for (namespace, there) in self.wanted_namespaces().await? {
            let images = self.containerd.images(&namespace).await?;
            let mut goods = Goods {
                labels: self.labels(&namespace, there)?,
                ..Goods::default()
            };
            self.add(&namespace, images, &mut goods)?;
            self.taker.take(&namespace, goods).await?;
        }
        Ok(())
    }

    /// Reads what events were about, and takes what is there now.
    async fn take_again(&mut self, seen: Seen) -> Result<(), Failure> {
        let known = mem::take(&mut self.namespaces);
        let there = self.wanted_namespaces().await?;
        let mut goods: BTreeMap<String, Goods> = BTreeMap::new();
        for (namespace, there) in there {
            // One that the first write made has no event of its own.
            if seen.namespaces.contains(&namespace) || !known.contains(&namespace) {
                let labels = self.labels(&namespace, there)?;
                goods.entry(namespace).or_default().labels = labels;
            }
        }
        for (namespace, names) in seen.images {
            if self.is_other(&namespace) {
                continue;
            }
            let containerd = &self.containerd;
            let namespace_name = namespace.as_str();
            let read = stream::iter(names)
                .map(|name| async move {
                    let image = containerd.image(namespace_name, &name).await?;
                    Ok::<_, Failure>((name, image))
                })
                .buffer_unordered(IN_FLIGHT)
                .try_collect::<Vec<_>>()
                .await?;
            let goods = goods.entry(namespace.clone()).or_default();
            let mut images = Vec::new();
            for (name, image) in read {
                match image {
                    Some(image) => images.push(image),
                    None => goods.deleted.push(name),
                }
            }
            self.add(&namespace, images, goods)?;
        }
        for (namespace, mut goods) in goods {
            if !self.namespaces.contains(&namespace) {
                // An import creates the namespace that it is for, and this one is gone.
                goods.labels = None;
            }
            self.taker.take(&namespace, goods).await?;
        }
        let mut gone = seen.namespaces;
        gone.retain(|name| !self.is_other(name) && !self.namespaces.contains(name));
        if gone.is_empty() || self.dry_run {
            return Ok(());
        }
        let mut client = self.common.namespaces().await?;
        for namespace in gone {
            remove_namespace(&mut client, namespace).await?;
        }
        Ok(())
    }

    async fn take_leases(&mut self) -> Result<(), Failure> {
        for namespace in self.namespaces.clone() {
            let mut goods = Goods::default();
            for lease in self.containerd.leases(&namespace).await? {
                match lease {
                    Ok(lease) => goods.leases.push(lease),
                    Err((id, why)) => {
                        let what = format!("lease {}", String::from_utf8_lossy(&id));
                        self.taker.refuse(&namespace, &what, &why)?;
                    }
                }
            }
            self.taker.take(&namespace, goods).await?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        namespace: &str,
        images: Vec<RawImage>,
        goods: &mut Goods,
    ) -> Result<(), Failure> {
        for image in images {
            let name = image.name.clone();
            match image.record() {
                Ok(image) => goods.images.push(image),
                Err(why) => {
                    let name = String::from_utf8_lossy(&name);
                    self.taker.refuse(namespace, &name, &why)?;
                }
            }
        }
        Ok(())
    }

    /// The namespaces that are to be taken. Of those that there cannot be here each is told once.
    async fn wanted_namespaces(&mut self) -> Result<BTreeMap<String, RawNamespace>, Failure> {
        let mut wanted = BTreeMap::new();
        for namespace in self.containerd.namespaces().await? {
            let shown = String::from_utf8_lossy(&namespace.name).into_owned();
            if self.is_other(&shown) {
                continue;
            }
            // What is not UTF-8 is shown with characters that no name has.
            if shown.parse::<Namespace>().is_ok() {
                wanted.insert(shown, namespace);
            } else if self.refused.insert(namespace.name) {
                self.taker.refuse_namespace(&shown)?;
            }
        }
        self.namespaces = wanted.keys().cloned().collect();
        Ok(wanted)
    }

    /// A namespace's labels; without them those that are here stay.
    fn labels(
        &mut self,
        name: &str,
        namespace: RawNamespace,
    ) -> Result<Option<BTreeMap<String, String>>, Failure> {
        match namespace.labels() {
            Ok(labels) => Ok(Some(labels)),
            Err(why) => {
                self.taker.refuse(name, "labels", &why)?;
                Ok(None)
            }
        }
    }

    fn is_other(&self, namespace: &str) -> bool {
        self.only.is_some_and(|only| only != namespace)
    }
}

// === impl Events ===

impl Events {
    /// Subscribes, and waits until the subscription is there.
    async fn subscribe(containerd: Containerd) -> Result<Self, Failure> {
        // Nobody else may send such a mark meanwhile.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = now.map_or(0, |now| now.as_nanos());
        let topic = format!("/imagestore/import/{}-{nanos}", process::id());
        let filters = vec![
            "topic~=\"^/images/\"".to_owned(),
            "topic~=\"^/namespaces/\"".to_owned(),
            format!("topic~=\"^{topic}/\""),
        ];
        let gathered = Arc::new(Mutex::new(Seen::default()));
        let (came_back, mut marks) = watch::channel(Ok(0));
        tokio::spawn({
            let (containerd, topic, gathered) =
                (containerd.clone(), topic.clone(), gathered.clone());
            async move {
                let ended = gather(&containerd, filters, &topic, &gathered, &came_back).await;
                // Nobody listens when the import is over.
                let _ = came_back.send(Err(ended));
            }
        });
        let mut events = Self {
            containerd,
            topic,
            sent: 0,
            gathered,
            marks: marks.clone(),
        };
        let started = time::Instant::now();
        while started.elapsed() < MARK_TIME {
            events.send_mark().await?;
            let came = time::timeout(MARK_AGAIN, marks.changed()).await;
            if came.is_ok() {
                events.check()?;
                return Ok(events);
            }
        }
        Err(events.silent())
    }

    /// What has changed up to now, since it was asked last.
    async fn gathered_until_now(&mut self) -> Result<Seen, Failure> {
        self.send_mark().await?;
        let sent = self.sent;
        let came = {
            let waited = self
                .marks
                .wait_for(|mark| mark.as_ref().map_or(true, |mark| *mark >= sent));
            time::timeout(MARK_TIME, waited).await.is_ok()
        };
        self.check()?;
        if !came {
            return Err(self.silent());
        }
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(mem::take(&mut gathered))
    }

    async fn send_mark(&mut self) -> Result<(), Failure> {
        self.sent += 1;
        let topic = format!("{}/{}", self.topic, self.sent);
        self.containerd.publish(MARK_NAMESPACE, topic).await
    }

    fn check(&self) -> Result<(), Failure> {
        match &*self.marks.borrow() {
            Ok(_) => Ok(()),
            Err(status) => Err(again(
                self.containerd.failure("following its events", status),
            )),
        }
    }

    fn silent(&self) -> Failure {
        let status = Status::deadline_exceeded("an event that was sent did not come back");
        again(self.containerd.failure("following its events", &status))
    }
}

fn again(failure: Failure) -> Failure {
    failure.next("Import again; what is there already stays")
}

/// Notes what events are about until they end, and says why they did.
async fn gather(
    containerd: &Containerd,
    filters: Vec<String>,
    marks: &str,
    gathered: &Mutex<Seen>,
    came_back: &watch::Sender<Result<u64, Status>>,
) -> Status {
    let mut events = match containerd.subscribe(filters).await {
        Ok(events) => events,
        Err(status) => return status,
    };
    loop {
        let event = match events.message().await {
            Ok(Some(event)) => event,
            Ok(None) => return Status::unavailable("it ended them"),
            Err(status) => return status,
        };
        let mark = event
            .topic
            .strip_prefix(marks)
            .and_then(|rest| rest.strip_prefix('/')?.parse().ok());
        match mark {
            // Nobody listens when the import is over.
            Some(mark) => drop(came_back.send(Ok(mark))),
            None => {
                let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
                gathered.note(event);
            }
        }
    }
}

// === impl Seen ===

impl Seen {
    fn note(&mut self, event: Envelope) {
        let content = event.event.unwrap_or_default().value;
        // The first field of each is the name; one that is not UTF-8 could not be asked for.
        if event.topic.starts_with("/images/") {
            if let Ok(image) = ImageDelete::decode(&content[..]) {
                self.images
                    .entry(event.namespace)
                    .or_default()
                    .insert(image.name);
            }
        } else if let Ok(namespace) = NamespaceDelete::decode(&content[..]) {
            self.namespaces.insert(namespace.name);
        }
    }

    fn is_empty(&self, only: Option<&str>) -> bool {
        let is_other = |namespace: &String| only.is_some_and(|only| only != namespace);
        self.namespaces.iter().all(is_other) && self.images.keys().all(is_other)
    }
}
