//! What a daemon answered, with all that must differ between two daemons replaced.
//!
//! Replaced, and nothing else:
//! - **times**, by the order in which they first appear: an equal time by an equal number, a time that is
//!   older than one seen before it marked as such. So it is compared which times are kept, which move, and
//!   that none goes back.
//! - **ids of leases that the daemon made up**, by their order. Where they are listed, the listing is
//!   put into the order of what replaces them, after a look that it was in order.
//! - **the lane's name** in namespaces, and namespaces of other lanes are left out of lists.

use std::collections::BTreeMap;

use imagestore::proto::containerd::services::images::v1::Image;
use imagestore::proto::containerd::services::leases::v1::{Lease, Resource};
use imagestore::proto::containerd::services::namespaces::v1::Namespace;
use prost_types::Timestamp;
use tonic::{Code, Status};

use crate::call::{Ask, Call, LANE, MADE};

/// What a call that went well brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Image(Option<Image>),
    Images(Vec<Image>),
    Namespace(Option<Namespace>),
    Namespaces(Vec<Namespace>),
    Lease(Option<Lease>),
    Leases(Vec<Lease>),
    Resources(Vec<Resource>),
    Nothing,
}

impl Reply {
    pub fn of_nothing((): ()) -> Self {
        Self::Nothing
    }
}

/// Why a call did not go well.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub code: Code,
    pub message: String,
    pub details: Vec<u8>,
}

pub type Answer = Result<Reply, Refusal>;

/// What one daemon has told one lane.
#[derive(Clone)]
pub struct Eyes {
    lane: String,
    /// Each time seen, and what stands for it.
    times: BTreeMap<(i64, i32), i64>,
    /// The ids of leases that the daemon made up, in order.
    made: Vec<String>,
}

impl Eyes {
    pub fn new(lane: String) -> Self {
        Self {
            lane,
            times: BTreeMap::new(),
            made: Vec::new(),
        }
    }

    /// The call as this daemon is to get it.
    pub fn address(&self, call: &Call) -> Call {
        call.of_lane(&self.lane, |placeholder| {
            let nth: usize = placeholder[MADE.len()..].parse().unwrap();
            match self.made.len() {
                0 => placeholder.to_owned(),
                many => self.made[nth % many].clone(),
            }
        })
    }

    /// What is compared of an answer.
    pub fn see(&mut self, call: &Call, answer: Result<Reply, Status>) -> Answer {
        match answer {
            Ok(reply) => Ok(self.reply(call, reply)),
            Err(status) => Err(Refusal {
                code: status.code(),
                message: self.text(status.message()),
                details: status.details().to_vec(),
            }),
        }
    }

    fn reply(&mut self, call: &Call, reply: Reply) -> Reply {
        match reply {
            Reply::Image(image) => Reply::Image(image.map(|image| self.image(image))),
            Reply::Images(images) => {
                Reply::Images(images.into_iter().map(|image| self.image(image)).collect())
            }
            Reply::Namespace(namespace) => {
                Reply::Namespace(namespace.map(|namespace| self.namespace(namespace)))
            }
            Reply::Namespaces(namespaces) => {
                let own = |namespace: &Namespace| namespace.name.starts_with(&self.lane);
                let own: Vec<Namespace> = namespaces.into_iter().filter(own).collect();
                Reply::Namespaces(own.into_iter().map(|each| self.namespace(each)).collect())
            }
            Reply::Lease(lease) => {
                let is_made = matches!(&call.ask, Ask::CreateLease(ask) if ask.id.is_empty());
                if let (true, Some(lease)) = (is_made, &lease) {
                    self.made.push(lease.id.clone());
                }
                Reply::Lease(lease.map(|lease| self.leases(vec![lease]).remove(0)))
            }
            Reply::Leases(leases) => {
                assert!(leases.is_sorted_by_key(|lease| &lease.id), "{leases:?}");
                Reply::Leases(self.leases(leases))
            }
            Reply::Resources(resources) => Reply::Resources(resources),
            Reply::Nothing => Reply::Nothing,
        }
    }

    fn image(&mut self, mut image: Image) -> Image {
        image.created_at = image.created_at.map(|time| self.time(time));
        image.updated_at = image.updated_at.map(|time| self.time(time));
        image
    }

    fn namespace(&self, mut namespace: Namespace) -> Namespace {
        namespace.name = self.text(&namespace.name);
        namespace
    }

    fn leases(&mut self, mut leases: Vec<Lease>) -> Vec<Lease> {
        for lease in &mut leases {
            if let Some(nth) = self.made.iter().position(|made| *made == lease.id) {
                lease.id = format!("{MADE}{nth:04}");
            }
        }
        leases.sort_by(|one, other| one.id.cmp(&other.id));
        for lease in &mut leases {
            lease.created_at = lease.created_at.map(|time| self.time(time));
        }
        leases
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.replace(&self.lane, LANE);
        for (nth, made) in self.made.iter().enumerate() {
            text = text.replace(made, &format!("{MADE}{nth:04}"));
        }
        text
    }

    /// Seconds that are the number of the time, negative if it came later than a younger one.
    fn time(&mut self, time: Timestamp) -> Timestamp {
        let key = (time.seconds, time.nanos);
        let nth = self.times.len() as i64 + 1;
        let goes_back = self
            .times
            .last_key_value()
            .is_some_and(|(last, _)| *last > key);
        let seconds = *self
            .times
            .entry(key)
            .or_insert(if goes_back { -nth } else { nth });
        Timestamp { seconds, nanos: -1 }
    }
}
