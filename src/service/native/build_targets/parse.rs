//! What requests of `BuildTargets` ask for, checked.

use tonic::metadata::MetadataMap;
use tracing::Span;

use super::wire;
use crate::domain::build::{
    Dependency, Event, Graph, Mode, Span as Reach, Target, TargetKey, TargetSelector, Token,
    UpdateId, WorkSet,
};
use crate::domain::{Invalid, Namespace};
use crate::kv::Revision;
use crate::proto::v1 as pb;
use crate::service::native::wire::if_etag;
use crate::service::native::{claims, namespace, once};
use crate::store::{
    ApplyTargets, BumpTarget, ClaimTarget, DeleteTarget, Dependents, ObserveTargets, ReleaseTarget,
    RenewTarget, ResetTargets, TargetObservation, TransitionTarget,
};

/// The target that a request is about.
pub fn key(text: &str) -> Result<TargetKey, Invalid> {
    let key = wire::key("target", text)?;
    Span::current().record("name", text);
    Ok(key)
}

pub fn apply(
    metadata: &MetadataMap,
    request: pb::ApplyTargetsRequest,
) -> Result<(Namespace, ApplyTargets), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let once = once(
        &request.request_id,
        "BuildTargets.Apply",
        &namespace,
        &request,
    )?;
    let targets = request.targets.into_iter().enumerate();
    let target = |(n, spec): (usize, pb::TargetSpec)| {
        wire::target(spec).map_err(|e| e.within(&format!("targets[{n}]")))
    };
    let apply = ApplyTargets {
        targets: targets.map(target).collect::<Result<Vec<Target>, _>>()?,
        source: request.source.parse()?,
        replace_all: request.replace_all,
        if_graph_revision: request.if_graph_revision.map(Revision),
        validate_only: request.validate_only,
        request: once,
    };
    Ok((namespace, apply))
}

pub fn delete(
    metadata: &MetadataMap,
    request: &pb::DeleteTargetRequest,
) -> Result<(Namespace, DeleteTarget), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let delete = DeleteTarget {
        target: key(&request.target)?,
        if_etag: if_etag(&request.if_etag)?,
        validate_only: request.validate_only,
        request: once(
            &request.request_id,
            "BuildTargets.Delete",
            &namespace,
            request,
        )?,
    };
    Ok((namespace, delete))
}

pub fn resolve(
    metadata: &MetadataMap,
    request: &pb::ResolveTargetsRequest,
) -> Result<(Namespace, Vec<Dependency>), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let names = request.names.iter().enumerate().map(wire::name);
    Ok((namespace, names.collect::<Result<_, _>>()?))
}

pub fn transition(
    metadata: &MetadataMap,
    request: &pb::TransitionTargetRequest,
) -> Result<(Namespace, TransitionTarget), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let transition = TransitionTarget {
        target: key(&request.target)?,
        event: event(request)?,
        token: token(request.token),
        if_etag: if_etag(&request.if_etag)?,
        keep_claim: request.keep_claim,
        validate_only: request.validate_only,
        request: once(
            &request.request_id,
            "BuildTargets.Transition",
            &namespace,
            request,
        )?,
    };
    Ok((namespace, transition))
}

/// The event with what goes with it; refuses what does not.
fn event(request: &pb::TransitionTargetRequest) -> Result<Event, Invalid> {
    use pb::TargetEvent as Kind;
    let kind = Kind::try_from(request.event)
        .map_err(|_| Invalid::new("event", "is none that this release knows"))?;
    let tells_digest = matches!(
        kind,
        Kind::BuildOk | Kind::PublishOk | Kind::SeenLocal | Kind::SeenPublished
    );
    let tells_location = matches!(kind, Kind::BuildOk | Kind::SeenLocal);
    let tells_error = matches!(
        kind,
        Kind::BuildFailed | Kind::VerifyFailed | Kind::PublishFailed
    );
    for (field, text, is_told) in [
        ("digest", &request.digest, tells_digest),
        ("location", &request.location, tells_location),
        ("error", &request.error, tells_error),
    ] {
        if !is_told && !text.is_empty() && kind != Kind::Unspecified {
            let name = kind.as_str_name();
            return Err(Invalid::new(field, format!("does not go with {name}")));
        }
    }
    let digest = || claims::digest("digest", &request.digest);
    let location = || request.location.parse();
    let error = || wire::error(&request.error);
    Ok(match kind {
        Kind::Unspecified => return Err(Invalid::new("event", "must be set")),
        Kind::BuildOk => Event::BuildOk {
            digest: digest()?,
            location: location()?,
        },
        Kind::BuildFailed => Event::BuildFailed { error: error()? },
        Kind::VerifyOk => Event::VerifyOk,
        Kind::VerifyFailed => Event::VerifyFailed { error: error()? },
        Kind::PublishOk => Event::PublishOk { digest: digest()? },
        Kind::PublishFailed => Event::PublishFailed { error: error()? },
        Kind::SeenLocal => Event::SeenLocal {
            digest: digest()?,
            location: location()?,
        },
        Kind::SeenPublished => Event::SeenPublished { digest: digest()? },
        Kind::Lost => Event::Lost,
        Kind::Reset => Event::Reset,
    })
}

pub fn reset(
    metadata: &MetadataMap,
    request: &pb::ResetTargetsRequest,
) -> Result<(Namespace, ResetTargets), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let reset = ResetTargets {
        selector: wire::selector(request.selector.as_ref())?,
        validate_only: request.validate_only,
        request: once(
            &request.request_id,
            "BuildTargets.Reset",
            &namespace,
            request,
        )?,
    };
    Ok((namespace, reset))
}

