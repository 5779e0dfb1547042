//! Pages of a listing, and the tokens that lead from one to the next.

use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::parts::StoredImage;
use super::query::{ImageQuery, Scope};
use super::walk::{Cursor, Walk};
use super::{Store, StoreId, Stored, schema};
use crate::domain::Invalid;
use crate::error::Error;
use crate::kv::Revision;

/// Which page: the first, or the one that a token leads to, and how many records at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// 0 means 100; more than 1,000 counts as 1,000.
    pub size: u32,
    /// The token of the page before; empty for the first.
    pub token: String,
}

/// Some records, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Empty at the end. Otherwise there may be more, even if this page is short or empty.
    pub next_token: String,
    /// The revision that this page was read at.
    pub revision: Revision,
}

/// Rows that one page reads at most.
const MAX_ROWS: usize = 10_000;

/// Bytes of records that one page or chunk holds at most.
const MAX_BYTES: usize = 1 << 20;

const DEFAULT_SIZE: u32 = 100;
const MAX_SIZE: u32 = 1000;

impl PageRequest {
    fn items(&self) -> usize {
        let size = if self.size == 0 {
            DEFAULT_SIZE
        } else {
            self.size
        };
        size.min(MAX_SIZE) as usize
    }
}

impl<T> Page<T> {
    /// The same page of what each item is made into.
    pub fn map<U>(self, mut make: impl FnMut(T) -> U) -> Page<U> {
        let made: Result<_, Infallible> = self.try_map(|item| Ok(make(item)));
        let Ok(page) = made;
        page
    }

    /// The same page of what each item can be made into.
    pub fn try_map<U, E>(self, make: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        Ok(Page {
            items: self.items.into_iter().map(make).collect::<Result<_, E>>()?,
            next_token: self.next_token,
            revision: self.revision,
        })
    }
}

pub(super) async fn images(
    store: &Store,
    query: &ImageQuery,
    request: &PageRequest,
) -> Result<Page<Stored<StoredImage>>, Error> {
    let fingerprint = query.fingerprint();
    let snapshot = store.snapshot().await?;
    let mut walk = Walk::new(snapshot, query.clone());
    if !request.token.is_empty() {
        let token = Token::parse(&request.token, store.id(), fingerprint)?;
        walk = walk.after(token.cursor()?.inside(&query.scope)?);
    }

    let revision = walk.revision();
    let most = request.items();
    let mut items = Vec::new();
    let mut last = None;
    let (mut read, mut bytes) = (0, 0);
    'page: while read < MAX_ROWS {
        // Without a filter each row is an item.
        let step = if query.filter().is_all() {
            most - items.len()
        } else {
            FILTER_STEP
        };
        let Some(passed) = walk.step(step.min(MAX_ROWS - read)).await? else {
            last = None;
            break;
        };
        // A look that finds nothing costs about as much as a row.
        read += passed.len().max(1);
        if passed.is_empty() {
            last = nothing_in(&walk, last);
        }
        for row in passed {
            if let Some(found) = row.image {
                if bytes + found.bytes > MAX_BYTES {
                    break 'page;
                }
                bytes += found.bytes;
                items.push(found.image);
            }
            last = Some(row.cursor);
            if items.len() == most {
                break 'page;
            }
        }
    }
    let next_token = match last {
        Some(cursor) => Token::of(store.id(), fingerprint, &cursor).text(),
        None => String::new(),
    };
    Ok(Page {
        items,
        next_token,
        revision,
    })
}

impl Cursor {
    /// Refuses a place that the query does not reach: a token can be made up.
    fn inside(self, scope: &Scope) -> Result<Self, Invalid> {
        match scope {
            Scope::One(namespace) if self.namespace != *namespace => {
                Err(Invalid::new("page_token", NOT_OURS))
            }
            Scope::One(_) | Scope::All => Ok(self),
        }
    }
}

/// Where a page may end after nothing was found: in the namespace that was looked into, unless the
/// page has come further in it already.
fn nothing_in(walk: &Walk, last: Option<Cursor>) -> Option<Cursor> {
    let Some(namespace) = walk.namespace() else {
        return last;
    };
    let is_in = |last: &Cursor| last.namespace == *namespace;
    last.filter(is_in).or_else(|| {
        Some(Cursor {
            namespace: namespace.clone(),
            row: Bytes::new(),
        })
    })
}

/// Rows that a filtered page reads at once.
const FILTER_STEP: usize = 500;

/// Pages of what is listed by one table's rows: how many items, and after which place.
pub(super) struct Pages {
    pub items: usize,
    pub after: Option<Cursor>,
    store: StoreId,
    fingerprint: [u8; 8],
}

