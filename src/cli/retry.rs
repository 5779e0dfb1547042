//! What a request goes by when it may be sent again.

/// The option of every command that writes.
#[derive(Debug, Default, clap::Args)]
pub struct RequestId {
    /// The request's own name, such as a UUID: sent again under it, it is done once
    #[arg(long = "request-id", value_name = "ID")]
    id: Option<String>,
}

impl RequestId {
    pub fn is_given(&self) -> bool {
        self.id.is_some()
    }

    /// For a request's field, which is empty where there is none.
    pub fn text(&self) -> String {
        self.id.clone().unwrap_or_default()
    }
}
