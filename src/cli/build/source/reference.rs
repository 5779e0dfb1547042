//! References of images: what is the same image under another spelling.

/// A reference in its parts, without a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// None for Docker's own.
    pub registry: Option<&'a str>,
    /// Without the `library/` of Docker's own images.
    pub path: &'a str,
    pub tag: Option<&'a str>,
    pub has_digest: bool,
}

/// What stands for Docker's own registry.
const DOCKER: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

impl<'a> Reference<'a> {
    pub fn parse(text: &'a str) -> Self {
        let (text, has_digest) = match text.split_once('@') {
            Some((text, _)) => (text, true),
            None => (text, false),
        };
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            Some(_) | None => (text, None),
        };
        let tells = |c: char| c == '.' || c == ':' || c.is_ascii_uppercase();
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host == "localhost" || host.contains(tells) => (Some(host), path),
            Some(_) | None => (None, name),
        };
        let registry = registry.filter(|host| !is_docker(host));
        let path = match registry {
            None => path.strip_prefix("library/").unwrap_or(path),
            Some(_) => path,
        };
        Self {
            registry,
            path,
            tag,
            has_digest,
        }
    }
}

/// Whether it is the registry of references that name none.
pub fn is_docker(registry: &str) -> bool {
    DOCKER.contains(&registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_registry_a_path_and_a_tag() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, registry, path, tag, has_digest) in [
            ("debian", None, "debian", None, false),
            ("debian:13", None, "debian", Some("13"), false),
            (
                "docker.io/library/debian:13",
                None,
                "debian",
                Some("13"),
                false,
            ),
            ("library/debian", None, "debian", None, false),
            ("team/app:1", None, "team/app", Some("1"), false),
            ("reg.example/app", Some("reg.example"), "app", None, false),
            (
                "localhost/app:1",
                Some("localhost"),
                "app",
                Some("1"),
                false,
            ),
            (
                "host:5000/a/b:1",
                Some("host:5000"),
                "a/b",
                Some("1"),
                false,
            ),
            ("host:5000/a/b", Some("host:5000"), "a/b", None, false),
            (&format!("a:1@{digest}"), None, "a", Some("1"), true),
            (
                &format!("host:5000/a@{digest}"),
                Some("host:5000"),
                "a",
                None,
                true,
            ),
            ("", None, "", None, false),
        ] {
            let expected = Reference {
                registry,
                path,
                tag,
                has_digest,
            };
            assert_eq!(Reference::parse(text), expected, "{text}");
        }
    }
}
