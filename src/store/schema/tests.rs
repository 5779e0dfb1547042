//! Keys are in order and read back.

use proptest::prelude::*;

use super::*;
use crate::domain::{LeaseId, Resource};

fn any_digest() -> impl Strategy<Value = Digest> {
    // Few seeds, so that equal digests and shared beginnings come up.
    (0..3usize, 0u8..4).prop_map(|(i, seed)| Digest::of(Algorithm::ALL[i], &[seed]))
}

fn any_name() -> impl Strategy<Value = ImageName> {
    "\\PC{1,8}".prop_filter_map("names", |text| text.parse().ok())
}

fn any_resource() -> impl Strategy<Value = Resource> {
    let text = || "\\PC{1,4}";
    prop_oneof![
        any_digest().prop_map(Resource::Content),
        any_name().prop_map(Resource::Image),
        text().prop_map(|id| Resource::Ingest(id.parse().unwrap())),
        ("[^/\0]{1,3}", text()).prop_map(|(snapshotter, key)| Resource::Snapshot {
            snapshotter: snapshotter.parse().unwrap(),
            key: key.parse().unwrap(),
        }),
    ]
}

fn any_leased() -> impl Strategy<Value = (LeaseId, Resource)> {
    ("[^\0]{1,3}", any_resource()).prop_map(|(id, resource)| (id.parse().unwrap(), resource))
}

fn any_expiry() -> impl Strategy<Value = (Timestamp, LeaseId)> {
    // Also of before 1970.
    let at = (-2i64..2, 0u32..300).prop_map(|(s, n)| Timestamp::new(s, n).unwrap());
    (at, "[^\0]{1,3}").prop_map(|(at, id)| (at, id.parse().unwrap()))
}

proptest! {
    #[test]
    fn leases_that_expire_are_in_the_order_of_when(a in any_expiry(), b in any_expiry()) {
        let row = |(at, id): &(Timestamp, LeaseId)| expiring_row(*at, id);
        prop_assert_eq!(row(&a).cmp(&row(&b)), a.cmp(&b));
        prop_assert_eq!(parse_expiring_row(&row(&a)).unwrap(), a);
    }

    #[test]
    fn what_leases_hold_is_in_the_order_of_leases_and_resources(a in any_leased(), b in any_leased()) {
        let row = |(id, resource): &(LeaseId, Resource)| leased_row(id, resource);
        prop_assert_eq!(row(&a).cmp(&row(&b)), a.cmp(&b));
        prop_assert_eq!(row(&a).starts_with(&leased_part(&b.0)), a.0 == b.0);
        prop_assert_eq!(parse_leased_row(&row(&a)).unwrap(), a);
    }

    #[test]
    fn the_byte_order_of_keys_is_the_order_of_their_parts(
        a in (any_digest(), any_name()), b in (any_digest(), any_name()),
        x in 0u64..600, y in 0u64..600,
    ) {
        prop_assert_eq!(digest_row(&a.0, &a.1).cmp(&digest_row(&b.0, &b.1)), a.cmp(&b));
        prop_assert_eq!(image_row(&a.1).cmp(&image_row(&b.1)), a.1.cmp(&b.1));
        let (x, y) = (Revision(x), Revision(y));
        prop_assert_eq!(
            history_row(&a.1, x).cmp(&history_row(&b.1, y)), (&a.1, x).cmp(&(&b.1, y))
        );
    }

    #[test]
    fn a_key_reads_back_as_its_parts(digest in any_digest(), name in any_name()) {
        prop_assert_eq!(parse_digest_row(&digest_row(&digest, &name)).unwrap(), (digest, name.clone()));
        prop_assert_eq!(
            parse_history_row(&history_row(&name, Revision(256))).unwrap(), (name.clone(), Revision(256))
        );
        let at = Timestamp::new(7, 1_000_000).unwrap();
        prop_assert_eq!(parse_deleted_row(&deleted_row(at, &name)).unwrap(), (7001, name.clone()));
        prop_assert_eq!(parse_name(&image_row(&name)).unwrap(), name);
    }

    #[test]
    fn rows_that_are_no_keys_are_corrupt_and_no_panic(row in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok((digest, name)) = parse_digest_row(&row) {
            prop_assert_eq!(&digest_row(&digest, &name)[..], &row[..]);
        }
        if let Ok((name, made)) = parse_history_row(&row) {
            prop_assert_eq!(&history_row(&name, made)[..], &row[..]);
        }
        let _ = parse_deleted_row(&row);
        if let Ok((at, id)) = parse_expiring_row(&row) {
            prop_assert_eq!(&expiring_row(at, &id)[..], &row[..]);
        }
        let _ = parse_leased_row(&row);
        let leased = [b"l\0content\0", &row[..]].concat();
        if let Ok((lease, resource)) = parse_leased_row(&leased) {
            prop_assert_eq!(&leased_row(&lease, &resource)[..], &leased[..]);
        }
    }
}

#[test]
fn no_namespace_can_name_another_tables_path() {
    let odd: Namespace = "namespaces".parse().unwrap();
    assert_ne!(images(&odd), namespaces());
    assert!("a/b".parse::<Namespace>().is_err());
}

#[test]
fn the_tables_of_a_namespace_are_known_as_such() {
    let namespace: Namespace = "ns".parse().unwrap();
    for (table, kind) in tenant_tables(&namespace).iter().zip(TENANT_KINDS) {
        assert_eq!(parse_tenant(table), Some(("ns", kind)));
    }
}
