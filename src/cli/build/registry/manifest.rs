//! What a registry has under a name: the manifest itself.

use reqwest::Response;
use serde::Deserialize;

use super::answer::body;
use crate::domain::{Algorithm, Digest};

/// A manifest, or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub digest: Digest,
    /// Of the image's config; an index has none.
    pub config: Option<Digest>,
}

#[derive(Deserialize)]
struct Written {
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

/// What registries take at most.
const MAX_BYTES: usize = 4 << 20;

/// Reads the manifest of an answer that said which digest it has. The reason continues a sentence.
pub async fn read(response: Response, said: Option<Digest>) -> Result<Manifest, String> {
    let bytes = body(response, MAX_BYTES).await;
    let bytes = bytes.map_err(|why| format!("does not tell the manifest: {why}"))?;
    parse(&bytes, said)
}

fn parse(bytes: &[u8], said: Option<Digest>) -> Result<Manifest, String> {
    let algorithm = said.map_or(Algorithm::Sha256, |said| said.algorithm());
    let digest = Digest::of(algorithm, bytes);
    if said.is_some_and(|said| said != digest) {
        return Err("says another digest than that of what it has".to_owned());
    }
    let written: Written =
        serde_json::from_slice(bytes).map_err(|why| format!("has no manifest there: {why}"))?;
    let config = written.config.map(|config| config.digest.parse());
    Ok(Manifest {
        digest,
        config: config
            .transpose()
            .map_err(|_| "has an odd manifest there")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_tells_its_config_and_an_index_none() {
        let config = format!("sha256:{}", "0a".repeat(32));
        let text = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{config}","size":3}}}}"#);
        let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
        for said in [None, Some(digest)] {
            let read = parse(text.as_bytes(), said).unwrap();
            assert_eq!((read.digest, read.config), (digest, config.parse().ok()));
        }
        let index = parse(br#"{"schemaVersion":2,"manifests":[]}"#, None).unwrap();
        assert_eq!(index.config, None);
        assert!(parse(text.as_bytes(), config.parse().ok()).is_err());
        for odd in ["", "[]", "<html>", r#"{"config":{"digest":"x"}}"#] {
            assert!(parse(odd.as_bytes(), None).is_err(), "{odd}");
        }
    }
}
