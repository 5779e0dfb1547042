//! Where a server listens and keeps its store unless told otherwise.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use super::listen::Listen;

/// Whom a process runs for, and the folders that the system gave them.
enum User {
    Root,
    Other {
        /// For sockets, gone after the last logout.
        runtime: Option<PathBuf>,
        /// For what is kept.
        data: Option<PathBuf>,
    },
}

/// The port on loopback.
const PORT: u16 = 7870;

/// Where a server listens, and a client looks, unless told otherwise: for root
/// `/run/imagestore/imagestore.sock`; for others `$XDG_RUNTIME_DIR/imagestore/imagestore.sock`, where
/// that variable is set, and 127.0.0.1:7870.
pub fn default_addresses() -> Vec<Listen> {
    User::of_process().addresses()
}

/// Where the store is kept unless told otherwise: for root `/var/lib/imagestore`, for others
/// `imagestore` in the XDG data directory. `None` where that cannot be told.
pub fn default_root() -> Option<PathBuf> {
    User::of_process().root()
}

// === impl User ===

impl User {
    fn of_process() -> Self {
        Self::new(rustix::process::geteuid().is_root(), |name| {
            env::var_os(name)
        })
    }

    /// A folder that is not absolute counts as not set (XDG Base Directory Specification).
    fn new(is_root: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        if is_root {
            return Self::Root;
        }
        let folder = |name| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let in_home = || Some(folder("HOME")?.join(".local/share"));
        Self::Other {
            runtime: folder("XDG_RUNTIME_DIR"),
            data: folder("XDG_DATA_HOME").or_else(in_home),
        }
    }

    fn addresses(self) -> Vec<Listen> {
        match self {
            Self::Root => vec![Listen::Unix("/run/imagestore/imagestore.sock".into())],
            Self::Other { runtime, .. } => {
                let socket =
                    runtime.map(|folder| Listen::Unix(folder.join("imagestore/imagestore.sock")));
                let loopback = Listen::Tcp(format!("127.0.0.1:{PORT}"));
                socket.into_iter().chain([loopback]).collect()
            }
        }
    }

    fn root(self) -> Option<PathBuf> {
        match self {
            Self::Root => Some("/var/lib/imagestore".into()),
            Self::Other { data, .. } => Some(data?.join("imagestore")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a user with these variables gets: addresses and folder.
    fn defaults(is_root: bool, variables: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
        let user = || {
            User::new(is_root, |asked| {
                let set = variables.iter().find(|(name, _)| *name == asked);
                set.map(|(_, folder)| folder.into())
            })
        };
        let addresses = user().addresses();
        (
            addresses.iter().map(Listen::to_string).collect(),
            user().root().map(|folder| folder.display().to_string()),
        )
    }

    #[test]
    fn root_has_a_socket_only_whatever_the_environment_says() {
        let variables = [
            ("XDG_RUNTIME_DIR", "/r"),
            ("XDG_DATA_HOME", "/d"),
            ("HOME", "/h"),
        ];
        for variables in [&variables[..], &[]] {
            let (addresses, root) = defaults(true, variables);
            assert_eq!(addresses, ["unix:///run/imagestore/imagestore.sock"]);
            assert_eq!(root.as_deref(), Some("/var/lib/imagestore"));
        }
    }

    #[test]
    fn others_have_a_socket_where_there_is_a_folder_for_it_and_loopback() {
        const LOOPBACK: &str = "tcp://127.0.0.1:7870";
        let (addresses, _) = defaults(false, &[("XDG_RUNTIME_DIR", "/run/user/1000")]);
        assert_eq!(
            addresses,
            ["unix:///run/user/1000/imagestore/imagestore.sock", LOOPBACK]
        );
        for unset in [
            &[][..],
            &[("XDG_RUNTIME_DIR", "")],
            &[("XDG_RUNTIME_DIR", "run")],
        ] {
            assert_eq!(defaults(false, unset).0, [LOOPBACK], "{unset:?}");
        }
    }

    #[test]
    fn others_keep_their_store_in_the_first_data_folder_that_is_one() {
        for (variables, root) in [
            (
                &[("XDG_DATA_HOME", "/d"), ("HOME", "/h")][..],
                Some("/d/imagestore"),
            ),
            (&[("XDG_DATA_HOME", "/d")], Some("/d/imagestore")),
            (
                &[("XDG_DATA_HOME", ""), ("HOME", "/h")],
                Some("/h/.local/share/imagestore"),
            ),
            (
                &[("XDG_DATA_HOME", "d"), ("HOME", "/h")],
                Some("/h/.local/share/imagestore"),
            ),
            (&[("HOME", "/h")], Some("/h/.local/share/imagestore")),
            (&[("HOME", "h")], None),
            (&[], None),
        ] {
            assert_eq!(
                defaults(false, variables).1.as_deref(),
                root,
                "{variables:?}"
            );
        }
    }
}