impl Pages {
    /// `asked` is what a token must have been given for.
    pub fn parse(store: StoreId, asked: &[&str], request: &PageRequest) -> Result<Self, Error> {
        let mut hash = Sha256::new();
        for part in asked {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&hash.finalize()[..8]);
        let after = match request.token.as_str() {
            "" => None,
            token => Some(Token::parse(token, store, fingerprint)?.cursor()?),
        };
        Ok(Self {
            items: request.items(),
            after,
            store,
            fingerprint,
        })
    }

    pub fn token_after(&self, cursor: &Cursor) -> String {
        Token::of(self.store, self.fingerprint, cursor).text()
    }
}

/// A page token, as bytes: version, store id, fingerprint of the query, namespace (its length in a
/// byte), row. In URL-safe Base64 as text.
struct Token(Vec<u8>);

const NOT_OURS: &str = "is none that this service gave; start from the first page";
const TOKEN_VERSION: u8 = 1;
const HEAD: usize = 1 + 16 + 8;

impl Token {
    fn of(store: StoreId, fingerprint: [u8; 8], cursor: &Cursor) -> Self {
        let namespace = cursor.namespace.as_str().as_bytes();
        let mut token = Vec::with_capacity(HEAD + 1 + namespace.len() + cursor.row.len());
        token.push(TOKEN_VERSION);
        token.extend_from_slice(&store.0);
        token.extend_from_slice(&fingerprint);
        token.push(u8::try_from(namespace.len()).expect("a namespace has at most 76 bytes"));
        token.extend_from_slice(namespace);
        token.extend_from_slice(&cursor.row);
        Self(token)
    }

    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0)
    }

    fn parse(text: &str, store: StoreId, fingerprint: [u8; 8]) -> Result<Self, Invalid> {
        let refused = |why| Invalid::new("page_token", why);
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let token = bytes.filter(|bytes| bytes.len() > HEAD && bytes[0] == TOKEN_VERSION);
        let token = Self(token.ok_or_else(|| refused(NOT_OURS))?);
        if token.0[1..17] != store.0 {
            return Err(refused("is of another store; start from the first page"));
        }
        if token.0[17..HEAD] != fingerprint {
            return Err(refused(
                "is of a request with other fields; repeat them, or start from the first page",
            ));
        }
        Ok(token)
    }

    fn cursor(&self) -> Result<Cursor, Invalid> {
        let broken = || Invalid::new("page_token", NOT_OURS);
        let (len, rest) = self.0[HEAD..].split_first().ok_or_else(broken)?;
        let (namespace, row) = rest
            .split_at_checked(usize::from(*len))
            .ok_or_else(broken)?;
        Ok(Cursor {
            namespace: schema::parse_namespace(namespace).map_err(|_| broken())?,
            row: Bytes::copy_from_slice(row),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STORE: StoreId = StoreId([7; 16]);

    proptest! {
        #[test]
        fn a_token_leads_back_to_its_place(row in prop::collection::vec(any::<u8>(), 0..99)) {
            let cursor = Cursor { namespace: "default".parse().unwrap(), row: row.into() };
            let text = Token::of(STORE, [1; 8], &cursor).text();
            prop_assert_eq!(Token::parse(&text, STORE, [1; 8]).unwrap().cursor().unwrap(), cursor);
        }

        #[test]
        fn a_made_up_token_is_refused_and_no_panic(text in "AQ[0-9a-zA-Zé_-]{0,120}") {
            let parsed = Token::parse(&text, STORE, [1; 8]).and_then(|token| token.cursor());
            prop_assert!(parsed.is_err());
        }
    }

    #[test]
    fn a_made_up_token_leads_into_no_other_namespace() {
        let cursor = Cursor {
            namespace: "secret".parse().unwrap(),
            row: Bytes::new(),
        };
        let mine = Scope::One("mine".parse().unwrap());
        assert_eq!(
            cursor.clone().inside(&mine).unwrap_err().field(),
            "page_token"
        );
        assert!(cursor.inside(&Scope::All).is_ok());
    }

    #[test]
    fn a_token_of_another_store_or_query_is_refused() {
        let cursor = Cursor {
            namespace: "default".parse().unwrap(),
            row: Bytes::new(),
        };
        let text = Token::of(STORE, [1; 8], &cursor).text();
        for (store, fingerprint) in [(StoreId([8; 16]), [1; 8]), (STORE, [2; 8])] {
            assert_eq!(
                Token::parse(&text, store, fingerprint)
                    .err()
                    .unwrap()
                    .field(),
                "page_token"
            );
        }
    }
}
