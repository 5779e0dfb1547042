//! `imagestore lineage`: what an image is built on, and what is built on it.

mod dot;
mod family;
mod tree;

use serde::Serialize;

use self::family::{Family, Member, Relation};
use super::config::platform_record;
use super::connect::Common;
use super::failure::Failure;
use super::human::short_digest;
use super::output::{self, Form, Output, Values};
use super::platform;
use super::record::{PlatformRecord, rfc3339};
use super::table::Table;
use crate::proto::v1::ConfigPlatform;

/// Show what an image is built on, the nearest first, and what is built on it
///
/// Found by the layers that configs share, whether or not anybody said what was built from what; where
/// the one's history does not go on from the other's, that is said. Of a name also what is built on
/// what it was before is shown, as far back as its history and the configs are kept: OUTDATED is what
/// is built on no config that the name stands for now. A graph for Graphviz comes with -o dot.
#[derive(Debug, clap::Args)]
pub struct Lineage {
    /// The image's name, or a config: an id, or how one begins
    #[arg(value_name = "NAME")]
    reference: String,
    /// Which config of an image that has several: the one that suits this platform best
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform::of_config)]
    platform: Option<ConfigPlatform>,
    /// Only what is built on an older one than the name points to now
    #[arg(long)]
    outdated: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
}

/// A config of the lineage as JSON.
#[derive(Serialize)]
struct MemberRecord {
    relation: &'static str,
    id: String,
    names: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_more_names: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformRecord>,
    #[serde(skip_serializing_if = "String::is_empty")]
    created: String,
    /// By how many layers it is higher or lower than what was asked about, or what that was before.
    layers: i32,
    /// Descendants only: the config, of those that were asked about, that it is built on.
    #[serde(skip_serializing_if = "String::is_empty")]
    base: String,
    #[serde(skip_serializing_if = "is_zero")]
    base_generation: u64,
    is_outdated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_by_layers_only: bool,
}

impl Lineage {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let namespace = common.one_namespace()?;
        let mut client = common.configs().await?;
        let platform = self.platform.as_ref();
        let mut family = Family::of(&mut client, namespace, &self.reference, platform).await?;
        if self.outdated {
            family.members.retain(|member| member.is_outdated);
        }
        let is_graph = common.form == Form::Dot;
        // A list shows nothing of what stands on what.
        if is_graph || !self.outdated {
            family.nest(&client, namespace).await?;
        }
        match common.output() {
            Output::Table if is_graph => output::text(&dot::graph(&family)),
            Output::Table if self.outdated => {
                output::text(&outdated(&family, self.no_trunc).to_string())
            }
            Output::Table => output::text(&tree::text(&family, self.no_trunc)),
            Output::Json | Output::Ndjson => {
                let mut values = Values::new(common.output());
                for member in family.members {
                    values.push(&MemberRecord::from(member))?;
                }
                values.end()
            }
        }
    }
}

/// What is to be built again.
fn outdated(family: &Family, whole_ids: bool) -> Table {
    let mut table = Table::new([
        "NAME",
        "ID",
        "PLATFORM",
        "BUILT ON",
        "GENERATION",
        "HISTORY",
    ]);
    let id = |id| match whole_ids {
        true => id,
        false => short_digest(id),
    };
    for member in &family.members {
        let history = match member.is_by_layers_only {
            true => "another",
            false => "",
        };
        table.push([
            member.names_text().as_str(),
            id(&member.config.id),
            &platform::text(member.config.platform.as_ref()),
            id(&member.base),
            &member.base_generation.to_string(),
            history,
        ]);
    }
    table
}

// Serde passes a reference.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<Member> for MemberRecord {
    fn from(member: Member) -> Self {
        let relation = match member.relation {
            Relation::Itself => "self",
            Relation::Base => "base",
            Relation::Descendant => "descendant",
        };
        Self {
            relation,
            created: rfc3339(member.config.created.as_ref()),
            platform: platform_record(member.config.platform),
            id: member.config.id,
            names: member.names,
            has_more_names: member.has_more_names,
            layers: member.layers,
            base: member.base,
            base_generation: member.base_generation,
            is_outdated: member.is_outdated,
            is_by_layers_only: member.is_by_layers_only,
        }
    }
}
