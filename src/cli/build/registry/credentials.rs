//! The passwords that `docker login` and `skopeo login` left behind.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::cli::build::written::read_named;

/// Passwords by registry, or by the beginning of a path in one. Those that a helper program keeps are not among them.
#[derive(Default)]
pub struct Credentials(HashMap<String, Login>);

/// Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    auths: HashMap<String, Auth>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
}

impl Credentials {
    /// Of the files where logins are kept, as far as they can be read; the first that has a place counts for it.
    pub fn left_behind() -> Self {
        let mut all = Self::default();
        for file in files(&|name| std::env::var_os(name)) {
            let text = read_named(&file).unwrap_or_default();
            for (place, login) in Self::parse(&text).0 {
                all.0.entry(place).or_insert(login);
            }
        }
        all
    }

    pub fn parse(text: &str) -> Self {
        let file: File = serde_json::from_str(text).unwrap_or_default();
        let logins = file.auths.into_iter();
        Self(
            logins
                .filter_map(|(place, auth)| Some((plain(&place), auth.login()?)))
                .collect(),
        )
    }

    /// The login of the longest beginning of the path that has one, down to that of the whole registry.
    pub fn of(&self, registry: &str, repository: &str) -> Option<Login> {
        let whole = format!("{registry}/{repository}");
        let mut place = whole.as_str();
        loop {
            match (self.0.get(place), place.rsplit_once('/')) {
                (Some(login), _) => return Some(login.clone()),
                (None, Some((shorter, _))) => place = shorter,
                (None, None) => return None,
            }
        }
    }
}

/// `REGISTRY_AUTH_FILE` alone where it is set. Else skopeo's and buildah's, then Docker's.
fn files(env: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let var = |name| {
        let value = env(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    if let Some(file) = var("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = || var("HOME");
    let of_containers = var("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    let kept = var("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")));
    let kept = kept.map(|dir| dir.join("containers/auth.json"));
    let of_docker = var("DOCKER_CONFIG").or_else(|| Some(home()?.join(".docker")));
    let of_docker = of_docker.map(|dir| dir.join("config.json"));
    [of_containers, kept, of_docker]
        .into_iter()
        .flatten()
        .collect()
}

/// The place of a key: a registry, perhaps with a path. A whole address, as Docker writes it, is of the registry alone;
/// Docker Hub's is by an old name.
fn plain(key: &str) -> String {
    let place = match key.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
        None => key.trim_end_matches('/'),
    };
    let (host, path) = match place.split_once('/') {
        Some((host, path)) => (host, Some(path)),
        None => (place, None),
    };
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    match path {
        None | Some("v1" | "v2") => host.to_owned(),
        Some(path) => format!("{host}/{path}"),
    }
}

impl Auth {
    fn login(self) -> Option<Login> {
        let both = STANDARD
            .decode(self.auth)
            .ok()
            .and_then(|both| String::from_utf8(both).ok());
        let (user, password) = match both.as_deref().and_then(|both| both.split_once(':')) {
            Some((user, password)) => (user.to_owned(), password.trim_end_matches('\0').to_owned()),
            None => (self.username, self.password),
        };
        (!user.is_empty()).then_some(Login { user, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(login: Option<Login>) -> String {
        login.map_or_else(String::new, |login| {
            format!("{} {}", login.user, login.password)
        })
    }

    #[test]
    fn passwords_are_found_by_registry_however_the_file_writes_it() {
        let text = r#"{"credsStore":"x","auths":{"https://index.docker.io/v1/":{"auth":"YTpiOmM="},
            "reg.example:5000":{"username":"u","password":"p"},"empty.example":{}}}"#;
        let credentials = Credentials::parse(text);
        let of = |registry| shown(credentials.of(registry, "a/b"));
        assert_eq!(of("docker.io"), "a b:c");
        assert_eq!(of("reg.example:5000"), "u p");
        assert_eq!(of("empty.example"), "");
        for broken in ["", "{", "[]", r#"{"auths":{"a":{"auth":"%"}}}"#] {
            assert!(Credentials::parse(broken).0.is_empty(), "{broken}");
        }
    }

    #[test]
    fn the_login_of_the_longest_path_counts_each_time() {
        let text = r#"{"auths":{"reg.example/team-a":{"username":"a","password":"1"},
            "reg.example/team-b/":{"username":"b","password":"2"},"reg.example":{"username":"c","password":"3"},
            "reg.example/team-b/x":{"username":"d","password":"4"},"other.example/x":{"username":"e","password":"5"}}}"#;
        for _ in 0..10 {
            // The order of a hash map is another one each time.
            let credentials = Credentials::parse(text);
            for (repository, login) in [
                ("team-a/app", "a 1"),
                ("team-a", "a 1"),
                ("team-b/app", "b 2"),
                ("team-b/x/app", "d 4"),
                ("team-ab/app", "c 3"),
                ("app", "c 3"),
            ] {
                let found = shown(credentials.of("reg.example", repository));
                assert_eq!(found, login, "{repository}");
            }
            assert_eq!(shown(credentials.of("other.example", "app")), "");
        }
    }

    #[test]
    fn logins_are_looked_for_where_skopeo_buildah_and_docker_leave_them() {
        let files = |set: &[(&str, &str)]| {
            let env = |name: &str| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let all = super::files(&env).into_iter();
            all.map(|file| file.display().to_string())
                .collect::<Vec<_>>()
        };
        let home = ("HOME", "/h");
        assert_eq!(
            files(&[home, ("XDG_RUNTIME_DIR", "/r")]),
            [
                "/r/containers/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json"
            ]
        );
        assert_eq!(
            files(&[home, ("DOCKER_CONFIG", "/d"), ("XDG_CONFIG_HOME", "/c")]),
            ["/c/containers/auth.json", "/d/config.json"]
        );
        assert_eq!(files(&[home, ("REGISTRY_AUTH_FILE", "/f")]), ["/f"]);
        assert!(files(&[]).is_empty());
    }
}
