//! The tables and keys of configs.
//!
//! A link names a config and the revision of its summary's row, which is written once: so it leads to that
//! config as it was stored then, and to none that is stored again later. What stands under a link that leads
//! nowhere any more does not count, and is removed bit by bit; `gone` says where it is.

use bytes::Bytes;

use super::{corrupt, digest_part, split_digest, tenant_path};
use crate::domain::{ChainId, ConfigId, Fingerprint};
use crate::domain::{Digest, Namespace, Timestamp};
use crate::error::Error;
use crate::kv::{Key, Revision, Table};

/// A config as it was stored at one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    pub id: ConfigId,
    /// The revision of its summary's row.
    pub made: Revision,
}

/// A row of the index of build steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRow {
    /// `None` for a step from scratch.
    pub parent: Option<Link>,
    pub fingerprint: Fingerprint,
    pub created: Timestamp,
    pub id: ConfigId,
}

/// A row of the index of layers: a config has a layer, with all below it, and so many above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerRow {
    pub chain: [u8; 32],
    pub above: u16,
    pub id: ConfigId,
}

const ID: usize = 32;
const LINK: usize = ID + 8;

/// A namespace's configs, byte for byte, by id.
pub fn configs(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "configs"))
}

/// What is read from a namespace's configs, by id. Logged, so that the log tells which write made a namespace.
pub fn summaries(namespace: &Namespace) -> Table {
    Table::logged(tenant_path(namespace, "summaries"))
}

/// What is known of a namespace's configs beside their bytes, by id.
pub fn marks(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "marks"))
}

/// When somebody last said of a config that it was used, by id.
pub fn touched(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "touched"))
}

/// The index of configs by parent.
pub fn children(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "children"))
}

/// The configs without children, by id.
pub fn heads(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "heads"))
}

/// The index of configs by each of their layers.
pub fn layers(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "layers"))
}

/// The index of configs by the targets that have them.
pub fn targets(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "targets"))
}

/// The targets that have a config, by config.
pub fn targeted(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "targeted"))
}

/// The index of build steps that were done here.
pub fn cache(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "cache"))
}

/// The links that lead nowhere any more and may have rows under them.
pub fn gone(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "gone"))
}

/// What every write that gives a config a parent writes, so that they see each other.
pub fn lineage_key(namespace: &Namespace) -> Key {
    Table::new(tenant_path(namespace, "lineage")).key("turn")
}

