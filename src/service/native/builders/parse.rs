//! What requests of `Builders` ask for, checked.

use tonic::metadata::MetadataMap;
use tracing::Span;

use crate::domain::build::{
    Ages, BuilderKey, Built, Failures, KeepLast, Policy, Probe, Reach, Removal, Sequence, Token,
};
use crate::domain::{Invalid, Namespace};
use crate::proto::v1 as pb;
use crate::service::native::claims::{digest, duration, presence, ttl};
use crate::service::native::configs::wire::platform;
use crate::service::native::wire::{descriptor, if_etag, precondition};
use crate::service::native::{namespace, once};
use crate::store::{
    AbandonBuilder, AcquireBuilder, BuilderObservation, Builders, CompleteBuilder, ConfirmRemoved,
    DeleteBuilder, Failure, PruneBuilder, PutBuilder, ReportBuilder,
};

/// Places that a caller can name at most.
const MAX_PLACES: usize = 1000;

/// Bytes that what failed may have.
const MAX_ERROR: usize = 4096;

/// The builder that a request is about.
pub fn key(message: Option<pb::BuilderKey>) -> Result<BuilderKey, Invalid> {
    let message = message.ok_or_else(|| Invalid::new("key", "must be set"))?;
    let base = message.base.parse();
    let base = base.map_err(|e: Invalid| e.at("key.base"))?;
    Span::current().record("name", message.base.as_str());
    let asked = message
        .platform
        .ok_or_else(|| Invalid::new("key.platform", "must be set"))?;
    let asked = platform(asked).map_err(|e| e.within("key"))?;
    let recipe = message.recipe.parse();
    let recipe = recipe.map_err(|e: Invalid| e.at("key.recipe"))?;
    BuilderKey::new(base, &asked, recipe).map_err(|e| e.within("key"))
}

pub fn put(
    metadata: &MetadataMap,
    request: pb::PutBuilderRequest,
) -> Result<(Namespace, PutBuilder), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let put = PutBuilder {
        when: precondition(request.must_not_exist, &request.if_etag, "")?,
        validate_only: request.validate_only,
        request: once(&request.request_id, "Builders.Put", &namespace, &request)?,
        key: key(request.key)?,
        policy: request
            .policy
            .map(policy)
            .transpose()
            .map_err(|e| e.within("policy"))?
            .unwrap_or_default(),
    };
    Ok((namespace, put))
}

fn policy(message: pb::BuilderPolicy) -> Result<Policy, Invalid> {
    let ages = Ages::new(
        duration("max_age", message.max_age)?,
        duration("refresh_after", message.refresh_after)?,
    )?;
    Ok(Policy {
        ages,
        keep_last: keep_last(message.keep_last)?.unwrap_or(Policy::default().keep_last),
        tracks_base: message.track_base_digest,
        probe: match duration("probe_after", message.probe_after)? {
            None => Probe::Never,
            Some(time) if time.is_zero() => Probe::Always,
            Some(time) => Probe::IfOlderThan(time),
        },
    })
}

/// None for 0.
fn keep_last(count: u32) -> Result<Option<KeepLast>, Invalid> {
    match count {
        0 => Ok(None),
        count => KeepLast::try_from(count).map(Some),
    }
}

pub fn delete(
    metadata: &MetadataMap,
    request: pb::DeleteBuilderRequest,
) -> Result<(Namespace, DeleteBuilder), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let delete = DeleteBuilder {
        if_etag: if_etag(&request.if_etag)?,
        force: request.force,
        validate_only: request.validate_only,
        request: once(&request.request_id, "Builders.Delete", &namespace, &request)?,
        key: key(request.key)?,
    };
    Ok((namespace, delete))
}

pub fn acquire(
    metadata: &MetadataMap,
    request: pb::AcquireBuilderRequest,
) -> Result<(Namespace, AcquireBuilder), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let acquire = AcquireBuilder {
        holder: request.holder.parse()?,
        reach: reach(&request.reachable)?,
        ttl: ttl("ttl", request.ttl)?,
        force: request.force,
        base_digest: digest("base_digest", &request.base_digest)?,
        validate_only: request.validate_only,
        request: once(
            &request.request_id,
            "Builders.Acquire",
            &namespace,
            &request,
        )?,
        key: key(request.key)?,
    };
    Ok((namespace, acquire))
}

fn reach(places: &[String]) -> Result<Reach, Invalid> {
    let many = places.len();
    if many == 0 {
        return Ok(Reach::Anywhere);
    }
    if many > MAX_PLACES {
        let reason = format!("has {many} entries, more than {MAX_PLACES}");
        return Err(Invalid::new("reachable", reason));
    }
    let parse = |(i, place): (usize, &String)| {
        let location = place.parse();
        location.map_err(|e: Invalid| e.at(format!("reachable[{i}]")))
    };
    let places = places.iter().enumerate().map(parse);
    Ok(Reach::Only(places.collect::<Result<_, _>>()?))
}

