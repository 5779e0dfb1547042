//! What runs where: the platforms that configs and builds name, and which images run on which.

#[cfg(test)]
mod tests;
mod variant;

use std::cmp::Reverse;
use std::fmt;

use super::natural::Natural;

/// A platform as a config or a request says it. Any part may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunPlatform {
    pub os: String,
    pub architecture: String,
    pub variant: String,
    pub os_version: String,
    pub os_features: Vec<String>,
}

/// How well an image suits a platform that it runs on: the least is the best.
///
/// First the platform's own architecture, then the higher variant, the later version of the operating system, and
/// more of the features that the platform has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Preference {
    is_foreign: bool,
    variant: Reverse<Natural>,
    os_version: Reverse<Natural>,
    features: Reverse<usize>,
}

// === impl RunPlatform ===

impl RunPlatform {
    /// The one way to write it: lowercase, known names for aliases, no variant where it is the usual one, features in
    /// order. No operating system means linux, which is what containers run on here.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let os = match self.os.to_lowercase().as_str() {
            "" => "linux".to_owned(),
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = (
            self.architecture.to_lowercase(),
            self.variant.to_lowercase(),
        );
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", other) => ("amd64", other),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
            ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
            ("aarch64", other) => ("arm64", other),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            as_it_is => as_it_is,
        };
        let mut os_features = self.os_features.clone();
        os_features.sort();
        os_features.dedup();
        Self {
            os,
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            os_version: self.os_version.clone(),
            os_features,
        }
    }

    /// Whether it names neither an operating system nor an architecture.
    pub fn is_unknown(&self) -> bool {
        self.os.is_empty() && self.architecture.is_empty()
    }

    /// Whether it names an operating system and an architecture.
    pub fn is_whole(&self) -> bool {
        !self.os.is_empty() && !self.architecture.is_empty()
    }

    /// Whether an image of that platform runs on this one: containerd's rules for a single platform.
    ///
    /// - Both are normalized; the operating systems are the same.
    /// - amd64 runs its own and lower variants, and 386. arm runs its own and lower variants down to v5.
    /// - arm64 v8.x runs v8.0 to v8.x, v9.x runs v9.0 to v9.x and v8.0 to v8.(x+5), at most v8.9; each runs arm from
    ///   v8 down to v5. One of another variant runs that only, and no arm: nobody says what it is.
    /// - Other architectures run the same variant, a lower number in the same text (`power9` on `power10`), and none.
    /// - The features of the image are among this one's, `win32k` of windows aside.
    /// - Versions count on windows only, and of those the first two numbers: whether the rest fits depends on how the
    ///   container is isolated. An empty version fits any.
    ///
    /// An image that is of no known platform runs nowhere.
    pub fn accepts(&self, image: &Self) -> bool {
        self.preference(image).is_some()
    }

    /// How well an image of that platform suits this one; none where it does not run.
    pub fn preference(&self, image: &Self) -> Option<Preference> {
        if image.is_unknown() {
            return None;
        }
        let (host, image) = (self.normalized(), image.normalized());
        let features = host.features_of(&image)?;
        let runs = host.os == image.os
            && host.runs_version(&image.os_version)
            && host.runs_architecture(&image);
        runs.then(|| Preference {
            is_foreign: host.architecture != image.architecture,
            variant: Reverse(Natural::of(&image.variant)),
            os_version: Reverse(Natural::of(&image.os_version)),
            features: Reverse(features),
        })
    }

    fn runs_architecture(&self, image: &Self) -> bool {
        let (mine, other) = (self.variant.as_str(), image.variant.as_str());
        match (self.architecture.as_str(), image.architecture.as_str()) {
            ("amd64", "386") => true,
            ("amd64", "amd64") => variant::runs(or(mine, "v1"), or(other, "v1"), &[1]),
            ("arm", "arm") => variant::runs(mine, other, &[5]),
            ("arm64", "arm") => {
                variant::runs_arm64(or(mine, "v8"), "v8") && variant::runs("v8", other, &[5])
            }
            ("arm64", "arm64") => variant::runs_arm64(or(mine, "v8"), or(other, "v8")),
            (host, image) => host == image && (other.is_empty() || variant::runs(mine, other, &[])),
        }
    }

    fn runs_version(&self, image: &str) -> bool {
        if self.os != "windows" || image.is_empty() {
            return true;
        }
        let Some(mine) = major_and_minor(&self.os_version) else {
            return true;
        };
        major_and_minor(image) == Some(mine)
    }

    /// How many features the image needs, if all are here. Both are normalized.
    fn features_of(&self, image: &Self) -> Option<usize> {
        let counts = |feature: &&String| self.os != "windows" || *feature != "win32k";
        let mut needed = image.os_features.iter().filter(counts);
        // Both are in order.
        let mut here = self.os_features.iter();
        needed.try_fold(0, |n, feature| {
            let mine = here.find(|mine| *mine >= feature)?;
            (mine == feature).then_some(n + 1)
        })
    }
}

/// `os/architecture` or `os/architecture/variant`.
impl fmt::Display for RunPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

fn or<'a>(text: &'a str, usual: &'a str) -> &'a str {
    if text.is_empty() { usual } else { text }
}

/// The first two numbers of a version of windows: `MAJOR.MINOR.BUILD`, and what may follow.
fn major_and_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    let (major, minor, _build) = (parts.next()?, parts.next()?, parts.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?))
}
