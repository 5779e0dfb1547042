//! `OS/ARCH/VARIANT` as an argument, and how a platform is shown.

use crate::proto::v1::{ConfigPlatform, Platform};

/// For the target of a record.
pub fn of_target(text: &str) -> Result<Platform, &'static str> {
    let (os, architecture, variant) = parts(text)?;
    Ok(Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
        ..Platform::default()
    })
}

/// For a config, or for what is to run.
pub fn of_config(text: &str) -> Result<ConfigPlatform, &'static str> {
    let (os, architecture, variant) = parts(text)?;
    Ok(ConfigPlatform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
        ..ConfigPlatform::default()
    })
}

/// What a config says of its platform; nothing where it says nothing.
pub fn text(platform: Option<&ConfigPlatform>) -> String {
    let Some(platform) = platform else {
        return String::new();
    };
    let parts = [&platform.os, &platform.architecture, &platform.variant];
    let last = parts.iter().rposition(|part| !part.is_empty());
    let said = &parts[..last.map_or(0, |last| last + 1)];
    let said: Vec<&str> = said.iter().map(|part| part.as_str()).collect();
    said.join("/")
}

fn parts(text: &str) -> Result<(&str, &str, &str), &'static str> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [os, architecture] => Ok((os, architecture, "")),
        [os, architecture, variant] => Ok((os, architecture, variant)),
        _ => Err("write OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64/v8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_has_two_or_three_parts() {
        let read = of_target("linux/arm/v7").unwrap();
        assert_eq!(
            (&*read.os, &*read.architecture, &*read.variant),
            ("linux", "arm", "v7")
        );
        assert_eq!(of_config("linux/amd64").unwrap().variant, "");
        assert!(of_target("linux").is_err());
        assert!(of_config("a/b/c/d").is_err());
    }

    #[test]
    fn a_platform_is_shown_as_far_as_it_is_known() {
        for shown in ["linux/amd64", "linux/arm/v7", "/amd64"] {
            assert_eq!(text(of_config(shown).ok().as_ref()), shown);
        }
        assert_eq!(text(of_config("linux/").ok().as_ref()), "linux");
        assert_eq!(text(None), "");
    }
}
