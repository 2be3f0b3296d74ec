//! Where groups live and who we are there, as one thing of one kind.
//!
//! Opens nothing and resolves no name; `parts` reads what users say. Two places are equal when all of it is, passwords
//! included: they're part of the key under which a process shares its connections. No text form shows a password or a
//! key.

use std::fmt;
use std::path::PathBuf;

use super::asked::Credential;
use super::tls::Tls;
use crate::carrier::Carried;

/// The port of a server where none is named.
pub(super) const SERVER_PORT: u16 = 6379;

/// The port of a sentinel where none is named.
pub(super) const SENTINEL_PORT: u16 = 26_379;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Hides it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Node {
    /// Reads `host`, `host:port` or `[v6]:port`; the error says what is wrong with it.
    pub(super) fn read(text: &str, default_port: u16) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(v6) => {
                let (host, rest) = v6.split_once(']').ok_or("host begins with '[' and has no ']'")?;
                if !rest.is_empty() && !rest.starts_with(':') {
                    return Err("host has something between ']' and the port".into());
                }
                (host, rest.strip_prefix(':'))
            }
            None => match text.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err("host is an IPv6 address, which must be written in brackets: [::1]".into());
                }
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() {
            return Err("host is missing".into());
        }
        let port = match port {
            None | Some("") => default_port,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|&port| port != 0)
                .ok_or("port is not a number from 1 to 65535 (a password must be followed by '@')")?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl Node {
    /// As [`Self::read`]; an IPv6 address may lack its brackets, the port is then what stands behind its last colon.
    pub(super) fn read_bare(text: &str, default_port: u16) -> Result<Self, String> {
        match text.rsplit_once(':') {
            Some((host, port)) if host.contains(':') && !host.starts_with('[') => {
                Self::read(&format!("[{host}]:{port}"), default_port)
            }
            _ => Self::read(text, default_port),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Who we are to a server, and how the connection is protected.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Access {
    /// The user of Redis' access control; the default user without it.
    pub username: Option<Credential>,
    /// Its password.
    pub password: Option<Credential>,
    /// TLS, if it's spoken.
    pub tls: Option<Tls>,
}

/// What one server listens on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp(Node),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Where groups live.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// A URL that wasn't read yet: see [`Place::read`].
    Url(Secret),
    /// The embedded store of this process with this name.
    Memory(String),
    /// One server.
    Server {
        /// Where it listens.
        address: Address,
        /// Number of the database.
        db: u32,
        /// Who we are to it.
        access: Access,
    },
    /// The server that sentinels call the master of this name.
    Sentinel {
        /// The name.
        name: String,
        /// The sentinels.
        nodes: Vec<Node>,
        /// Who we are to the sentinels.
        sentinels: Access,
        /// Number of the database.
        db: u32,
        /// Who we are to the master.
        access: Access,
    },
    /// A Redis Cluster.
    Cluster {
        /// Members to begin with.
        nodes: Vec<Node>,
        /// Who we are to every member.
        access: Access,
    },
    /// A client of the embedding program's.
    Client(Carried),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = |access: &Access| if access.tls.is_some() { "rediss" } else { "redis" };
        let list = |nodes: &[Node]| nodes.iter().map(Node::to_string).collect::<Vec<_>>().join(",");
        match self {
            Self::Url(_) => f.write_str("a url"),
            Self::Memory(name) => write!(f, "memory:{name}"),
            Self::Server { address: Address::Tcp(node), db, access } => {
                write!(f, "{}://{node}/{db}", scheme(access))
            }
            Self::Server { address: Address::Unix(path), db, .. } => {
                write!(f, "unix://{}?db={db}", path.display())
            }
            Self::Sentinel { name, nodes, db, access, .. } => {
                write!(f, "{}+sentinel://{}/{name}/{db}", scheme(access), list(nodes))
            }
            Self::Cluster { nodes, access } => write!(f, "{}+cluster://{}", scheme(access), list(nodes)),
            Self::Client(client) => f.write_str(&client.address()),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
