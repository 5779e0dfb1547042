//! The schema, executable: every table and every key there is.
//!
//! ```text
//! meta                        "schema" -> u32, "store" -> 16 bytes; the one table outside a version
//! v1/namespaces               name -> NamespaceRecord
//! v1/<namespace>/images       name -> ImageRecord
//! v1/<namespace>/digests      digest, name -> (nothing)        the index of images by target
//! v1/changes                  kept by the engine: revision -> ChangeRecord
//! ```
//!
//! Keys are built so that their byte order is the order of their parts on every engine: a digest is
//! one byte for the algorithm and then its bytes, of a length that the algorithm fixes; text comes
//! last. So the leading parts of a key are a prefix of all keys that share them.

use bytes::Bytes;

use crate::domain::{Algorithm, Digest, ImageName, Namespace};
use crate::error::Error;
use crate::kv::{Key, Table};

/// The version that this release writes.
pub const VERSION: u32 = 1;

/// Where the schema version stands, as four bytes, high byte first.
pub fn schema_version() -> Key {
    Table::new("meta").key("schema")
}

/// Where the store's id stands, as sixteen bytes.
pub fn store_id() -> Key {
    Table::new("meta").key("store")
}

/// What the paths of all tables of this version begin with.
pub const PREFIX: &str = "v1/";

/// The change log, which the engine keeps.
pub const CHANGES: &str = "v1/changes";

/// All namespaces, by name. Logged.
pub fn namespaces() -> Table {
    Table::logged("v1/namespaces")
}

/// A namespace's images, by name. Logged.
pub fn images(namespace: &Namespace) -> Table {
    Table::logged(tenant_path(namespace, "images"))
}

/// The index of a namespace's images by target digest and name.
pub fn digests(namespace: &Namespace) -> Table {
    Table::new(tenant_path(namespace, "digests"))
}

/// All tables that a namespace may have. A namespace is empty when those that hold records are.
pub fn tenant_tables(namespace: &Namespace) -> [Table; 2] {
    [images(namespace), digests(namespace)]
}

fn tenant_path(namespace: &Namespace, kind: &str) -> String {
    let namespace = namespace.as_str();
    let mut path = String::with_capacity(4 + namespace.len() + kind.len());
    path.push_str("v1/");
    path.push_str(namespace);
    path.push('/');
    path.push_str(kind);
    path
}

pub fn namespace_key(name: &Namespace) -> Key {
    namespaces().key(Bytes::copy_from_slice(name.as_str().as_bytes()))
}

pub fn image_row(name: &ImageName) -> Bytes {
    Bytes::copy_from_slice(name.as_str().as_bytes())
}

pub fn image_key(namespace: &Namespace, name: &ImageName) -> Key {
    images(namespace).key(image_row(name))
}

/// The leading part of a digest index row.
pub fn digest_part(digest: &Digest) -> Vec<u8> {
    let bytes = digest.as_bytes();
    let mut part = Vec::with_capacity(1 + bytes.len());
    part.push(algorithm_byte(digest.algorithm()));
    part.extend_from_slice(bytes);
    part
}

pub fn digest_row(digest: &Digest, name: &ImageName) -> Bytes {
    let mut row = digest_part(digest);
    row.extend_from_slice(name.as_str().as_bytes());
    row.into()
}

pub fn digest_key(namespace: &Namespace, digest: &Digest, name: &ImageName) -> Key {
    digests(namespace).key(digest_row(digest, name))
}

/// Takes a digest from the start of a key or of a stored value; what follows it is returned. `None`
/// for one of an unknown algorithm, or cut short.
pub fn split_digest(bytes: &[u8]) -> Option<(Digest, &[u8])> {
    let (byte, rest) = bytes.split_first()?;
    let algorithm = Algorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm_byte(*algorithm) == *byte)?;
    let (digest, rest) = rest.split_at_checked(algorithm.bytes())?;
    Some((Digest::from_bytes(algorithm, digest).ok()?, rest))
}

pub fn parse_digest_row(row: &[u8]) -> Result<(Digest, ImageName), Error> {
    let (digest, name) = split_digest(row).ok_or_else(|| {
        Error::corrupt(format!(
            "an index row has no digest: {:?}",
            row.escape_ascii().to_string()
        ))
    })?;
    Ok((digest, parse_name(name)?))
}

pub fn parse_name(row: &[u8]) -> Result<ImageName, Error> {
    parse_text(row, "an image's key")
}

pub fn parse_namespace(row: &[u8]) -> Result<Namespace, Error> {
    parse_text(row, "a namespace's key")
}

fn parse_text<T: std::str::FromStr>(row: &[u8], what: &str) -> Result<T, Error> {
    std::str::from_utf8(row)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            Error::corrupt(format!(
                "{what} is no valid name: {:?}",
                row.escape_ascii().to_string()
            ))
        })
}

/// In the order of the names, which is that of the texts.
const fn algorithm_byte(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha384 => 2,
        Algorithm::Sha512 => 3,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_digest() -> impl Strategy<Value = Digest> {
        // Few seeds, so that equal digests and shared beginnings come up.
        (0..3usize, 0u8..4).prop_map(|(i, seed)| Digest::of(Algorithm::ALL[i], &[seed]))
    }

    fn any_name() -> impl Strategy<Value = ImageName> {
        "\\PC{1,8}".prop_filter_map("names", |text| text.parse().ok())
    }

    proptest! {
        #[test]
        fn the_byte_order_of_keys_is_the_order_of_their_parts(
            a in (any_digest(), any_name()), b in (any_digest(), any_name()),
        ) {
            prop_assert_eq!(digest_row(&a.0, &a.1).cmp(&digest_row(&b.0, &b.1)), a.cmp(&b));
            prop_assert_eq!(image_row(&a.1).cmp(&image_row(&b.1)), a.1.cmp(&b.1));
        }

        #[test]
        fn a_key_reads_back_as_its_parts(digest in any_digest(), name in any_name()) {
            prop_assert_eq!(parse_digest_row(&digest_row(&digest, &name)).unwrap(), (digest, name.clone()));
            prop_assert_eq!(parse_name(&image_row(&name)).unwrap(), name);
        }

        #[test]
        fn rows_that_are_no_keys_are_corrupt_and_no_panic(row in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok((digest, name)) = parse_digest_row(&row) {
                prop_assert_eq!(&digest_row(&digest, &name)[..], &row[..]);
            }
        }
    }

    #[test]
    fn no_namespace_can_name_another_tables_path() {
        let odd: Namespace = "namespaces".parse().unwrap();
        assert_ne!(images(&odd), namespaces());
        assert!("a/b".parse::<Namespace>().is_err());
    }
}
