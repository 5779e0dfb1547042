//! `imagestore build ls`: lists targets.

use serde::Serialize;

use super::Select;
use super::wire::{self, state_name, wire_state};
use crate::cli::connect::{Common, PAGE_SIZE};
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output, Values};
use crate::cli::record::rfc3339;
use crate::cli::table::Table;
use crate::domain::build::State;
use crate::proto::v1::target_dependency::On;
use crate::proto::v1::{ListTargetsRequest, Target, TargetSelector};

/// List targets, with how far they have come and who is at them
#[derive(Debug, clap::Args)]
pub struct Ls {
    #[command(flatten)]
    select: Select,
    /// Only those in one of these: to_build, built, verified, published, error
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',')]
    states: Vec<State>,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
}

/// One target, as JSON.
#[derive(Serialize)]
pub struct TargetRecord {
    pub target: String,
    pub label: String,
    pub state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    digest: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    published_digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locations: Vec<String>,
    dependencies: Vec<String>,
    attempts: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_error: String,
    is_in_doubt: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<ClaimRecord>,
    #[serde(skip_serializing_if = "String::is_empty")]
    not_before: String,
    updated_at: String,
    etag: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
}

/// Who is at something, as JSON. The token is text, since not all readers have such large numbers.
#[derive(Serialize)]
pub struct ClaimRecord {
    holder: String,
    token: String,
    deadline: String,
}

impl Ls {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut request = ListTargetsRequest {
            namespace: common.one_namespace()?.to_owned(),
            selector: Some(TargetSelector {
                states: self
                    .states
                    .iter()
                    .map(|state| wire_state(*state).into())
                    .collect(),
                ..self.select.selector()
            }),
            page_size: PAGE_SIZE,
            page_token: String::new(),
        };
        let mut client = common.build_targets().await?;
        let mut table = Table::new(["TARGET", "STATE", "WHO", "WHY"]);
        let mut names = output::Stdout::open();
        let mut values = (common.output() != Output::Table).then(|| Values::new(common.output()));
        loop {
            let page = client.list(request.clone()).await?.into_inner();
            for target in page.targets {
                match &mut values {
                    Some(values) if self.quiet => values.push(&wire::name(&target))?,
                    Some(values) => values.push(&TargetRecord::from(target))?,
                    None if self.quiet => names.line(&wire::name(&target))?,
                    None => push(&mut table, &target),
                }
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        match values {
            Some(values) => values.end(),
            None if self.quiet => names.flush(),
            None => output::text(&table.to_string()),
        }
    }
}

fn push(table: &mut Table, target: &Target) {
    let holder = target
        .claim
        .as_ref()
        .map_or("", |claim| claim.holder.as_str());
    let state = match target.is_in_doubt {
        true => format!("{}?", state_name(target.state())),
        false => state_name(target.state()).to_owned(),
    };
    table.push([
        &*wire::name(target),
        &state,
        holder,
        first_line(&target.last_error),
    ]);
}

/// What of a long reason fits into a row.
pub fn first_line(text: &str) -> &str {
    let line = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let end = line
        .char_indices()
        .nth(120)
        .map_or(line.len(), |(end, _)| end);
    &line[..end]
}

impl From<Target> for TargetRecord {
    fn from(target: Target) -> Self {
        let state = state_name(target.state());
        let name = wire::name(&target);
        let spec = target.spec.unwrap_or_default();
        let dependencies = spec
            .dependencies
            .into_iter()
            .filter_map(|dependency| match dependency.on? {
                On::Target(text) | On::External(text) => Some(text),
            });
        Self {
            target: name,
            label: spec.label,
            state,
            digest: target.digest,
            published_digest: target.published_digest,
            locations: target.locations,
            dependencies: dependencies.collect(),
            attempts: target.attempts,
            last_error: target.last_error,
            is_in_doubt: target.is_in_doubt,
            claim: target.claim.map(ClaimRecord::from),
            not_before: rfc3339(target.not_before.as_ref()),
            updated_at: rfc3339(target.updated_at.as_ref()),
            etag: target.etag,
            source: target.source,
        }
    }
}

impl From<crate::proto::v1::Claim> for ClaimRecord {
    fn from(claim: crate::proto::v1::Claim) -> Self {
        Self {
            holder: claim.holder,
            token: claim.token.to_string(),
            deadline: rfc3339(claim.deadline.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{Claim, TargetSpec, TargetState};

    #[test]
    fn a_row_says_who_is_at_a_target_and_what_failed_in_one_line() {
        let target = Target {
            spec: Some(TargetSpec {
                name: "a".to_owned(),
                version: "1".to_owned(),
                ..TargetSpec::default()
            }),
            state: TargetState::ToBuild.into(),
            is_in_doubt: true,
            last_error: "\nexit code 1: no space\nleft".to_owned(),
            claim: Some(Claim {
                holder: "w1".to_owned(),
                token: u64::MAX,
                ..Claim::default()
            }),
            ..Target::default()
        };
        let mut table = Table::new(["TARGET", "STATE", "WHO", "WHY"]);
        push(&mut table, &target);
        assert_eq!(
            table.to_string(),
            "TARGET  STATE      WHO  WHY\na@1     to_build?  w1   exit code 1: no space\n"
        );
        let json = output::json(&TargetRecord::from(target));
        assert!(json.contains(r#""token":"18446744073709551615""#), "{json}");
    }
}
