//! `imagestore build plan`: what is to be built, in which order.

use serde::Serialize;

use super::Select;
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::cli::table::Table;
use crate::proto::v1::{BlockedTarget, BuildOrderRequest, BuildOrderResponse};

/// Show what is to be built, in which order, and what cannot be
///
/// What is in one wave can be built at the same time. What is selected brings along what it is built on.
#[derive(Debug, clap::Args)]
pub struct Plan {
    #[command(flatten)]
    select: Select,
}

#[derive(Serialize)]
struct PlanRecord {
    waves: Vec<Vec<String>>,
    blocked: Vec<BlockedRecord>,
    existing: Vec<String>,
    external: Vec<String>,
    graph_revision: u64,
}

#[derive(Serialize)]
pub struct BlockedRecord {
    target: String,
    failed: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    through: String,
}

impl Plan {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let request = BuildOrderRequest {
            namespace: common.one_namespace()?.to_owned(),
            selector: Some(self.select.selector()),
        };
        let order = common
            .build_targets()
            .await?
            .build_order(request)
            .await?
            .into_inner();
        match common.output() {
            Output::Table => output::text(&table(&order)),
            form => output::object(form, &PlanRecord::from(order)),
        }
    }
}

fn table(order: &BuildOrderResponse) -> String {
    let mut table = Table::new(["WAVE", "TARGET", "WHY"]);
    for (wave, number) in order.waves.iter().zip(1..) {
        let number: u32 = number;
        for target in &wave.targets {
            table.push([&*number.to_string(), target, ""]);
        }
    }
    for blocked in &order.blocked {
        table.push(["blocked", &blocked.target, &why(blocked)]);
    }
    for external in &order.external {
        table.push(["external", external, ""]);
    }
    table.to_string()
}

/// Why a target cannot be built.
pub fn why(blocked: &BlockedTarget) -> String {
    match blocked.through.as_str() {
        "" => format!("{} failed", blocked.failed),
        through => format!("{} failed, below {through}", blocked.failed),
    }
}

impl From<BuildOrderResponse> for PlanRecord {
    fn from(order: BuildOrderResponse) -> Self {
        Self {
            waves: order.waves.into_iter().map(|wave| wave.targets).collect(),
            blocked: order.blocked.into_iter().map(BlockedRecord::from).collect(),
            existing: order.existing,
            external: order.external,
            graph_revision: order.graph_revision,
        }
    }
}

impl From<BlockedTarget> for BlockedRecord {
    fn from(blocked: BlockedTarget) -> Self {
        Self {
            target: blocked.target,
            failed: blocked.failed,
            through: blocked.through,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::BuildWave;

    #[test]
    fn the_table_has_waves_then_what_is_blocked_and_why_then_what_comes_from_elsewhere() {
        let wave = |targets: &[&str]| BuildWave {
            targets: targets.iter().map(ToString::to_string).collect(),
        };
        let blocked = |target: &str, through: &str| BlockedTarget {
            target: target.to_owned(),
            failed: "x@1".to_owned(),
            through: through.to_owned(),
        };
        let order = BuildOrderResponse {
            waves: vec![wave(&["a@1", "b@1"]), wave(&["c@1"])],
            blocked: vec![blocked("d@1", ""), blocked("e@1", "d@1")],
            external: vec!["debian:13".to_owned()],
            ..BuildOrderResponse::default()
        };
        assert_eq!(
            table(&order),
            "WAVE      TARGET     WHY\n\
             1         a@1\n\
             1         b@1\n\
             2         c@1\n\
             blocked   d@1        x@1 failed\n\
             blocked   e@1        x@1 failed, below d@1\n\
             external  debian:13\n"
        );
    }
}
