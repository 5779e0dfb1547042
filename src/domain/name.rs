//! The names of images and of namespaces.

use std::str::FromStr;
use std::sync::Arc;

use super::Invalid;

/// What an image is called: 1 to 4,096 bytes of text without NUL.
///
/// Not parsed as a registry reference: like containerd's, a name may be anything.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName(Arc<str>);

impl ImageName {
    pub const MAX_BYTES: usize = 4096;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        bounded("name", text).map(Self)
    }
}

/// A text of 1 to [`ImageName::MAX_BYTES`] bytes without NUL.
pub(super) fn bounded(field: &'static str, text: &str) -> Result<Arc<str>, Invalid> {
    match text.len() {
        0 => Err(Invalid::new(field, "must not be empty")),
        1..=ImageName::MAX_BYTES if text.contains('\0') => {
            Err(Invalid::new(field, "must not contain NUL"))
        }
        1..=ImageName::MAX_BYTES => Ok(text.into()),
        n => Err(Invalid::new(
            field,
            format!("is {n} bytes long, more than {}", ImageName::MAX_BYTES),
        )),
    }
}

/// Whose names they are. containerd's identifier rule: 1 to 76 characters, alphanumeric runs joined
/// by one of `._-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    pub const MAX_BYTES: usize = 76;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Namespace {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is_run = |run: &str| !run.is_empty() && run.bytes().all(|b| b.is_ascii_alphanumeric());
        match text.len() {
            0 => Err(Invalid::new("namespace", "must not be empty")),
            1..=Self::MAX_BYTES if text.split(['.', '_', '-']).all(is_run) => Ok(Self(text.into())),
            1..=Self::MAX_BYTES => Err(Invalid::new(
                "namespace",
                format!(
                    "{text:?} must be letters and digits, in runs joined by one of `.`, `_`, `-`"
                ),
            )),
            n => Err(Invalid::new(
                "namespace",
                format!("is {n} bytes long, more than {}", Self::MAX_BYTES),
            )),
        }
    }
}

/// Shows a type that wraps a text as the text.
macro_rules! text {
    ($($name:ident),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}
pub(super) use text;
text!(ImageName, Namespace);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_name_is_any_text_of_1_to_4096_bytes_without_nul() {
        for good in [
            "a",
            "docker.io/library/alpine:3",
            "two words\n",
            "naïve",
            &"x".repeat(4096),
        ] {
            assert_eq!(good.parse::<ImageName>().unwrap().as_str(), good);
        }
        for bad in ["", "a\0b", &"x".repeat(4097)] {
            assert_eq!(bad.parse::<ImageName>().unwrap_err().field(), "name");
        }
    }

    #[test]
    fn a_namespace_follows_containerds_identifier_rule() {
        for good in ["default", "k8s.io", "a-b_c.d", "7", &"x".repeat(76)] {
            assert_eq!(good.parse::<Namespace>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-",
            ".a",
            "a.",
            "a__b",
            "a/b",
            "é",
            "a b",
            &"x".repeat(77),
        ] {
            assert_eq!(
                bad.parse::<Namespace>().unwrap_err().field(),
                "namespace",
                "{bad:?}"
            );
        }
    }
}
