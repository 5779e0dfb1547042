//! Addresses: how they are written, which are the defaults, and how a Unix socket is bound.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::net::{UnixListener, UnixStream};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address; write tcp://HOST:PORT, with an IP address as HOST, or unix:///PATH")]
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
        let address = match address.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => address.to_owned(),
        };
        address.parse().map(Self::Tcp).map_err(|_| refused())
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

/// The port on loopback.
const PORT: u16 = 7870;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where a server listens, and a client looks, unless told otherwise: for root
/// `/run/imagestore/imagestore.sock`; for others `$XDG_RUNTIME_DIR/imagestore/imagestore.sock`, where
/// that variable is set, and 127.0.0.1:7870.
pub fn default_addresses() -> Vec<Listen> {
    if is_root() {
        return vec![Listen::Unix("/run/imagestore/imagestore.sock".into())];
    }
    let socket = env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .map(|path| Listen::Unix(path.join("imagestore/imagestore.sock")));
    let loopback = Listen::Tcp((Ipv4Addr::LOCALHOST, PORT).into());
    socket.into_iter().chain([loopback]).collect()
}

/// Where the store is kept unless told otherwise: for root `/var/lib/imagestore`, for others
/// `imagestore` in the XDG data directory. `None` where that cannot be told.
pub fn default_root() -> Option<PathBuf> {
    if is_root() {
        return Some("/var/lib/imagestore".into());
    }
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data =
        absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("imagestore"))
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
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
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
        assert_eq!(
            "tcp://localhost:1".parse::<Listen>().unwrap().to_string(),
            "tcp://127.0.0.1:1"
        );
        for bad in [
            "",
            "127.0.0.1:1",
            "tcp://127.0.0.1",
            "tcp://host:1",
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
