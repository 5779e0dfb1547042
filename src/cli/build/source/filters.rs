//! The filters of templates, by docker-pkg's names.

use std::collections::BTreeMap;

use minijinja::{Environment, Error, ErrorKind};

use super::reference::Reference;
use super::template::{Settings, Shared, asked};
use crate::cli::build::process::clipped;
use crate::domain::Invalid;
use crate::domain::build::TargetName;

/// Where apt looks for the proxy that is only meant for it.
const PROXY_FILE: &str = "/etc/apt/apt.conf.d/80_proxy";
/// What stands for a label while it is looked up.
const NOT_KNOWN_YET: &str = "not-known-yet:0";

pub fn add(environment: &mut Environment<'static>, settings: &Settings, shared: &Shared) {
    let labels = shared.clone();
    environment.add_filter("image_tag", move |name: String| {
        name.parse::<TargetName>()
            .map_err(|why: Invalid| refused(why.to_string()))?;
        let mut asked = asked(&labels);
        if let Some(label) = asked.labels.get(&name) {
            return Ok(label.clone());
        }
        asked.unknown.insert(name);
        Ok(NOT_KNOWN_YET.to_owned())
    });
    environment.add_filter("upstream_version", |label: String| upstream_version(&label));

    let (uids, warnings) = (settings.uids.clone(), shared.clone());
    environment.add_filter("uid", move |user: String| match uids.get(&user) {
        Some(id) => id.to_string(),
        None => {
            let shown = clipped(&user);
            let warning = format!("user {shown:?} has no number in [uids], and goes by name");
            asked(&warnings).warnings.insert(warning);
            user
        }
    });
    let uids = settings.uids.clone();
    environment.add_filter("add_user", move |user: String| add_user(&user, &uids));

    let apt = Apt::new(settings);
    let installs = apt.clone();
    environment.add_filter("apt_install", move |packages: String| {
        installs.install(&packages)
    });
    environment.add_filter("apt_remove", move |packages: String| apt.remove(&packages));
}

fn refused(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why.into())
}

/// The version of a label without what counts updates of the image and of the package: `1.2` of `a:1.2-3-s1`.
fn upstream_version(label: &str) -> Result<String, Error> {
    let Some(version) = Reference::parse(label).tag else {
        return Err(refused(format!(
            "upstream_version: {label:?} has no version"
        )));
    };
    let upstream = version.split('-').next().unwrap_or(version);
    Ok(upstream.to_owned())
}

/// Shell text that adds a user with its number, and a group that is called and numbered the same.
fn add_user(user: &str, uids: &BTreeMap<String, u32>) -> Result<String, Error> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if !user.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        || !user.chars().all(is_inner)
    {
        return Err(refused(format!("add_user: {user:?} is no name of a user")));
    }
    let Some(id) = uids.get(user) else {
        return Err(refused(format!(
            "add_user: user {user:?} has no number in [uids]"
        )));
    };
    Ok(format!(
        "groupadd --system --non-unique --gid {id} {user} && useradd --system --non-unique --no-log-init \
         --create-home --home-dir /var/lib/{user} --uid {id} --gid {user} {user}"
    ))
}

/// How Debian packages get into an image.
#[derive(Clone)]
struct Apt {
    options: String,
    proxy: Option<String>,
}

impl Apt {
    fn new(settings: &Settings) -> Self {
        let variable = |name: &str| match settings.variables.get(name) {
            Some(toml::Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(_) | None => None,
        };
        Self {
            options: variable("apt_options").unwrap_or_default(),
            proxy: variable("apt_only_proxy").or_else(|| variable("http_proxy")),
        }
    }

    fn install(&self, packages: &str) -> Result<String, Error> {
        let packages = words("apt_install", packages)?;
        let options = words("apt_options", &self.options).unwrap_or_default();
        let blank = if options.is_empty() { "" } else { " " };
        self.wrapped(&format!(
            "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends\
             {blank}{options} {packages}"
        ))
    }

    fn remove(&self, packages: &str) -> Result<String, Error> {
        let packages = words("apt_remove", packages)?;
        self.wrapped(&format!(
            "DEBIAN_FRONTEND=noninteractive apt-get purge --yes --autoremove {packages}"
        ))
    }

    /// A command, with the proxy while it runs, and without the lists of packages after it.
    fn wrapped(&self, command: &str) -> Result<String, Error> {
        let cleaned = format!("{command} && apt-get clean && rm -rf /var/lib/apt/lists/*");
        match &self.proxy {
            None => Ok(cleaned),
            Some(proxy) if proxy.contains(['\'', '"', '\n']) => Err(refused(format!(
                "the proxy {proxy:?} has a quote or a new line in it"
            ))),
            Some(proxy) => Ok(format!(
                "echo 'Acquire::http::Proxy \"{proxy}\";' > {PROXY_FILE} && {cleaned} && rm -f {PROXY_FILE}"
            )),
        }
    }
}

/// The words of a text in one line.
fn words(what: &str, text: &str) -> Result<String, Error> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.is_empty() {
        true => Err(refused(format!("{what}: nothing is named"))),
        false => Ok(words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_version_has_neither_revisions_nor_updates() {
        for (label, expected) in [
            ("a:1.2", "1.2"),
            ("a:1.2-3", "1.2"),
            ("host:5000/ns/a:1.2-3-s1", "1.2"),
            ("a:1.2-s1", "1.2"),
            ("a:20240101", "20240101"),
        ] {
            assert_eq!(upstream_version(label).unwrap(), expected, "{label}");
        }
        for label in ["a", "host:5000/a", ""] {
            assert!(upstream_version(label).is_err(), "{label}");
        }
    }

    #[test]
    fn a_user_is_added_by_its_number_or_not_at_all() {
        let uids = BTreeMap::from([("app".to_owned(), 900), ("a b".to_owned(), 1)]);
        let text = add_user("app", &uids).unwrap();
        assert!(text.contains("--gid 900 app &&"), "{text}");
        assert!(text.ends_with("--uid 900 --gid app app"), "{text}");
        for user in ["other", "a b", "", "-x"] {
            assert!(add_user(user, &uids).is_err(), "{user:?}");
        }
    }

    #[test]
    fn packages_are_installed_without_what_they_recommend_and_without_leftovers() {
        let apt = Apt {
            options: "--quiet".to_owned(),
            proxy: None,
        };
        assert_eq!(
            apt.install(" curl\n  git ").unwrap(),
            "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
             --quiet curl git && apt-get clean && rm -rf /var/lib/apt/lists/*"
        );
        assert!(apt.install(" \n").is_err());
        let apt = Apt {
            options: String::new(),
            proxy: Some("http://proxy:80".to_owned()),
        };
        let text = apt.remove("gcc").unwrap();
        assert!(
            text.starts_with("echo 'Acquire::http::Proxy \"http://proxy:80\";' > /etc/apt/"),
            "{text}"
        );
        assert!(text.contains("purge --yes --autoremove gcc &&"), "{text}");
        assert!(text.ends_with(&format!("&& rm -f {PROXY_FILE}")), "{text}");
    }
}
