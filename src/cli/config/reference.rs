//! What stands for a config on the command line: an id, how one begins, or an image's name.

use oci_spec::distribution;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::cli::failure::{Failure, is_ambiguous, say};
use crate::domain::{IdPrefix, Reference};
use crate::proto::v1::configs_client::ConfigsClient;
use crate::proto::v1::{ConfigPlatform, GetConfigRequest, GetConfigResponse, ResolveConfigRequest};

/// What the text of an id begins with.
const ALGORITHM: &str = "sha256:";

/// Why a text leads to no config, and how it was read.
pub struct Refused {
    pub status: Status,
    pub reference: String,
}

/// The id that a text is, or leads to.
pub async fn id(
    client: &mut ConfigsClient<Channel>,
    namespace: &str,
    text: &str,
) -> Result<String, Status> {
    if let Some(id) = whole_id(text) {
        return Ok(id);
    }
    let mut first = None;
    for reference in readings(text) {
        match resolve(client, namespace, reference.clone()).await {
            Ok(id) => {
                tell_reading(text, &reference);
                return Ok(id);
            }
            Err(status) if status.code() == Code::NotFound => drop(first.get_or_insert(status)),
            Err(status) => return Err(status),
        }
    }
    Err(first.expect("a text has one reading at least"))
}

/// The id that a text is, or that begins so; never that of an image of that name.
pub async fn id_only(
    client: &mut ConfigsClient<Channel>,
    namespace: &str,
    text: &str,
) -> Result<String, Status> {
    if let Some(id) = whole_id(text) {
        return Ok(id);
    }
    let hex = text.strip_prefix(ALGORITHM).unwrap_or(text);
    let prefix: Result<IdPrefix, _> = hex.parse();
    if let Err(why) = prefix {
        let why = format!("{text:?} is no id, nor how one begins: it {}", why.reason());
        return Err(Status::invalid_argument(why));
    }
    let prefix = format!("{ALGORITHM}{hex}");
    let id = resolve(client, namespace, prefix.clone()).await?;
    match id.starts_with(&prefix) {
        true => Ok(id),
        // An image may be called so.
        false => Err(Status::not_found(format!("config {prefix}: not found"))),
    }
}

async fn resolve(
    client: &mut ConfigsClient<Channel>,
    namespace: &str,
    reference: String,
) -> Result<String, Status> {
    let request = ResolveConfigRequest {
        namespace: namespace.to_owned(),
        reference,
        platform: None,
    };
    Ok(client.resolve(request).await?.into_inner().id)
}

fn tell_reading(text: &str, reference: &str) {
    if reference != text {
        say(&format!("{text} is taken as {reference}"));
    }
}

/// A whole id, with or without `sha256:`, in its one form.
fn whole_id(text: &str) -> Option<String> {
    match text.parse::<Reference>() {
        Ok(Reference::Id(id)) => Some(id.to_string()),
        _ => None,
    }
}

/// The config that a text stands for, and the text that led to it: the familiar form of a name is taken where
/// there is no record that is called so.
pub async fn get(
    client: &mut ConfigsClient<Channel>,
    namespace: &str,
    text: &str,
    platform: Option<&ConfigPlatform>,
) -> Result<(String, GetConfigResponse), Refused> {
    let mut first = None;
    for reference in readings(text) {
        let request = GetConfigRequest {
            namespace: namespace.to_owned(),
            reference: reference.clone(),
            platform: platform.cloned(),
        };
        match client.get(request).await {
            Ok(answer) => {
                tell_reading(text, &reference);
                return Ok((reference, answer.into_inner()));
            }
            Err(status) => {
                let is_missing = status.code() == Code::NotFound;
                let refused = Refused { status, reference };
                if !is_missing {
                    return Err(refused);
                }
                first.get_or_insert(refused);
            }
        }
    }
    Err(first.expect("a text has one reading at least"))
}

/// A name as containerd has it: `docker.io/library/alpine:3` for `alpine:3`. `None` for what is no such name.
pub fn whole_name(text: &str) -> Option<String> {
    let reference = distribution::Reference::try_from(text).ok()?;
    Some(reference.whole())
}

/// The ids that a text stands for, where the service found several and told them all.
pub fn candidates(status: &Status) -> Option<Vec<String>> {
    if !is_ambiguous(status) {
        return None;
    }
    let details = status.get_details_error_info()?;
    let are_all = details
        .metadata
        .get("has_more")
        .is_none_or(|more| more != "true");
    let ids = details.metadata.get("candidates").filter(|_| are_all)?;
    Some(ids.split(',').map(|id| id.trim().to_owned()).collect())
}

/// What a text may be meant as, in this order.
fn readings(text: &str) -> Vec<String> {
    let mut readings = vec![text.to_owned()];
    let whole = whole_name(text)
        .filter(|whole| whole != text && whole_id(text).is_none() && !text.starts_with(ALGORITHM));
    readings.extend(whole);
    readings
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let is_ambiguous = is_ambiguous(&refused.status);
        let failure = Self::from(refused.status);
        match is_ambiguous {
            true => failure.next("Say which one is meant with --platform, or give its id"),
            false => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_meant_as_containerd_has_it() {
        let id = format!("sha256:{}", "0a".repeat(32));
        for (text, readings_of_it) in [
            (
                "debian:12",
                vec!["debian:12", "docker.io/library/debian:12"],
            ),
            ("example.org/app:1", vec!["example.org/app:1"]),
            (&id, vec![&*id]),
            (&id[7..], vec![&id[7..]]),
            ("No Name", vec!["No Name"]),
        ] {
            assert_eq!(readings(text), readings_of_it);
        }
    }

    #[test]
    fn a_familiar_name_becomes_that_of_containerd() {
        for (text, name) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3", "docker.io/library/alpine:3"),
            ("me/app:1", "docker.io/me/app:1"),
            ("example.org/app:1", "example.org/app:1"),
            ("localhost:5000/app:1", "localhost:5000/app:1"),
        ] {
            assert_eq!(whole_name(text).as_deref(), Some(name));
        }
        assert_eq!(whole_name("NO/A name"), None);
    }

    #[test]
    fn a_whole_id_is_taken_as_it_is() {
        let id = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(whole_id(&id), Some(id.clone()));
        assert_eq!(whole_id(&id[7..]), Some(id.clone()));
        for text in ["", "debian:12", &id[..70], &id.to_uppercase()] {
            assert_eq!(whole_id(text), None, "{text}");
        }
    }
}
