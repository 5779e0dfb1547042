//! Addresses: how they are written, and how a Unix socket is bound.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::net::{UnixListener, UnixStream};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `HOST:PORT`, as it was written.
    Tcp(String),
    Unix(PathBuf),
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address; write tcp://HOST:PORT or unix:///PATH")]
pub struct ParseListenError(String);

impl FromStr for Listen {
    type Err = ParseListenError;

    fn from_str(text: &str) -> Result<Self, ParseListenError> {
        let refused = || ParseListenError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix://") {
            let path = Path::new(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path.to_owned()))
            } else {
                Err(refused())
            };
        }
        let address = text.strip_prefix("tcp://").ok_or_else(refused)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(refused)?;
        let is_bare_v6 = host.contains(':') && !host.starts_with('[');
        if host.is_empty() || is_bare_v6 || port.parse::<u16>().is_err() {
            return Err(refused());
        }
        Ok(Self::Tcp(address.to_owned()))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Binds a socket for its owner and group, in a folder that is made if need be. A socket that nobody
/// listens on any more is replaced.
pub(super) async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)?;
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file of that name which is no socket; choose another address with --listen",
            ));
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?
            }
            // Somebody is there, even if too busy to answer.
            Ok(_) | Err(_) => return Err(io::ErrorKind::AddrInUse.into()),
        },
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_is_written() {
        for text in [
            "tcp://127.0.0.1:7870",
            "tcp://[::1]:0",
            "unix:///run/x.sock",
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "127.0.0.1:1",
            "tcp://127.0.0.1",
            "tcp://:1",
            "tcp://::1:1",
            "tcp://a:65536",
            "unix://relative",
            "unix://",
            "http://a:1",
        ] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_socket_is_for_its_owner_and_group_and_a_dead_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/s");
        let first = bind_unix(&path).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert_eq!(
            bind_unix(&path).await.unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(first);
        bind_unix(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(bind_unix(&path).await.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }
}
