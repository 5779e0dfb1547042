//! Digests by containerd's rules, and what it says of one that is none.

use crate::domain::{Algorithm, Digest};

/// A digest, or why it is none: without a field and without the words of a kind.
pub fn digest(text: &str) -> Result<Digest, &'static str> {
    const FORMAT: &str = "invalid checksum digest format";
    let (name, encoded) = text.split_once(':').ok_or(FORMAT)?;
    if name.is_empty() || encoded.is_empty() {
        return Err(FORMAT);
    }
    let known = Algorithm::ALL
        .into_iter()
        .find(|known| known.name() == name);
    match known {
        Some(known) if encoded.len() != 2 * known.bytes() => Err("invalid checksum digest length"),
        Some(_) => text.parse().map_err(|_| FORMAT),
        None if is_written_well(name, encoded) => Err("unsupported digest algorithm"),
        None => Err(FORMAT),
    }
}

/// Whether an unknown algorithm could have made such a digest.
fn is_written_well(name: &str, encoded: &str) -> bool {
    let is_run = |run: &str| {
        let mut bytes = run.bytes();
        !run.is_empty() && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.split(['.', '+', '_', '-']).all(is_run)
        && encoded
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"=_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_digest_is_told_apart_as_containerd_does() {
        let (format, length, unknown) = (
            Err("invalid checksum digest format"),
            Err("invalid checksum digest length"),
            Err("unsupported digest algorithm"),
        );
        let hex = "ab".repeat(32);
        for (text, said) in [
            (String::new(), format),
            ("zz".into(), format),
            (":ab".into(), format),
            ("sha256:".into(), format),
            ("sha256:ab".into(), length),
            (format!("sha256:{hex}ab"), length),
            (format!("sha512:{hex}"), length),
            (format!("sha256:{}", hex.to_uppercase()), format),
            (format!("sha256:{}é", &hex[2..]), format),
            (format!("sha256:{hex}"), Ok(())),
            (format!("sha384:{hex}{}", &hex[..32]), Ok(())),
            (format!("sha512:{hex}{hex}"), Ok(())),
            ("md5:abc".into(), unknown),
            ("a.b+c_d-e:A=_-9".into(), unknown),
            ("a..b:c".into(), format),
            ("a.:c".into(), format),
            ("MD5:abc".into(), format),
            ("md5:a:b".into(), format),
            ("md5:a/b".into(), format),
            ("a\"b:é".into(), format),
        ] {
            assert_eq!(digest(&text).map(drop), said, "{text}");
        }
    }
}
