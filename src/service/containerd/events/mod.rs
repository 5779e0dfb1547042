//! `containerd.services.events.v1.Events`: what happens to images and namespaces, whichever API did
//! it, and what clients publish.
//!
//! As containerd 1.6 does it. What differs: the events of the store come from its change log, so that a
//! namespace's event has the labels that it has, and lies in that namespace; a subscriber who is too slow
//! is told so instead of being waited for without bounds; an event that is missing, or takes more than 1 MiB, is
//! refused; filters do not look at texts of more than 4,096 bytes.

mod envelope;
mod exchange;
mod subscription;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use prost::Message;
use tonic::{Request, Response, Status};

use self::envelope::Told;
use self::exchange::Exchange;
use self::subscription::Subscription;
use super::error::{Fault, Kind, quoted};
use super::{identifier, namespace};
use crate::domain::{Dialect, Filter, Timestamp};
use crate::proto::containerd::services::events::v1 as pb;
use crate::proto::containerd::types::Envelope;
use crate::service::time_message;
use crate::store::Store;

/// The most bytes that a published event may take as an envelope: each subscriber is sent it.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// The service over a store.
pub struct Service {
    store: Store,
    exchange: Arc<Exchange>,
}

impl Service {
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            exchange: Arc::default(),
        }
    }

    /// Hands an envelope to all who subscribe, behind what the store has done so far.
    async fn hand_out(&self, envelope: Envelope) -> Result<Response<()>, Fault> {
        let bytes = envelope.encoded_len();
        if bytes > MAX_EVENT_BYTES {
            return Err(Fault::bare(
                Kind::ResourceExhausted,
                format!("the event takes {bytes} bytes, more than {MAX_EVENT_BYTES}"),
            ));
        }
        let after = self.store.revision().await?;
        self.exchange.publish(Told::new(envelope), after);
        Ok(Response::new(()))
    }
}

#[tonic::async_trait]
impl pb::events_server::Events for Service {
    async fn publish(&self, request: Request<pb::PublishRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(request.metadata())
            .map_err(|fault| fault.within("failed publishing event"))?;
        let pb::PublishRequest { topic, event } = request.into_inner();
        check_topic(&topic)?;
        let envelope = Envelope {
            timestamp: Some(time_message(self.store.now())),
            namespace: namespace.as_str().to_owned(),
            topic,
            event: Some(event.ok_or_else(|| missing("event"))?),
        };
        Ok(self.hand_out(envelope).await?)
    }

    async fn forward(&self, request: Request<pb::ForwardRequest>) -> Result<Response<()>, Status> {
        let envelope = request.into_inner().envelope;
        let envelope = envelope.ok_or_else(|| missing("envelope"))?;
        identifier(&envelope.namespace)
            .map_err(|fault| fault.within("event envelope has invalid namespace"))?;
        check_topic(&envelope.topic)?;
        check_time(envelope.timestamp.as_ref())?;
        if envelope.event.is_none() {
            return Err(missing("event").into());
        }
        Ok(self.hand_out(envelope).await?)
    }

    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<Envelope, Status>> + Send>>;

    /// What happens after the answer has begun is told.
    async fn subscribe(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let filters = request.into_inner().filters;
        let filter = Filter::parse::<Told>(&filters, Dialect::Containerd).map_err(|error| {
            let why = "subscription error: failed parsing subscription filters";
            Fault::bare(Kind::Unknown, format!("{why}: {error}: invalid argument"))
        })?;
        let subscription = Subscription::begin(&self.store, &self.exchange, filter).await?;
        Ok(Response::new(Box::pin(subscription.envelopes())))
    }
}

/// What containerd itself does not survive.
fn missing(what: &str) -> Fault {
    Fault::new(Kind::InvalidArgument, format!("{what} must be set"))
}

/// A topic is identifiers, each behind a slash.
fn check_topic(topic: &str) -> Result<(), Fault> {
    let refuse = |why: &str| Err(Fault::new(Kind::InvalidArgument, why));
    let checked = match topic.strip_prefix('/') {
        None if topic.is_empty() => refuse("must not be empty"),
        None => refuse("must start with '/'"),
        Some("") => refuse("must have at least one component"),
        Some(components) => components.split('/').try_for_each(|component| {
            identifier(component).map(drop).map_err(|fault| {
                let what = format!("failed validation on component {}", quoted(component));
                fault.within(&what)
            })
        }),
    };
    checked.map_err(|fault| fault.within(&format!("envelope topic {}", quoted(topic))))
}

/// The first moment of the year 1 is Go's time that is not set.
fn check_time(time: Option<&prost_types::Timestamp>) -> Result<(), Fault> {
    const UNSET: prost_types::Timestamp = prost_types::Timestamp {
        seconds: -62_135_596_800,
        nanos: 0,
    };
    match time {
        None | Some(&UNSET) => Err(Fault::new(
            Kind::InvalidArgument,
            "timestamp must be set on forwarded event",
        )),
        Some(time) => {
            // Negative ones are too many.
            let nanos = u32::try_from(time.nanos).unwrap_or(u32::MAX);
            match Timestamp::new(time.seconds, nanos) {
                Ok(_) => Ok(()),
                Err(invalid) => Err(Fault::new(Kind::InvalidArgument, invalid.to_string())),
            }
        }
    }
}
