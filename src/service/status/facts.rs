//! What of an error a program may want to know.

use std::collections::HashMap;

use super::MAX_TEXT;
use crate::domain::ConfigId;
use crate::domain::build::{ClaimRefused, EventKind};
use crate::error::{Error, Subject};

impl Error {
    /// What a program may want to know, by name.
    pub(super) fn facts(&self) -> HashMap<String, String> {
        let mut facts = HashMap::new();
        let mut say = |key: &str, value: &dyn std::fmt::Display| {
            let value = value.to_string();
            // Half a name is worse than none.
            if value.len() <= MAX_TEXT {
                facts.insert(key.to_owned(), value);
            }
        };
        let mut about = |subject: &Subject| {
            say("kind", &subject.kind());
            say("namespace", subject.namespace());
            say("name", &subject.name());
        };
        match self {
            Self::NotFound(subject)
            | Self::Exists(subject)
            | Self::HasChildren(subject)
            | Self::InUse(subject) => about(subject),
            Self::Claim { subject, refused } => {
                about(subject);
                match refused {
                    ClaimRefused::Held { holder, deadline } => {
                        say("holder", holder);
                        say("deadline", deadline);
                    }
                    ClaimRefused::Superseded { holder } => say("holder", holder),
                    ClaimRefused::Late { deadline } => say("deadline", deadline),
                    ClaimRefused::NotHeld | ClaimRefused::PinEnded => {}
                }
            }
            Self::IllegalTransition { subject, illegal } => {
                about(subject);
                let legal: Vec<_> = illegal.legal().map(EventKind::name).collect();
                say("state", &illegal.state());
                say("legal", &legal.join(","));
            }
            Self::Graph(_) | Self::NotBumpable(_) => {}
            Self::GraphChanged {
                namespace, current, ..
            } => {
                say("namespace", namespace);
                say("graph_revision", current);
            }
            Self::HasDependents {
                subject,
                dependents,
                has_more,
            } => {
                about(subject);
                let keys: Vec<_> = dependents.iter().map(ToString::to_string).collect();
                say("dependents", &keys.join(","));
                say("has_more", has_more);
            }
            Self::BuilderFull { builder, limit, .. } => {
                about(builder);
                say("limit", limit);
            }
            Self::EtagMismatch {
                subject, current, ..
            } => {
                about(subject);
                say("etag", current);
            }
            Self::TargetMismatch {
                subject, current, ..
            } => {
                about(subject);
                say("target", current);
            }
            Self::NotEmpty {
                namespace,
                contents,
            } => {
                say("namespace", namespace);
                say("images", &contents.images);
                say("configs", &contents.configs);
                say("builders", &contents.builders);
                say("targets", &contents.targets);
            }
            Self::Ambiguous {
                namespace,
                reference,
                candidates,
                has_more,
            } => {
                let ids: Vec<String> = candidates.iter().map(ConfigId::to_string).collect();
                say("namespace", namespace);
                say("reference", reference);
                say("candidates", &ids.join(","));
                say("has_more", has_more);
            }
            Self::ConfigFull { config, limit } => {
                about(config);
                say("limit", limit);
            }
            Self::TargetFull {
                namespace,
                target,
                limit,
            } => {
                say("namespace", namespace);
                say("target", target);
                say("limit", limit);
            }
            Self::ReadsTooMuch { limit, .. } => say("limit", limit),
            Self::LeaseFull { lease, limit, .. } => {
                about(lease);
                say("limit", limit);
            }
            Self::UnknownRevision { newest, .. } => say("newest_revision", newest),
            Self::Compacted { oldest } => say("oldest_revision", oldest),
            Self::HistoryTrimmed {
                subject, oldest, ..
            } => {
                about(subject);
                say("oldest_revision", oldest);
            }
            Self::Item { index, cause } => {
                facts = cause.facts();
                facts.insert("item".to_owned(), index.to_string());
            }
            Self::TooLarge { limit, .. } => say("limit", limit),
            Self::DiskFull { free, least } => {
                say("free_bytes", free);
                say("least_bytes", least);
            }
            Self::Invalid(_)
            | Self::SnapshotExpired { .. }
            | Self::TooManySnapshots { .. }
            | Self::Contended { .. }
            | Self::NotCompacted(_)
            | Self::Stopped(_)
            | Self::Closed
            | Self::GoingAway
            | Self::OutcomeUnknown(_)
            | Self::Unavailable(_)
            | Self::Corrupt(_)
            | Self::SchemaTooNew { .. }
            | Self::Open(_) => {}
        }
        facts
    }
}
