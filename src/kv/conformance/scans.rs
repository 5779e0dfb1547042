//! What a scan goes through.

use super::*;

on_every_engine![
    a_scan_goes_through_its_range_in_order,
    a_reversed_scan_goes_through_its_range_backwards,
];

async fn a_scan_goes_through_its_range_in_order(on: Subject) {
    for row in ["b", "a", "ab", "abc", "ac"] {
        on.put(key(row), "1").await;
    }
    let view = on.view().await;
    let table = key("").table;
    let rows = async |rows: Rows, limit| -> Vec<Bytes> {
        view.scan(&rows, limit)
            .await
            .unwrap()
            .rows
            .into_iter()
            .map(|(row, _)| row)
            .collect()
    };
    assert_eq!(
        rows(Rows::all(table.clone()), 9).await,
        ["a", "ab", "abc", "ac", "b"]
    );
    assert_eq!(
        rows(Rows::all(table.clone()), 500).await.len(),
        5,
        "a long scan is the same"
    );
    assert_eq!(
        rows(Rows::starting_with(table.clone(), b"ab"), 9).await,
        ["ab", "abc"]
    );
    assert_eq!(
        rows(Rows::starting_with(table.clone(), b"a"), 2).await,
        ["a", "ab"]
    );
    assert_eq!(
        rows(
            Rows::starting_with(table.clone(), b"a").after("ab".into()),
            9
        )
        .await,
        ["abc", "ac"]
    );
    assert_eq!(
        rows(
            Rows::starting_with(table.clone(), b"a").after("z".into()),
            9
        )
        .await,
        [""; 0]
    );
    assert_eq!(
        rows(Rows::between(table.clone(), b"ab", b"ac"), 9).await,
        ["ab", "abc", "ac"]
    );
    assert_eq!(rows(Rows::all(Table::new("v1/none")), 9).await, [""; 0]);
}

async fn a_reversed_scan_goes_through_its_range_backwards(on: Subject) {
    for row in ["b", "a", "ab", "abc", "ac"] {
        on.put(key(row), "1").await;
    }
    let view = on.view().await;
    let table = key("").table;
    let scanned = async |rows: Rows, limit| {
        let found = view.scan(&rows.reversed(), limit).await.unwrap();
        let rows: Vec<Bytes> = found.rows.into_iter().map(|(row, _)| row).collect();
        (rows, found.is_end)
    };
    let all = || Rows::all(table.clone());
    let starting = |prefix: &str| Rows::starting_with(table.clone(), prefix.as_bytes());
    let backwards = ["b", "ac", "abc", "ab", "a"].map(Bytes::from).to_vec();
    assert_eq!(scanned(all(), 9).await, (backwards.clone(), true));
    assert_eq!(scanned(all(), 500).await, (backwards.clone(), true));
    assert_eq!(scanned(all(), 2).await, (backwards[..2].to_vec(), false));
    assert_eq!(
        scanned(starting("ab"), 9).await,
        (backwards[2..4].to_vec(), true)
    );
    // Page by page, each after the last row of the one before.
    let mut rest = all().reversed();
    let mut paged = Vec::new();
    loop {
        let page = view.scan(&rest, 2).await.unwrap();
        paged.extend(page.rows.into_iter().map(|(row, _)| row));
        if page.is_end {
            break;
        }
        rest = rest.after(paged.last().unwrap().clone());
    }
    assert_eq!(paged, backwards);
    let below_all = starting("a").reversed().after("a".into());
    assert_eq!(view.scan(&below_all, 9).await.unwrap().rows, []);
}
