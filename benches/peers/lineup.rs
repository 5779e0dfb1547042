//! Who races, and at what.

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Imagestore,
    /// Answers the message of [`Peer::Imagestore`] without any work.
    Null,
    Containerd,
    Etcd,
}

impl Peer {
    pub const ALL: [Peer; 4] = [Peer::Imagestore, Peer::Null, Peer::Containerd, Peer::Etcd];

    pub fn name(self) -> &'static str {
        match self {
            Peer::Imagestore => "imagestore",
            Peer::Null => "null",
            Peer::Containerd => "containerd",
            Peer::Etcd => "etcd",
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Get,
    ByDigest,
    ByName,
    /// All tags of a repository, as clients of containerd look for them.
    ByRepository,
    Stream,
    Pages,
    Put,
    Overwrite,
}

impl Work {
    pub fn title(self) -> &'static str {
        match self {
            Work::Get => "Get",
            Work::ByDigest => "lookup by digest",
            Work::ByName => "List, filter `name==`",
            Work::ByRepository => "List, filter `name~=^repository:`",
            Work::Stream => "List of 10,000 (Stream)",
            Work::Pages => "List of 10,000 (pages of 1,000)",
            Work::Put => "durable Put, new name",
            Work::Overwrite => "durable Put, overwriting",
        }
    }

    /// Whether that peer can do this at all. etcd has no index to find a digest by.
    pub fn suits(self, peer: Peer) -> bool {
        match peer {
            Peer::Imagestore => true,
            Peer::Null => self == Work::Get,
            Peer::Containerd => true,
            Peer::Etcd => !matches!(self, Work::ByDigest | Work::ByName | Work::ByRepository),
        }
    }

    /// Lists and lookups in a namespace of 10,000 stay 10,000 records however many are loaded.
    pub fn lists(self) -> bool {
        matches!(self, Work::Stream | Work::Pages)
    }
}
