//! Ten thousand configs: stored, opened again and listed. The times are printed, for whoever wants to compare them.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use imagestore::proto::v1 as pb;
use imagestore::proto::v1::configs_client::ConfigsClient;
use tonic::transport::Channel;

use crate::common::configs::Built;
use crate::common::{Server, folder};

const CONFIGS: usize = 10_000;
/// One in so many is a base image; those after it are built on it.
const FAMILY: usize = 10;
/// Requests in flight.
const TOGETHER: usize = 64;

/// What moby's store takes to open 10,000 configs of 3 KB and to list them, on two cores and warm.
const MOBY_OPENS: Duration = Duration::from_millis(2100);
const MOBY_LISTS: Duration = Duration::from_millis(770);

fn family(number: usize) -> Built {
    Built::base(&format!("base {number}"))
}

/// All configs of a listing, with their parents, in the order that they come in.
async fn listed(
    configs: &mut ConfigsClient<Channel>,
    heads_only: bool,
    view: pb::ConfigView,
) -> Vec<(String, String)> {
    let mut request = pb::ListConfigsRequest {
        page_size: 1000,
        view: view.into(),
        heads_only,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page = configs.list(request.clone()).await.unwrap().into_inner();
        for config in page.configs {
            assert!(!config.is_corrupt);
            all.push((config.id, config.parent));
        }
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_configs_are_there_and_in_order_after_a_restart() {
    let root = folder();
    let mut server = Server::at(root.path()).await;
    let mut wanted = BTreeMap::new();
    let mut requests = Vec::new();
    for number in 0..CONFIGS / FAMILY {
        let base = family(number);
        wanted.insert(base.id(), String::new());
        requests.push(base.create());
    }
    let began = Instant::now();
    create(&server, std::mem::take(&mut requests)).await;
    for number in 0..CONFIGS / FAMILY {
        let base = family(number);
        for step in 1..FAMILY {
            let child = base.clone().run(&format!("step {step}"));
            wanted.insert(child.id(), base.id());
            requests.push(child.built_on(&base.id()));
        }
    }
    create(&server, requests).await;
    let stored = began.elapsed();
    assert_eq!(wanted.len(), CONFIGS);

    server.kill();
    let began = Instant::now();
    let server = Server::at(root.path()).await;
    let opened = began.elapsed();
    let mut configs = server.configs().await;
    let began = Instant::now();
    let found = listed(&mut configs, false, pb::ConfigView::Basic).await;
    let basic = began.elapsed();
    let wanted: Vec<(String, String)> = wanted.into_iter().collect();
    assert_eq!(found, wanted, "each once, by id, with its parent");
    let began = Instant::now();
    assert_eq!(
        listed(&mut configs, false, pb::ConfigView::Full).await,
        wanted
    );
    let full = began.elapsed();
    let heads = listed(&mut configs, true, pb::ConfigView::Basic).await;
    let childless = wanted.into_iter().filter(|(_, parent)| !parent.is_empty());
    assert_eq!(heads, childless.collect::<Vec<_>>());
    // Not println!, which the test harness hides when the test passes.
    let told = format!(
        "{CONFIGS} configs: stored in {stored:.1?}; killed, and open again after {opened:.1?} (moby {MOBY_OPENS:.1?}); \
         listed in {basic:.1?} (moby {MOBY_LISTS:.1?}), with all that each says in {full:.1?}\n"
    );
    std::io::stderr().write_all(told.as_bytes()).unwrap();
}

async fn create(server: &Server, requests: Vec<pb::CreateConfigRequest>) {
    let client = server.configs().await;
    let answers = stream::iter(requests).map(|request| {
        let mut client = client.clone();
        async move { client.create(request).await.unwrap().into_inner().created }
    });
    let answers = answers.buffer_unordered(TOGETHER);
    assert!(answers.all(|created| async move { created }).await);
}
