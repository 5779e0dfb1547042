//! Many configs: stored, opened again and listed.

use std::path::Path;
use std::time::{Duration, Instant};

use imagestore::Store;
use imagestore::store::PageRequest;
use tempfile::TempDir;

use crate::{Failure, fill, image, namespace, readable};

/// What moby's store takes for 10,000 configs of 3 KB on two cores, warm.
const MOBY_LIST: Duration = Duration::from_millis(770);
const MOBY_OPEN: Duration = Duration::from_millis(2100);

pub async fn run(dir: &Path, configs: u32) -> Result<String, Failure> {
    let folder = TempDir::with_prefix_in("configs-", dir)?;
    let store = Store::open(folder.path()).await?;
    let began = Instant::now();
    fill(&store, (0..configs).map(image::base)).await?;
    let stored = began.elapsed();
    store.close().await;
    drop(store);

    let began = Instant::now();
    let store = Store::open(folder.path()).await?;
    let opened = began.elapsed();
    let basic = list(&store, configs, false).await?;
    let full = list(&store, configs, true).await?;
    store.close().await;
    Ok(format!(
        "| {configs} configs | imagestore | moby, for 10,000 |\n|---|--:|--:|\n\
         | stored, durably | {} | |\n| opened | {} | {} |\n| listed | {} | {} |\n\
         | listed, each read, hashed and parsed | {} | {} |",
        readable(stored),
        readable(opened),
        readable(MOBY_OPEN),
        readable(basic),
        readable(MOBY_LIST),
        readable(full),
        readable(MOBY_LIST),
    ))
}

async fn list(store: &Store, configs: u32, is_full: bool) -> Result<Duration, Failure> {
    let mut page = PageRequest {
        size: 1000,
        token: String::new(),
    };
    let (began, mut listed) = (Instant::now(), 0);
    loop {
        let found = match is_full {
            true => {
                let found = store
                    .configs()
                    .list_full(&namespace(), false, &page)
                    .await?;
                (found.items.len(), found.next_token)
            }
            false => {
                let found = store.configs().list(&namespace(), false, &page).await?;
                (found.items.len(), found.next_token)
            }
        };
        listed += found.0;
        page.token = found.1;
        if page.token.is_empty() {
            break;
        }
    }
    if listed != configs as usize {
        return Err(format!("{listed} of {configs} configs were listed").into());
    }
    Ok(began.elapsed())
}