pub fn complete(
    metadata: &MetadataMap,
    request: pb::CompleteBuilderRequest,
) -> Result<(Namespace, CompleteBuilder), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let once = once(
        &request.request_id,
        "Builders.Complete",
        &namespace,
        &request,
    )?;
    let image = request
        .image
        .ok_or_else(|| Invalid::new("image", "must be set"))?;
    let pin = request.pin_ttl.map(|asked| ttl("pin_ttl", Some(asked)));
    let complete = CompleteBuilder {
        key: key(request.key)?,
        token: Token(request.token),
        built: Built {
            image: descriptor(image).map_err(|e| e.within("image"))?,
            base_digest: digest("base_digest", &request.base_digest)?,
            location: request.location.parse()?,
        },
        pin: pin.transpose()?,
        request: once,
    };
    Ok((namespace, complete))
}

pub fn abandon(
    metadata: &MetadataMap,
    request: pb::AbandonBuilderRequest,
) -> Result<(Namespace, AbandonBuilder), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let once = once(
        &request.request_id,
        "Builders.Abandon",
        &namespace,
        &request,
    )?;
    let abandon = AbandonBuilder {
        token: Token(request.token),
        failure: failure(request.error, request.retry_after)?,
        key: key(request.key)?,
        request: once,
    };
    Ok((namespace, abandon))
}

fn failure(
    error: String,
    retry_after: Option<prost_types::Duration>,
) -> Result<Option<Failure>, Invalid> {
    let retry_after = duration("retry_after", retry_after)?;
    if retry_after.is_some_and(|time| time > Failures::MAX_DELAY) {
        return Err(Invalid::new("retry_after", "must be at most an hour"));
    }
    match (error.len(), retry_after) {
        (0, None) => Ok(None),
        (0, Some(_)) => Err(Invalid::new("retry_after", "must be together with error")),
        (1..=MAX_ERROR, retry_after) => Ok(Some(Failure { error, retry_after })),
        (bytes, _) => {
            let reason = format!("is {bytes} bytes long, more than {MAX_ERROR}");
            Err(Invalid::new("error", reason))
        }
    }
}

pub fn report(
    metadata: &MetadataMap,
    request: pb::ReportBuilderRequest,
) -> Result<(Namespace, ReportBuilder), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let once = once(&request.request_id, "Builders.Report", &namespace, &request)?;
    let observations = request.observations.into_iter().enumerate();
    let observations = observations.map(|(i, message)| {
        observation(message).map_err(|e| e.within(&format!("observations[{i}]")))
    });
    let report = ReportBuilder {
        observations: observations.collect::<Result<_, _>>()?,
        base_digest: digest("base_digest", &request.base_digest)?,
        validate_only: request.validate_only,
        key: key(request.key)?,
        request: once,
    };
    Ok((namespace, report))
}

fn observation(message: pb::BuilderObservation) -> Result<BuilderObservation, Invalid> {
    Ok(BuilderObservation {
        generation: Sequence(message.generation),
        location: message.location.parse()?,
        presence: presence("presence", message.presence.as_ref())?,
    })
}

pub fn prune(
    metadata: &MetadataMap,
    request: pb::PruneBuilderRequest,
) -> Result<(Namespace, PruneBuilder), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let (many, most) = (request.in_use.len(), Builders::MAX_GENERATIONS);
    if many > most {
        let reason = format!("has {many} entries, more than {most}");
        return Err(Invalid::new("in_use", reason));
    }
    let prune = PruneBuilder {
        keep_last: keep_last(request.keep_last)?,
        older_than: duration("older_than", request.older_than)?,
        reach: reach(&request.reachable)?,
        in_use: request.in_use.into_iter().map(Sequence).collect(),
        validate_only: request.validate_only,
        key: key(request.key)?,
    };
    Ok((namespace, prune))
}

pub fn confirm(
    metadata: &MetadataMap,
    request: pb::ConfirmRemovedRequest,
) -> Result<(Namespace, ConfirmRemoved), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let removal = match pb::Removal::try_from(request.removal) {
        Ok(pb::Removal::Removed) => Removal::Removed,
        Ok(pb::Removal::NotFound) => Removal::NotFound,
        Ok(pb::Removal::InUse) => Removal::InUse,
        Ok(pb::Removal::Failed) => Removal::Failed,
        Ok(pb::Removal::Unspecified) => return Err(Invalid::new("removal", "must be set")),
        Err(_) => return Err(Invalid::new("removal", "is none that this release knows")),
    };
    let confirm = ConfirmRemoved {
        generation: Sequence(request.generation),
        location: request.location.parse()?,
        removal,
        validate_only: request.validate_only,
        key: key(request.key)?,
    };
    Ok((namespace, confirm))
}
