//! What is no config, or asks for what cannot be: refused by its field, and nothing written.

mod requests;

use imagestore::proto::v1 as pb;
use imagestore::proto::v1::configs_client::ConfigsClient;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::common::configs::{Built, create, platform};
use crate::common::{Server, assert_refused, digest};
use crate::configs::{delete, get, set_parent, store};

/// A server with one config that must stay as it is.
struct Kept {
    server: Server,
    configs: ConfigsClient<Channel>,
    id: String,
    before: [i64; 4],
}

impl Kept {
    async fn new() -> Self {
        let server = Server::start().await;
        let mut configs = server.configs().await;
        let id = store(&mut configs, &Built::base("debian")).await;
        Self {
            before: server.state().await,
            configs,
            id,
            server,
        }
    }

    /// It is refused by this field, and nothing is written.
    async fn refused<T: std::fmt::Debug>(
        &self,
        answer: Result<Response<T>, Status>,
        field: &str,
    ) -> Status {
        let status = answer.expect_err(field);
        let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
        assert_refused(&status, code, reason, Some(field));
        assert_eq!(self.server.state().await, self.before);
        assert!(!self.server.stderr().contains("panicked"));
        status
    }

    async fn create_refused(&mut self, config: impl Into<bytes::Bytes>, field: &str) -> Status {
        let mut request = create(config);
        for validate_only in [true, false] {
            request.validate_only = validate_only;
            let answer = self.configs.create(request.clone()).await;
            self.refused(answer, field).await;
        }
        self.configs.create(request).await.unwrap_err()
    }
}

#[tokio::test]
async fn what_is_no_config_is_refused_by_what_is_wrong_with_it() {
    let mut kept = Kept::new().await;
    let rootfs = |layers: usize| json!({"type": "layers", "diff_ids": vec!["sha256:a"; layers]});
    for (config, field) in [
        ("", "config"),
        ("nope", "config"),
        ("{", "config"),
        ("[]", "config"),
        ("null", "config"),
        ("{} {}", "config"),
        ("\u{feff}{\"rootfs\":{}}", "config"),
        // moby ended with a panic at these two.
        ("{}", "config.rootfs"),
        (r#"{"rootfs":null}"#, "config.rootfs"),
        (r#"{"rootfs":[]}"#, "config.rootfs"),
        (r#"{"rootfs":{},"ROOTFS":{}}"#, "config.rootfs"),
        (
            r#"{"rootfs":{"diff_ids":["a",1]}}"#,
            "config.rootfs.diff_ids[1]",
        ),
        (r#"{"rootfs":{},"history":{}}"#, "config.history"),
        (r#"{"rootfs":{},"created":"yesterday"}"#, "config.created"),
        (
            r#"{"rootfs":{},"history":[{"created":"x"}]}"#,
            "config.history[0].created",
        ),
        (r#"{"rootfs":{},"os":1}"#, "config.os"),
        (
            r#"{"rootfs":{},"config":{"Env":[[]]}}"#,
            "config.config.Env[0]",
        ),
        (
            r#"{"rootfs":{},"container_config":{"Labels":{"a":1}}}"#,
            "config.container_config.Labels[\"a\"]",
        ),
    ] {
        let status = kept.create_refused(config, field).await;
        assert!(!status.message().is_empty());
    }
    kept.create_refused(&b"{\"rootfs\":{},\"comment\":\"\xff\"}"[..], "config")
        .await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    kept.create_refused(format!("{{\"rootfs\":{{}},\"x\":{deep}}}"), "config")
        .await;

    let steps = |made: usize, empty: usize| {
        let made = std::iter::repeat_n(json!({"created_by": "x"}), made);
        let empty = std::iter::repeat_n(json!({"empty_layer": true}), empty);
        made.chain(empty).collect::<Vec<Value>>()
    };
    let config = json!({"rootfs": rootfs(1), "history": steps(2, 0)});
    kept.create_refused(config.to_string(), "config.history")
        .await;
    let config = json!({"rootfs": rootfs(1025)});
    kept.create_refused(config.to_string(), "config.rootfs.diff_ids")
        .await;

    // As many as can be are taken, and so is a history that tells of fewer layers.
    for config in [
        json!({"rootfs": rootfs(1), "history": steps(1, 1)}),
        json!({"rootfs": rootfs(2), "history": steps(1, 0)}),
        json!({"rootfs": rootfs(1024)}),
    ] {
        kept.configs
            .create(create(config.to_string()))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_config_of_more_than_a_mebibyte_is_refused_by_its_field() {
    let mut kept = Kept::new().await;
    let sized = |bytes: usize| {
        let around = r#"{"rootfs":{},"comment":""}"#.len();
        format!(
            r#"{{"rootfs":{{}},"comment":"{}"}}"#,
            "x".repeat(bytes - around)
        )
    };
    for bytes in [(1 << 20) + 1, 4 << 20, 7 << 20] {
        kept.create_refused(sized(bytes), "config").await;
    }
    let answer = kept.configs.create(create(sized(9 << 20))).await;
    let status = answer.unwrap_err();
    assert_refused(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE", None);
    assert_eq!(kept.server.state().await, kept.before);
    let largest = sized(1 << 20);
    let made = kept.configs.create(create(largest.clone())).await.unwrap();
    assert_eq!(made.into_inner().config.unwrap().id, digest(&largest));
    let got = kept.configs.get(get(&digest(&largest))).await.unwrap();
    assert_eq!(got.into_inner().raw, largest);
}