pub fn observe(
    metadata: &MetadataMap,
    request: &pb::ObserveTargetsRequest,
) -> Result<(Namespace, ObserveTargets), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let mode = match pb::ObserveMode::try_from(request.mode) {
        Ok(pb::ObserveMode::RegistryFirst) => Mode::RegistryFirst,
        Ok(pb::ObserveMode::LocalRequired) => Mode::LocalRequired,
        Ok(pb::ObserveMode::Unspecified) => return Err(Invalid::new("mode", "must be set")),
        Err(_) => return Err(Invalid::new("mode", "is none that this release knows")),
    };
    let observations = request.observations.iter().enumerate();
    let observation = |(n, one): (usize, &pb::TargetObservation)| {
        observation(one).map_err(|e| e.within(&format!("observations[{n}]")))
    };
    let observe = ObserveTargets {
        mode,
        observations: observations.map(observation).collect::<Result<_, _>>()?,
        validate_only: request.validate_only,
        request: once(
            &request.request_id,
            "BuildTargets.Observe",
            &namespace,
            request,
        )?,
    };
    Ok((namespace, observe))
}

fn observation(message: &pb::TargetObservation) -> Result<TargetObservation, Invalid> {
    Ok(TargetObservation {
        target: wire::key("target", &message.target)?,
        seen: wire::observation(message)?,
        if_etag: if_etag(&message.if_etag)?,
    })
}

/// What is asked of the graph, and of which namespace.
pub fn selected(
    metadata: &MetadataMap,
    namespace: &str,
    selector: Option<&pb::TargetSelector>,
) -> Result<(Namespace, TargetSelector), Invalid> {
    let namespace = self::namespace(namespace, metadata)?;
    Ok((namespace, wire::selector(selector)?))
}

pub fn dependents(
    metadata: &MetadataMap,
    request: &pb::DependentsRequest,
) -> Result<(Namespace, Dependents, Reach), Invalid> {
    use pb::dependents_request::Of;
    let namespace = namespace(&request.namespace, metadata)?;
    let of = match &request.of {
        None => return Err(Invalid::new("of", "must name a target or a selector")),
        Some(Of::Target(text)) => Dependents::Of(key(text)?),
        Some(Of::Selector(selector)) => Dependents::OfSelected(wire::selector(Some(selector))?),
    };
    let reach = match request.transitive {
        true => Reach::Transitive,
        false => Reach::Direct,
    };
    Ok((namespace, of, reach))
}

pub fn bump(
    metadata: &MetadataMap,
    request: &pb::BumpTargetRequest,
) -> Result<(Namespace, BumpTarget), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let update_id = request.update_id.as_deref().map(str::parse).transpose()?;
    let bump = BumpTarget {
        target: key(&request.target)?,
        reason: request.reason.clone(),
        version: match request.version.as_str() {
            "" => None,
            version => Some(version.parse()?),
        },
        update_id: update_id.unwrap_or_else(UpdateId::default),
        validate_only: request.validate_only,
        request: once(
            &request.request_id,
            "BuildTargets.Bump",
            &namespace,
            request,
        )?,
    };
    Ok((namespace, bump))
}

pub fn claim(
    metadata: &MetadataMap,
    request: &pb::ClaimNextRequest,
) -> Result<(Namespace, ClaimTarget), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let works = request.work.iter().enumerate();
    let works = works.map(|(n, work)| wire::work(&format!("work[{n}]"), *work));
    let works: Vec<_> = works.collect::<Result<_, _>>()?;
    if request.targets.len() > Graph::MAX_TARGETS {
        return Err(Invalid::new(
            "targets",
            format!("must be at most {}", Graph::MAX_TARGETS),
        ));
    }
    let own = request.targets.iter().enumerate();
    let own = own.map(|(n, target)| {
        let refused = |e: Invalid| e.at(format!("targets[{n}]"));
        target.parse::<TargetKey>().map_err(refused)
    });
    let claim = ClaimTarget {
        selector: wire::selector(request.selector.as_ref())?,
        own: own.collect::<Result<_, _>>()?,
        works: WorkSet::new(works)?,
        location: request.location.parse()?,
        holder: request.holder.parse()?,
        ttl: claims::ttl("ttl", request.ttl)?,
        request: once(
            &request.request_id,
            "BuildTargets.ClaimNext",
            &namespace,
            request,
        )?,
    };
    Ok((namespace, claim))
}

pub fn renew(
    metadata: &MetadataMap,
    request: &pb::RenewTargetRequest,
) -> Result<(Namespace, RenewTarget), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let renew = RenewTarget {
        target: key(&request.target)?,
        token: required(request.token)?,
    };
    Ok((namespace, renew))
}

pub fn release(
    metadata: &MetadataMap,
    request: &pb::ReleaseTargetRequest,
) -> Result<(Namespace, ReleaseTarget), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let release = ReleaseTarget {
        target: key(&request.target)?,
        token: required(request.token)?,
        retry_after: claims::duration("retry_after", request.retry_after)?,
    };
    Ok((namespace, release))
}

fn token(token: u64) -> Option<Token> {
    (token != 0).then_some(Token(token))
}

fn required(token: u64) -> Result<Token, Invalid> {
    self::token(token).ok_or_else(|| Invalid::new("token", "must be set"))
}
