//! Where a server is, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::server::Listen;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Unix(PathBuf),
    /// `HOST:PORT`, with a name or an IP address as host.
    Tcp(String),
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    #[error("TLS is not supported; write http://HOST:PORT")]
    Tls,
    #[error("a Unix socket needs an absolute path: unix:///PATH")]
    RelativePath,
    #[error("write unix:///PATH, tcp://HOST:PORT or HOST:PORT")]
    NoAddress,
}

impl Address {
    /// Where a containerd is: an address or, as its own tools take it, any path.
    pub fn of_containerd(text: &str) -> Result<Self, ParseAddressError> {
        match text.parse() {
            Err(ParseAddressError::RelativePath) => {
                let path = text.strip_prefix("unix:").unwrap_or(text);
                Ok(Self::Unix(path.strip_prefix("//").unwrap_or(path).into()))
            }
            Err(ParseAddressError::NoAddress) if !text.is_empty() && !text.contains("://") => {
                Ok(Self::Unix(text.into()))
            }
            parsed => parsed,
        }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            // gRPC's own `unix:/path`, and `unix:///path`.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err(ParseAddressError::RelativePath),
            };
        }
        if text.starts_with("https://") {
            return Err(ParseAddressError::Tls);
        }
        let authority = ["tcp://", "http://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .unwrap_or(text);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let parsed: http::uri::Authority = authority
            .parse()
            .map_err(|_| ParseAddressError::NoAddress)?;
        match parsed.port_u16() {
            Some(_) if !parsed.host().is_empty() && !authority.contains('@') => {
                Ok(Self::Tcp(authority.to_owned()))
            }
            _ => Err(ParseAddressError::NoAddress),
        }
    }
}

impl From<Listen> for Address {
    fn from(listen: Listen) -> Self {
        match listen {
            Listen::Unix(path) => Self::Unix(path),
            Listen::Tcp(address) => Self::Tcp(address.to_string()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containerd_may_be_named_by_any_path() {
        for (text, address) in [
            ("/run/s", "unix:///run/s"),
            ("unix:///run/s", "unix:///run/s"),
            ("s", "unix://s"),
            ("./a b/../s:1", "unix://./a b/../s:1"),
            ("unix://s", "unix://s"),
            ("unix:a/s", "unix://a/s"),
            ("localhost:7870", "tcp://localhost:7870"),
        ] {
            let found = Address::of_containerd(text).unwrap();
            assert_eq!(found.to_string(), address);
        }
        for text in ["", "https://a:1", "ftp://a:1"] {
            assert!(Address::of_containerd(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_may_be_written_in_each_common_way() {
        for (text, address) in [
            ("unix:///run/s", "unix:///run/s"),
            ("unix:/run/s", "unix:///run/s"),
            ("/run/s", "unix:///run/s"),
            ("tcp://127.0.0.1:7870", "tcp://127.0.0.1:7870"),
            ("http://store.example:80/", "tcp://store.example:80"),
            ("localhost:7870", "tcp://localhost:7870"),
            ("[::1]:7870", "tcp://[::1]:7870"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), address);
        }
        for text in [
            "",
            "localhost",
            ":1",
            "https://a:1",
            "unix://s",
            "a:b",
            "a:70000",
            "u@a:1",
            "a:1/x",
            "ftp://a:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
