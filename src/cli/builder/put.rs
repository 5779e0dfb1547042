//! `imagestore builder put`: creates a builder, or changes when its images are made anew.

use super::record::{BuilderRecord, shown};
use super::{PolicyOptions, Which};
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::cli::put::verb;
use crate::cli::retry::RequestId;
use crate::cli::table::printable;
use crate::proto::v1::PutBuilderRequest;

/// Create a builder, or replace its policy; its images stay
#[derive(Debug, clap::Args)]
pub struct Put {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    policy: PolicyOptions,
    /// Fail when it exists
    #[arg(long)]
    must_not_exist: bool,
    /// Fail when it is not as it was with this etag
    #[arg(
        long,
        value_name = "ETAG",
        default_value = "",
        hide_default_value = true
    )]
    if_etag: String,
    #[command(flatten)]
    request_id: RequestId,
}

impl Put {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let key = self.which.key()?;
        let request = PutBuilderRequest {
            namespace: common.one_namespace()?.to_owned(),
            key: Some(key.clone()),
            policy: Some(self.policy.policy()),
            must_not_exist: self.must_not_exist,
            if_etag: self.if_etag,
            validate_only: false,
            request_id: self.request_id.text(),
        };
        let put = common.builders().await?.put(request).await?.into_inner();
        match common.output() {
            Output::Table => {
                let verb = verb(put.changed, put.created, false);
                output::text(&format!("{} {verb}\n", printable(&shown(&key))))
            }
            form => output::object(form, &BuilderRecord::from(put.builder.unwrap_or_default())),
        }
    }
}
