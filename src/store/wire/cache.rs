//! What a lookup in the build cache answered, as it is stored.

use bytes::Bytes;

use super::configs::bytes_32;
use super::{missing, schema};
use crate::domain::{ConfigId, Invalid};
use crate::proto::storage as pb;
use crate::store::cache::{
    Hit, HitKind, LocalMiss, Looked, Miss, Skipped, SourceMiss, SourceMissReason,
};

pub(super) fn stored_lookup_outcome(namespace: String, looked: &Looked) -> pb::LookupOutcome {
    use pb::lookup_outcome::Found;
    let found = match &looked.found {
        Ok(hit) => Found::Hit(stored_hit(hit)),
        Err(miss) => Found::Miss(stored_miss(miss)),
    };
    let skipped = looked.skipped.iter().map(|skipped| pb::LookupSkipped {
        reference: skipped.reference.clone(),
        reason: skipped.reason.clone(),
    });
    pb::LookupOutcome {
        namespace,
        found: Some(found),
        sources: looked.sources.iter().map(schema::config_row).collect(),
        skipped: skipped.collect(),
    }
}

pub(super) fn read_lookup_outcome(stored: pb::LookupOutcome) -> Result<Looked, Invalid> {
    use pb::lookup_outcome::Found;
    let found = match stored.found.ok_or_else(|| missing("found"))? {
        Found::Hit(hit) => Ok(read_hit(&hit)?),
        Found::Miss(miss) => Err(read_miss(miss)?),
    };
    let skipped = stored.skipped.into_iter().map(|skipped| Skipped {
        reference: skipped.reference,
        reason: skipped.reason,
    });
    Ok(Looked {
        found,
        sources: stored
            .sources
            .iter()
            .map(read_id)
            .collect::<Result<_, _>>()?,
        skipped: skipped.collect(),
    })
}

fn stored_hit(hit: &Hit) -> pb::LookupHit {
    let (kind, source) = match &hit.kind {
        HitKind::Local => (pb::LookupHitKind::Local, Bytes::new()),
        HitKind::Source => (pb::LookupHitKind::Source, Bytes::new()),
        HitKind::Restored { source } => (pb::LookupHitKind::Restored, schema::config_row(source)),
    };
    pb::LookupHit {
        id: schema::config_row(&hit.id),
        kind: kind.into(),
        source,
        changed: hit.changed,
    }
}

fn read_hit(stored: &pb::LookupHit) -> Result<Hit, Invalid> {
    let kind = match stored.kind() {
        pb::LookupHitKind::Unspecified => return Err(missing("kind")),
        pb::LookupHitKind::Local => HitKind::Local,
        pb::LookupHitKind::Source => HitKind::Source,
        pb::LookupHitKind::Restored => HitKind::Restored {
            source: read_id(&stored.source)?,
        },
    };
    Ok(Hit {
        id: read_id(&stored.id)?,
        kind,
        changed: stored.changed,
    })
}

fn stored_miss(miss: &Miss) -> pb::LookupMiss {
    let local = match miss.local {
        LocalMiss::Skipped => pb::LookupLocalMiss::Skipped,
        LocalMiss::UnknownParent => pb::LookupLocalMiss::UnknownParent,
        LocalMiss::NoSuchStep => pb::LookupLocalMiss::NoSuchStep,
        LocalMiss::OtherPlatform => pb::LookupLocalMiss::OtherPlatform,
    };
    pb::LookupMiss {
        local: local.into(),
        sources: miss.sources.iter().map(stored_source_miss).collect(),
    }
}

fn read_miss(stored: pb::LookupMiss) -> Result<Miss, Invalid> {
    let local = match stored.local() {
        pb::LookupLocalMiss::Unspecified => return Err(missing("local")),
        pb::LookupLocalMiss::Skipped => LocalMiss::Skipped,
        pb::LookupLocalMiss::UnknownParent => LocalMiss::UnknownParent,
        pb::LookupLocalMiss::NoSuchStep => LocalMiss::NoSuchStep,
        pb::LookupLocalMiss::OtherPlatform => LocalMiss::OtherPlatform,
    };
    let sources = stored.sources.into_iter().map(read_source_miss);
    Ok(Miss {
        local,
        sources: sources.collect::<Result<_, _>>()?,
    })
}

fn stored_source_miss(miss: &SourceMiss) -> pb::LookupSourceMiss {
    use pb::LookupSourceMissReason as Reason;
    let (reason, created_by) = match &miss.reason {
        SourceMissReason::UnknownParent => (Reason::UnknownParent, ""),
        SourceMissReason::OtherPlatform => (Reason::OtherPlatform, ""),
        SourceMissReason::OtherParent => (Reason::OtherParent, ""),
        SourceMissReason::OtherStep { created_by } => (Reason::OtherStep, created_by.as_str()),
        SourceMissReason::UnclearHistory => (Reason::UnclearHistory, ""),
        SourceMissReason::TooLarge => (Reason::TooLarge, ""),
    };
    pb::LookupSourceMiss {
        source: schema::config_row(&miss.source),
        reason: reason.into(),
        created_by: created_by.to_owned(),
    }
}

fn read_source_miss(stored: pb::LookupSourceMiss) -> Result<SourceMiss, Invalid> {
    use pb::LookupSourceMissReason as Reason;
    let source = read_id(&stored.source)?;
    let reason = match stored.reason() {
        Reason::Unspecified => return Err(missing("reason")),
        Reason::UnknownParent => SourceMissReason::UnknownParent,
        Reason::OtherPlatform => SourceMissReason::OtherPlatform,
        Reason::OtherParent => SourceMissReason::OtherParent,
        Reason::OtherStep => SourceMissReason::OtherStep {
            created_by: stored.created_by,
        },
        Reason::UnclearHistory => SourceMissReason::UnclearHistory,
        Reason::TooLarge => SourceMissReason::TooLarge,
    };
    Ok(SourceMiss { source, reason })
}

fn read_id(stored: &Bytes) -> Result<ConfigId, Invalid> {
    bytes_32("id", stored).map(ConfigId::from_bytes)
}
