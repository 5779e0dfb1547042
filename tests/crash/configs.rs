//! kill -9 under writers of configs: what was acknowledged is there with its parent, and no link is half there.

use super::*;
use imagestore::domain::{ConfigId, Namespace};
use imagestore::proto::v1::configs_client::ConfigsClient;

use crate::common::configs::{Built, create};

const WRITERS: usize = 8;
const ROUNDS: u64 = 6;

/// What one writer knows of its configs.
#[derive(Default)]
struct Family {
    /// As acknowledged: each with its parent.
    parents: BTreeMap<String, Option<String>>,
    /// The config that the write was about that the kill cut off, and the parent that it was to have.
    cut_off: Option<(String, Option<String>)>,
    written: u64,
}

/// Writes until the server is gone.
async fn write(
    writer: usize,
    mut family: Family,
    mut random: Random,
    channel: Channel,
    round: Arc<Round>,
) -> Family {
    let mut configs = ConfigsClient::new(channel);
    loop {
        let mut any = || {
            let nth = random.below(family.parents.len().max(1) as u64) as usize;
            family.parents.keys().nth(nth).cloned()
        };
        let (own, parent) = (any(), any());
        family.written += 1;
        let answer = match (own, random.below(3)) {
            (Some(id), 0) => {
                // No config may become its own ancestor.
                let parent = parent.filter(|parent| is_not_above(&family, parent, &id));
                family.cut_off = Some((id.clone(), parent.clone()));
                let request = pb::SetConfigParentRequest {
                    id,
                    parent: parent.unwrap_or_default(),
                    ..Default::default()
                };
                configs.set_parent(request).await.map(drop)
            }
            _ => {
                let config = Built::base(&format!("{writer} {}", family.written)).json();
                let config = config.to_string();
                let id = digest(&config);
                family.cut_off = Some((id, parent.clone()));
                let request = pb::CreateConfigRequest {
                    parent: parent.unwrap_or_default(),
                    built_locally: true,
                    ..create(config)
                };
                configs.create(request).await.map(drop)
            }
        };
        if let Err(status) = answer {
            let is_killed = round.killed.load(Ordering::SeqCst);
            assert!(is_killed, "refused while it ran: {status:?}");
            return family;
        }
        if let Some((id, parent)) = family.cut_off.take() {
            family.parents.insert(id, parent);
        }
        round.acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whether one is not built on another.
fn is_not_above(family: &Family, parent: &str, of: &str) -> bool {
    let mut at = Some(parent);
    while let Some(id) = at {
        if id == of {
            return false;
        }
        at = family.parents.get(id).and_then(Option::as_deref);
    }
    true
}

/// The families as they are in the store: what was cut off is there or not, and all else as it was acknowledged.
async fn settle(store: &Store, families: &mut [Family]) {
    let namespace: Namespace = "default".parse().unwrap();
    for family in families {
        let cut_off = family.cut_off.take();
        if let Some((id, parent)) = cut_off {
            let at: ConfigId = id.parse().unwrap();
            let found = store.configs().parent(&namespace, &at).await;
            let found = found.map(|found| found.value.map(|id| id.to_string()));
            match (found, family.parents.get(&id)) {
                (Ok(found), before) => {
                    let is_old = before.is_some_and(|before| *before == found);
                    assert!(found == parent || is_old, "{id} has {found:?}");
                    family.parents.insert(id, found);
                }
                (Err(imagestore::Error::NotFound(_)), None) => {}
                (Err(cause), _) => panic!("{id}: {cause}"),
            }
        }
        for (id, parent) in &family.parents {
            let at: ConfigId = id.parse().unwrap();
            let found = store.configs().parent(&namespace, &at).await.unwrap();
            assert_eq!(&found.value.map(|id| id.to_string()), parent, "{id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_config_is_lost_and_no_link_is_half_there() {
    let root = folder();
    let seed = seed();
    eprintln!("seed {seed}");
    let mut random = Random(seed);
    let mut families: Vec<Family> = (0..WRITERS).map(|_| Family::default()).collect();
    for _ in 0..ROUNDS {
        let mut server = Server::at(root.path()).await;
        let round = Arc::new(Round::default());
        let mut writers = Vec::new();
        for (writer, family) in families.drain(..).enumerate() {
            let own = Random(random.next().max(1));
            let (channel, round) = (server.channel().await, round.clone());
            writers.push(tokio::spawn(write(writer, family, own, channel, round)));
        }
        eventually("enough was written", async || {
            round.acknowledged.load(Ordering::SeqCst) >= LEAST_WRITES
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random.below(LONGEST))).await;
        round.killed.store(true, Ordering::SeqCst);
        server.kill();
        for family in join_all(writers).await {
            families.push(family.unwrap());
        }
        let store = Store::open(root.path()).await.unwrap();
        settle(&store, &mut families).await;
        assert_eq!(store.verify().await.unwrap().problems, []);
        store.close().await;
    }
}
