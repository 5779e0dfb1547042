//! The health that both tell of.

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::daemon::{self, Daemon};

async fn health(daemon: &Daemon, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(daemon.channel().await)
        .check(request)
        .await;
    match answer {
        Ok(answer) => Ok(answer.into_inner().status()),
        Err(status) => Err(status.code()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_well_as_a_whole_and_know_no_other_service() {
    let Some(containerd) = Daemon::containerd().await else {
        return;
    };
    let imagestore = Daemon::imagestore().await;
    for (service, expected) in [
        ("", Ok(ServingStatus::Serving)),
        ("containerd.services.none.v1.None", Err(Code::NotFound)),
    ] {
        assert_eq!(health(&containerd, service).await, expected, "{service}");
        assert_eq!(health(&imagestore, service).await, expected, "{service}");
    }
    // A known difference.
    let images = "containerd.services.images.v1.Images";
    assert_eq!(health(&containerd, images).await, Err(Code::NotFound));
    if !daemon::is_stood_in() {
        let serving = Ok(ServingStatus::Serving);
        assert_eq!(health(&imagestore, images).await, serving);
    }
}
