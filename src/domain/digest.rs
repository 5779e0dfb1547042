//! Content digests: sha256, sha384 and sha512 in their one canonical form.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

use super::Invalid;

/// A digest algorithm that the OCI image specification registers, or go-digest knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// How many bytes a digest has.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }
}

/// What content is: `sha256:`, `sha384:` or `sha512:` and its bits in lowercase hex, the whole length.
///
/// Digests are ordered by algorithm and then by their bytes, which is the order of their texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: [u8; 64],
}

impl Digest {
    /// Refuses bytes that are not as many as the algorithm makes.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() != algorithm.bytes() {
            return Err(Invalid::new(
                "digest",
                format!(
                    "has {} bytes; {} makes {}",
                    bytes.len(),
                    algorithm.name(),
                    algorithm.bytes()
                ),
            ));
        }
        let mut padded = [0; 64];
        padded[..bytes.len()].copy_from_slice(bytes);
        Ok(Self {
            algorithm,
            bytes: padded,
        })
    }

    /// The digest of some content.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut bytes = [0; 64];
        match algorithm {
            Algorithm::Sha256 => bytes[..32].copy_from_slice(&sha2::Sha256::digest(content)),
            Algorithm::Sha384 => bytes[..48].copy_from_slice(&sha2::Sha384::digest(content)),
            Algorithm::Sha512 => bytes.copy_from_slice(&sha2::Sha512::digest(content)),
        }
        Self { algorithm, bytes }
    }

    /// The first and the last digest of each algorithm that has digests whose texts start so.
    pub fn starting_with(text: &str) -> impl Iterator<Item = (Self, Self)> + '_ {
        Algorithm::ALL.into_iter().filter_map(move |algorithm| {
            let hex = match text.strip_prefix(algorithm.name()) {
                Some("") => "",
                Some(rest) => rest.strip_prefix(':')?,
                None if algorithm.name().starts_with(text) => "",
                None => return None,
            };
            let prefix = DigestPrefix {
                algorithm: Some(algorithm),
                hex: hex.to_owned(),
            };
            let is_hex = hex.bytes().all(|digit| nibble(digit).is_some());
            is_hex.then(|| prefix.ranges().next())?
        })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.bytes()]
    }

    /// The hex digits after the colon.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(2 * self.algorithm.bytes());
        push_hex(&mut text, self.as_bytes());
        text
    }

    /// Its canonical text.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(7 + 2 * self.algorithm.bytes());
        text.push_str(self.algorithm.name());
        text.push(':');
        push_hex(&mut text, self.as_bytes());
        text
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 2 * 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text.push_str(str::from_utf8(&digits[..2 * bytes.len()]).expect("hex digits are ASCII"));
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Some((name, hex)) = text
            .split_once(':')
            .filter(|(a, h)| !a.is_empty() && !h.is_empty())
        else {
            return Err(Invalid::new(
                "digest",
                "must be ALGORITHM:HEX, such as sha256:…",
            ));
        };
        let Some(algorithm) = Algorithm::named(name) else {
            return Err(Invalid::new(
                "digest",
                "must be of sha256, sha384 or sha512",
            ));
        };
        if hex.len() != 2 * algorithm.bytes() {
            return Err(Invalid::new(
                "digest",
                format!(
                    "has {} characters after the colon; {name} takes {}",
                    hex.len(),
                    2 * algorithm.bytes()
                ),
            ));
        }
        let mut bytes = [0; 64];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
                return Err(Invalid::new("digest", "must be in lowercase hex"));
            };
            *byte = high << 4 | low;
        }
        Ok(Self { algorithm, bytes })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The beginning of a digest, as people type it: at least 4 hex digits, with or without `ALGORITHM:`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DigestPrefix {
    algorithm: Option<Algorithm>,
    hex: String,
}

impl DigestPrefix {
    pub const MIN_DIGITS: usize = 4;

    /// The first and the last digest that start so, for each algorithm that counts.
    pub fn ranges(&self) -> impl Iterator<Item = (Digest, Digest)> + '_ {
        Algorithm::ALL
            .into_iter()
            .filter(|a| self.algorithm.is_none_or(|mine| mine == *a))
            .filter(|a| self.hex.len() <= 2 * a.bytes())
            .map(|a| (self.padded(a, 0x0), self.padded(a, 0xf)))
    }

    fn padded(&self, algorithm: Algorithm, with: u8) -> Digest {
        let mut bytes = [0; 64];
        let digits = self
            .hex
            .bytes()
            .map(|d| nibble(d).unwrap_or(0))
            .chain(std::iter::repeat(with));
        for (i, digit) in digits.take(2 * algorithm.bytes()).enumerate() {
            bytes[i / 2] |= if i % 2 == 0 { digit << 4 } else { digit };
        }
        Digest { algorithm, bytes }
    }
}

