//! Lookups of steps among few and among many children of one parent, beside the way without an index.

use std::path::Path;
use std::time::{Duration, Instant};

use imagestore::Store;
use imagestore::domain::{ConfigId, ContainerConfig, Reference};
use imagestore::store::{Hit, Lookup, PageRequest};
use tempfile::TempDir;

use crate::{Failure, fill, image, median, namespace, readable};

/// Few children.
const FEW: u32 = 10;
/// Lookups that are timed.
const LOOKUPS: u32 = 2000;
/// Searches without an index that are timed at most, and for how long.
const SEARCHES: u32 = 200;
const SEARCH_TIME: Duration = Duration::from_secs(20);

/// What was measured among so many children.
struct Measured {
    what: String,
    hit: Duration,
    miss: Duration,
    /// Without an index.
    search: Duration,
}

/// What the children are the results of.
#[derive(Clone, Copy)]
enum Steps {
    /// Each of its own.
    Each,
    /// All of one, as it is built again and again.
    One,
}

pub async fn run(dir: &Path, many: u32) -> Result<String, Failure> {
    let few = measure(dir, FEW, Steps::Each).await?;
    let many_steps = measure(dir, many, Steps::Each).await?;
    let one_step = measure(dir, many, Steps::One).await?;
    let mut lines = vec![
        "| Children of the parent | Lookup, hit | Lookup, miss | Reading each child | times |"
            .to_owned(),
        "|---|--:|--:|--:|--:|".to_owned(),
    ];
    for row in [&few, &many_steps, &one_step] {
        lines.push(format!(
            "| {} | {} | {} | {} | {:.0} |",
            row.what,
            readable(row.hit),
            readable(row.miss),
            readable(row.search),
            row.search.as_secs_f64() / row.hit.as_secs_f64(),
        ));
    }
    let ratio =
        |of: fn(&Measured) -> Duration| of(&many_steps).as_secs_f64() / of(&few).as_secs_f64();
    lines.push(format!(
        "\nAmong {many} children a hit costs {:.2} times what it costs among {FEW}, a miss {:.2} times; reading each \
         child, as moby does, {:.0} times.",
        ratio(|row| row.hit),
        ratio(|row| row.miss),
        ratio(|row| row.search),
    ));
    Ok(lines.join("\n"))
}

async fn measure(dir: &Path, children: u32, steps: Steps) -> Result<Measured, Failure> {
    let folder = TempDir::with_prefix_in("configs-", dir)?;
    let store = Store::open(folder.path()).await?;
    let base = store
        .configs()
        .create(&namespace(), &image::base(0))
        .await?;
    let base = base.value.stored.entry.id;
    let child = |i| match steps {
        Steps::Each => image::child(base, i, i),
        Steps::One => image::child(base, 0, i),
    };
    fill(&store, (0..children).map(child)).await?;

    let of = |i: u32| match steps {
        // Far from each other.
        Steps::Each => i.wrapping_mul(7919) % children,
        Steps::One => 0,
    };
    let (mut hits, mut misses) = (Vec::new(), Vec::new());
    for i in 0..LOOKUPS {
        let (found, took) = timed(&store, base, of(i)).await?;
        found.ok_or("a step that was built here was not found")?;
        hits.push(took);
        let (found, took) = timed(&store, base, children + i).await?;
        if found.is_some() {
            return Err("a step that was never built was found".into());
        }
        misses.push(took);
    }
    let mut searches = Vec::new();
    let began = Instant::now();
    for i in 0..SEARCHES {
        let searched = Instant::now();
        search(&store, base, of(i))
            .await?
            .ok_or("the search without an index found nothing")?;
        searches.push(searched.elapsed());
        if began.elapsed() > SEARCH_TIME {
            break;
        }
    }
    store.close().await;
    let what = match steps {
        Steps::Each => format!("{children}, each of a step of its own"),
        Steps::One => format!("{children}, all of one step"),
    };
    Ok(Measured {
        what,
        hit: median(hits),
        miss: median(misses),
        search: median(searches),
    })
}

async fn timed(
    store: &Store,
    base: ConfigId,
    step: u32,
) -> Result<(Option<Hit>, Duration), Failure> {
    let step =
        ContainerConfig::parse(image::step(step).to_string().as_bytes(), "container_config")?;
    let lookup = Lookup::new(Some(base), step);
    let began = Instant::now();
    let found = store.build_cache().lookup(&namespace(), &lookup).await?;
    Ok((found.value.found.ok(), began.elapsed()))
}

/// moby's way: each child is read, hashed, parsed and compared; the newest that is equal wins.
async fn search(store: &Store, base: ConfigId, step: u32) -> Result<Option<ConfigId>, Failure> {
    let step =
        ContainerConfig::parse(image::step(step).to_string().as_bytes(), "container_config")?;
    let mut best = None;
    let mut page = PageRequest {
        size: 1000,
        token: String::new(),
    };
    loop {
        let children = store.configs().children(&namespace(), &base, &page).await?;
        for id in children.items {
            let got = store
                .configs()
                .get(&namespace(), &Reference::Id(id), None)
                .await?
                .value;
            let config = got.config.ok_or("a child is corrupt")?;
            if got.entry.built_locally && config.container_config() == Some(&step) {
                best = best.max(config.created().map(|created| (created, id)));
            }
        }
        if children.next_token.is_empty() {
            return Ok(best.map(|(_, id)| id));
        }
        page.token = children.next_token;
    }
}