pub fn config_row(id: &ConfigId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

pub fn config_key(namespace: &Namespace, id: &ConfigId) -> Key {
    configs(namespace).key(config_row(id))
}

pub fn summary_key(namespace: &Namespace, id: &ConfigId) -> Key {
    summaries(namespace).key(config_row(id))
}

pub fn marks_key(namespace: &Namespace, id: &ConfigId) -> Key {
    marks(namespace).key(config_row(id))
}

pub fn touched_key(namespace: &Namespace, id: &ConfigId) -> Key {
    touched(namespace).key(config_row(id))
}

pub fn head_key(namespace: &Namespace, id: &ConfigId) -> Key {
    heads(namespace).key(config_row(id))
}

pub fn parse_config(row: &[u8]) -> Result<ConfigId, Error> {
    let id = row.try_into().map(ConfigId::from_bytes);
    id.map_err(|_| corrupt("the key of a config is no id", row))
}

/// The leading part of all that stands under a link.
pub fn link_part(link: &Link) -> Vec<u8> {
    let mut part = link.id.as_bytes().to_vec();
    part.extend_from_slice(&link.made.0.to_be_bytes());
    part
}

pub fn gone_key(namespace: &Namespace, link: &Link) -> Key {
    gone(namespace).key(link_part(link))
}

pub fn parse_gone(row: &[u8]) -> Result<Link, Error> {
    let link = row.try_into().ok().map(read_link);
    link.ok_or_else(|| corrupt("a row of links that lead nowhere is no link", row))
}

pub fn child_row(parent: &Link, child: &ConfigId) -> Bytes {
    let mut row = link_part(parent);
    row.extend_from_slice(child.as_bytes());
    row.into()
}

pub fn child_key(namespace: &Namespace, parent: &Link, child: &ConfigId) -> Key {
    children(namespace).key(child_row(parent, child))
}

/// A parent and its child.
pub fn parse_child_row(row: &[u8]) -> Result<(Link, ConfigId), Error> {
    let parse = || {
        let (parent, child) = row.split_first_chunk::<LINK>()?;
        let child = child.try_into().ok()?;
        Some((read_link(parent), ConfigId::from_bytes(child)))
    };
    parse().ok_or_else(|| corrupt("a row of children is none", row))
}

/// The leading part of the rows of configs that have a layer.
pub fn layer_part(layer: &ChainId) -> Vec<u8> {
    layer.key().to_vec()
}

/// The leading part of the rows of configs that have a layer, and so many above it.
pub fn layer_above_part(layer: &ChainId, above: u16) -> Vec<u8> {
    let mut part = layer_part(layer);
    part.extend_from_slice(&above.to_be_bytes());
    part
}

/// The rows of a config with these layers, the lowest first.
pub fn layer_rows(layers: &[ChainId], id: &ConfigId) -> Vec<Bytes> {
    let above = |i| u16::try_from(layers.len() - 1 - i).unwrap_or(u16::MAX);
    let rows = layers.iter().enumerate().map(|(i, layer)| {
        let mut row = layer_above_part(layer, above(i));
        row.extend_from_slice(id.as_bytes());
        row.into()
    });
    rows.collect()
}

pub fn parse_layer_row(row: &[u8]) -> Result<LayerRow, Error> {
    let parse = || {
        let (chain, rest) = row.split_first_chunk()?;
        let (above, id) = rest.split_first_chunk()?;
        Some(LayerRow {
            chain: *chain,
            above: u16::from_be_bytes(*above),
            id: ConfigId::from_bytes(id.try_into().ok()?),
        })
    };
    parse().ok_or_else(|| corrupt("a row of layers is none", row))
}

pub fn target_row(target: &Digest, id: &ConfigId) -> Bytes {
    let mut row = digest_part(target);
    row.extend_from_slice(id.as_bytes());
    row.into()
}

pub fn target_key(namespace: &Namespace, target: &Digest, id: &ConfigId) -> Key {
    targets(namespace).key(target_row(target, id))
}

/// What those take turns for that link a target to configs.
pub fn target_turn(namespace: &Namespace, target: &Digest) -> Key {
    targets(namespace).key(digest_part(target))
}

pub fn parse_target_row(row: &[u8]) -> Result<(Digest, ConfigId), Error> {
    let parse = || {
        let (target, id) = split_digest(row)?;
        Some((target, ConfigId::from_bytes(id.try_into().ok()?)))
    };
    parse().ok_or_else(|| corrupt("a row of targets is none", row))
}

pub fn targeted_row(id: &ConfigId, target: &Digest) -> Bytes {
    let mut row = id.as_bytes().to_vec();
    row.extend_from_slice(&digest_part(target));
    row.into()
}

pub fn targeted_key(namespace: &Namespace, id: &ConfigId, target: &Digest) -> Key {
    targeted(namespace).key(targeted_row(id, target))
}

pub fn parse_targeted_row(row: &[u8]) -> Result<(ConfigId, Digest), Error> {
    let parse = || {
        let (id, target) = row.split_first_chunk::<ID>()?;
        let (target, rest) = split_digest(target)?;
        rest.is_empty()
            .then_some((ConfigId::from_bytes(*id), target))
    };
    parse().ok_or_else(|| corrupt("a row of what is targeted is none", row))
}

/// The leading part of the rows of steps that go on from a config, or from scratch.
pub fn steps_part(parent: Option<&Link>) -> Vec<u8> {
    parent.map_or_else(|| vec![0; LINK], link_part)
}

/// The leading part of the rows of one step: whatever was built by it, the newest first.
pub fn step_part(parent: Option<&Link>, fingerprint: &Fingerprint) -> Vec<u8> {
    let mut part = steps_part(parent);
    part.extend_from_slice(fingerprint.as_bytes());
    part
}

pub fn cache_row(row: &CacheRow) -> Bytes {
    let mut bytes = step_part(row.parent.as_ref(), &row.fingerprint);
    // In the order of time, and then turned around.
    bytes.extend_from_slice(&(!(row.created.seconds() ^ i64::MIN)).to_be_bytes());
    bytes.extend_from_slice(&(!row.created.nanos()).to_be_bytes());
    bytes.extend_from_slice(row.id.as_bytes());
    bytes.into()
}

pub fn cache_key(namespace: &Namespace, row: &CacheRow) -> Key {
    cache(namespace).key(cache_row(row))
}

pub fn parse_cache_row(row: &[u8]) -> Result<CacheRow, Error> {
    let parse = || {
        let (parent, rest) = row.split_first_chunk::<LINK>()?;
        let (fingerprint, rest) = rest.split_first_chunk()?;
        let (seconds, rest) = rest.split_first_chunk()?;
        let (nanos, id) = rest.split_first_chunk()?;
        let seconds = !i64::from_be_bytes(*seconds) ^ i64::MIN;
        Some(CacheRow {
            parent: (*parent != [0; LINK]).then(|| read_link(parent)),
            fingerprint: Fingerprint::from_bytes(*fingerprint),
            created: Timestamp::new(seconds, !u32::from_be_bytes(*nanos)).ok()?,
            id: ConfigId::from_bytes(id.try_into().ok()?),
        })
    };
    parse().ok_or_else(|| corrupt("a row of build steps is none", row))
}

fn read_link(bytes: &[u8; LINK]) -> Link {
    let (id, made) = bytes.split_at(ID);
    let (mut read, mut number) = ([0; ID], [0; 8]);
    read.copy_from_slice(id);
    number.copy_from_slice(made);
    Link {
        id: ConfigId::from_bytes(read),
        made: Revision(u64::from_be_bytes(number)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Algorithm;

    fn any_id() -> impl Strategy<Value = ConfigId> {
        // Few, so that equal ones and shared beginnings come up.
        (0u8..3, prop_oneof![Just(0u8), Just(0xff)]).prop_map(|(first, rest)| {
            let mut bytes = [rest; ID];
            bytes[0] = first;
            ConfigId::from_bytes(bytes)
        })
    }

    fn any_link() -> impl Strategy<Value = Link> {
        (any_id(), 1u64..300).prop_map(|(id, made)| Link {
            id,
            made: Revision(made),
        })
    }

    fn any_step() -> impl Strategy<Value = CacheRow> {
        let created = (-2i64..2, 0u32..300).prop_map(|(s, n)| Timestamp::new(s, n).unwrap());
        (prop::option::of(any_link()), 0u8..2, created, any_id()).prop_map(
            |(parent, fingerprint, created, id)| CacheRow {
                parent,
                fingerprint: Fingerprint::from_bytes([fingerprint; 32]),
                created,
                id,
            },
        )
    }

    proptest! {
        #[test]
        fn steps_are_in_the_order_of_parent_and_what_was_run_the_newest_first(a in any_step(), b in any_step()) {
            let parts = |row: &CacheRow| {
                let newest_first = std::cmp::Reverse(row.created);
                (row.parent, *row.fingerprint.as_bytes(), newest_first, row.id)
            };
            prop_assert_eq!(cache_row(&a).cmp(&cache_row(&b)), parts(&a).cmp(&parts(&b)));
            prop_assert_eq!(parse_cache_row(&cache_row(&a)).unwrap(), a.clone());
            let part = step_part(b.parent.as_ref(), &b.fingerprint);
            let is_same = (a.parent, &a.fingerprint) == (b.parent, &b.fingerprint);
            prop_assert_eq!(cache_row(&a).starts_with(&part), is_same);
        }

        #[test]
        fn children_are_in_the_order_of_the_link_and_their_id(a in (any_link(), any_id()), b in (any_link(), any_id())) {
            let row = |(link, id): &(Link, ConfigId)| child_row(link, id);
            prop_assert_eq!(row(&a).cmp(&row(&b)), a.cmp(&b));
            prop_assert_eq!(parse_child_row(&row(&a)).unwrap(), a);
            prop_assert_eq!(row(&a).starts_with(&link_part(&b.0)), a.0 == b.0);
            prop_assert_eq!(parse_gone(&link_part(&a.0)).unwrap(), a.0);
        }

        #[test]
        fn users_of_a_layer_are_in_the_order_of_how_much_is_above(above in (0usize..4, 0usize..4), a in any_id(), b in any_id()) {
            let chain = |above: usize| -> Vec<ChainId> {
                (0..=above).map(|i| ChainId::from(i.to_string().as_str())).collect()
            };
            let row = |above, id| layer_rows(&chain(above), &id)[0].clone();
            let (x, y) = (row(above.0, a), row(above.1, b));
            prop_assert_eq!(x.cmp(&y), (above.0, a).cmp(&(above.1, b)));
            let read = parse_layer_row(&x).unwrap();
            prop_assert_eq!((usize::from(read.above), read.id), (above.0, a));
            prop_assert_eq!(&read.chain[..], &layer_part(&chain(0)[0])[..]);
        }

        #[test]
        fn rows_that_are_no_keys_of_configs_are_corrupt_and_no_panic(row in prop::collection::vec(any::<u8>(), 0..140)) {
            if let Ok(id) = parse_config(&row) {
                prop_assert_eq!(&config_row(&id)[..], &row[..]);
            }
            if let Ok((link, child)) = parse_child_row(&row) {
                prop_assert_eq!(&child_row(&link, &child)[..], &row[..]);
            }
            if let Ok((target, id)) = parse_target_row(&row) {
                prop_assert_eq!(&target_row(&target, &id)[..], &row[..]);
            }
            if let Ok((id, target)) = parse_targeted_row(&row) {
                prop_assert_eq!(&targeted_row(&id, &target)[..], &row[..]);
            }
            if let Ok(step) = parse_cache_row(&row) {
                prop_assert_eq!(&cache_row(&step)[..], &row[..]);
            }
            let _ = (parse_gone(&row), parse_layer_row(&row));
        }
    }

    #[test]
    fn targets_read_back_by_either_key() {
        let id = ConfigId::from_bytes([7; 32]);
        for algorithm in Algorithm::ALL {
            let target = Digest::of(algorithm, b"x");
            assert_eq!(
                parse_target_row(&target_row(&target, &id)).unwrap(),
                (target, id)
            );
            assert_eq!(
                parse_targeted_row(&targeted_row(&id, &target)).unwrap(),
                (id, target)
            );
        }
    }
}