impl FromStr for DigestPrefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (algorithm, hex) = match text.split_once(':') {
            None => (None, text),
            Some((name, hex)) => match Algorithm::named(name) {
                Some(algorithm) => (Some(algorithm), hex),
                None => {
                    return Err(Invalid::new(
                        "digest_prefix",
                        "must be of sha256, sha384 or sha512",
                    ));
                }
            },
        };
        let longest = algorithm.map_or(128, |a| 2 * a.bytes());
        if !(Self::MIN_DIGITS..=longest).contains(&hex.len()) {
            return Err(Invalid::new(
                "digest_prefix",
                format!("must have {} to {longest} hex digits", Self::MIN_DIGITS),
            ));
        }
        if !hex.bytes().all(|d| nibble(d).is_some()) {
            return Err(Invalid::new("digest_prefix", "must be in lowercase hex"));
        }
        Ok(Self {
            algorithm,
            hex: hex.to_owned(),
        })
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(algorithm) = self.algorithm {
            write!(f, "{}:", algorithm.name())?;
        }
        f.write_str(&self.hex)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_digest() -> impl Strategy<Value = Digest> {
        (0..3usize, any::<[u8; 32]>()).prop_map(|(i, seed)| Digest::of(Algorithm::ALL[i], &seed))
    }

    #[test]
    fn the_digest_of_nothing_is_the_well_known_one() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), empty);
    }

    #[test]
    fn only_the_canonical_form_is_a_digest() {
        let hex = "ab".repeat(32);
        assert!(format!("sha256:{hex}").parse::<Digest>().is_ok());
        for bad in [
            String::new(),
            hex.clone(),
            "sha256:".to_owned(),
            format!(":{hex}"),
            format!("md5:{}", "ab".repeat(16)),
            format!("SHA256:{hex}"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}g", &hex[1..]),
            format!("sha256:{}", &hex[2..]),
            format!("sha512:{hex}"),
            format!("sha256:{hex} "),
            format!("sha256:é{}", &hex[2..]),
        ] {
            assert_eq!(
                bad.parse::<Digest>().unwrap_err().field(),
                "digest",
                "{bad}"
            );
        }
    }

    #[test]
    fn a_prefix_is_at_least_four_lowercase_digits() {
        for bad in [
            "",
            "abc",
            "sha256:",
            "sha256:abc",
            "ABCD",
            "xyzw",
            "md5:abcd",
        ] {
            assert_eq!(
                bad.parse::<DigestPrefix>().unwrap_err().field(),
                "digest_prefix",
                "{bad}"
            );
        }
        assert!(
            format!("sha256:{}", "a".repeat(65))
                .parse::<DigestPrefix>()
                .is_err()
        );
    }

    #[test]
    fn a_text_that_no_digest_starts_with_has_no_range() {
        for text in [
            "alpine",
            "sha256:AB",
            "sha256:abcg",
            "sha256abc",
            "md5:",
            ":",
        ] {
            assert_eq!(Digest::starting_with(text).count(), 0, "{text}");
        }
        let long = format!("sha256:{}", "a".repeat(65));
        assert_eq!(Digest::starting_with(&long).count(), 0);
    }

    proptest! {
        #[test]
        fn a_beginning_covers_exactly_the_digests_that_start_so(
            a in any_digest(), b in any_digest(), bytes in 0..72usize,
        ) {
            let text = &a.text()[..bytes];
            for digest in [a, b] {
                let covered = Digest::starting_with(text).any(|(first, last)| first <= digest && digest <= last);
                prop_assert_eq!(covered, digest.text().starts_with(text));
            }
        }

        #[test]
        fn text_and_back_is_the_same_digest(digest in any_digest()) {
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }

        #[test]
        fn digests_sort_as_their_texts(a in any_digest(), b in any_digest()) {
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn a_prefix_covers_exactly_the_digests_that_start_so(
            a in any_digest(), b in any_digest(), digits in 4..64usize, named: bool,
        ) {
            let hex = &a.hex()[..digits];
            let prefix = if named { format!("{}:{hex}", a.algorithm().name()) } else { hex.to_owned() };
            let prefix: DigestPrefix = prefix.parse().unwrap();
            for digest in [a, b] {
                let covered = prefix.ranges().any(|(first, last)| first <= digest && digest <= last);
                let starts = digest.hex().starts_with(hex) && (!named || digest.algorithm() == a.algorithm());
                prop_assert_eq!(covered, starts);
            }
        }
    }
}
