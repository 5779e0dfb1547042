//! What requests of `Configs` ask for, checked.

use tonic::metadata::MetadataMap;
use tracing::Span;

use super::wire;
use crate::domain::{ChainId, ConfigId, Invalid, Namespace, Reference, RunPlatform};
use crate::proto::v1 as pb;
use crate::service::native::wire::if_etag;
use crate::service::native::{namespace, once};
use crate::store::{CreateConfig, DeleteConfig, LinkConfig, MarkConfig, SetParent};

/// A reference, and which of the configs it may stand for.
pub struct Asked<'a> {
    pub namespace: &'a str,
    pub reference: &'a str,
    pub platform: Option<pb::ConfigPlatform>,
}

impl Asked<'_> {
    pub fn parse(
        self,
        metadata: &MetadataMap,
    ) -> Result<(Namespace, Reference, Option<RunPlatform>), Invalid> {
        let namespace = namespace(self.namespace, metadata)?;
        let reference = self.reference.parse()?;
        Span::current().record("name", self.reference);
        let platform = self.platform.map(wire::platform).transpose()?;
        Ok((namespace, reference, platform))
    }
}

/// The config that a request is about.
pub fn id(text: &str) -> Result<ConfigId, Invalid> {
    let id = wire::id(text, "id")?;
    Span::current().record("name", text);
    Ok(id)
}

pub fn create(
    metadata: &MetadataMap,
    request: pb::CreateConfigRequest,
) -> Result<(Namespace, CreateConfig), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let create = CreateConfig {
        parent: wire::parent(&request.parent)?,
        targets: wire::targets(&request.targets)?,
        built_locally: request.built_locally,
        validate_only: request.validate_only,
        request: once(&request.request_id, "Configs.Create", &namespace, &request)?,
        bytes: request.config,
    };
    Ok((namespace, create))
}

pub fn delete(
    metadata: &MetadataMap,
    request: &pb::DeleteConfigRequest,
) -> Result<(Namespace, DeleteConfig), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let delete = DeleteConfig {
        id: id(&request.id)?,
        if_etag: if_etag(&request.if_etag)?,
        must_be_head: request.must_be_head,
        validate_only: request.validate_only,
        request: once(&request.request_id, "Configs.Delete", &namespace, request)?,
    };
    Ok((namespace, delete))
}

pub fn set_parent(
    metadata: &MetadataMap,
    request: &pb::SetConfigParentRequest,
) -> Result<(Namespace, SetParent), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let set = SetParent {
        id: id(&request.id)?,
        parent: wire::parent(&request.parent)?,
        if_etag: if_etag(&request.if_etag)?,
        validate_only: request.validate_only,
        request: once(
            &request.request_id,
            "Configs.SetParent",
            &namespace,
            request,
        )?,
    };
    Ok((namespace, set))
}

pub fn mark(
    metadata: &MetadataMap,
    request: &pb::MarkConfigRequest,
) -> Result<(Namespace, MarkConfig), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let mark = MarkConfig {
        id: id(&request.id)?,
        built_locally: request.built_locally,
        touch: request.touch,
        if_etag: if_etag(&request.if_etag)?,
        validate_only: request.validate_only,
        request: once(&request.request_id, "Configs.Mark", &namespace, request)?,
    };
    Ok((namespace, mark))
}

pub fn link(
    metadata: &MetadataMap,
    request: &pb::LinkConfigRequest,
) -> Result<(Namespace, LinkConfig), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let link = LinkConfig {
        id: id(&request.id)?,
        target: wire::target(&request.target)?,
        validate_only: request.validate_only,
        request: once(&request.request_id, "Configs.Link", &namespace, request)?,
    };
    Ok((namespace, link))
}

pub fn unlink(
    metadata: &MetadataMap,
    request: &pb::UnlinkConfigRequest,
) -> Result<(Namespace, LinkConfig), Invalid> {
    let namespace = namespace(&request.namespace, metadata)?;
    let unlink = LinkConfig {
        id: id(&request.id)?,
        target: wire::target(&request.target)?,
        validate_only: request.validate_only,
        request: once(&request.request_id, "Configs.Unlink", &namespace, request)?,
    };
    Ok((namespace, unlink))
}

/// Whether all of each config is wanted.
pub fn is_full(view: i32) -> Result<bool, Invalid> {
    match pb::ConfigView::try_from(view) {
        Ok(pb::ConfigView::Unspecified | pb::ConfigView::Basic) => Ok(false),
        Ok(pb::ConfigView::Full) => Ok(true),
        Err(_) => Err(Invalid::new("view", "is none that this release knows")),
    }
}

/// A layer with all below it; any text may be one.
pub fn layer(text: &str) -> Result<ChainId, Invalid> {
    match text.len() {
        0 => Err(Invalid::new("chain_id", "must not be empty")),
        1..=MAX_CHAIN_ID => Ok(text.into()),
        bytes => {
            let reason = format!("is {bytes} bytes long, more than {MAX_CHAIN_ID}");
            Err(Invalid::new("chain_id", reason))
        }
    }
}

const MAX_CHAIN_ID: usize = 4096;
