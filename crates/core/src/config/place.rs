//! Where groups live and who we are there, as one thing of one kind.
//!
//! Opens nothing and resolves no name; `parts` reads what users say. Two places are equal when all of it is, passwords
//! included: they're part of the key under which a process shares its connections. No text form shows a password or a
//! key.

use std::fmt;
use std::path::PathBuf;

use super::asked::Credential;
use super::node::Node;
use super::secret::Secret;
use super::tls::Tls;
use crate::transport::SharedTransport;

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
    Client(SharedTransport),
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
