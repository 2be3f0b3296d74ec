//! What a URL and single options say about a place, put together.
//!
//! An option that is given beats the same part of the URL; options that name another kind of place than the URL, or two
//! kinds, are refused.

use super::asked::Credential;
use super::node::{Node, SENTINEL_PORT, SERVER_PORT};
use super::place::{Access, Address, Place};
use super::tls::Tls;
use super::url::{self, Kind};
use crate::error::Error;
use crate::transport::SharedTransport;

#[cfg(test)]
mod tests;

/// Single options that say where, each beating the same part of the URL.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Host name or IP address.
    pub host: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// Path of a Unix socket.
    pub path: Option<String>,
    /// Number of the database.
    pub db: Option<u32>,
    /// User name.
    pub username: Option<Credential>,
    /// Password.
    pub password: Option<Credential>,
    /// TLS; `Some(None)` says that it isn't spoken.
    pub tls: Option<Option<Tls>>,
    /// Members of a cluster: `host:port` each.
    pub cluster: Option<Vec<String>>,
    /// Sentinels.
    pub sentinel: Option<SentinelParts>,
    /// A client of the embedding program's.
    pub client: Option<SharedTransport>,
}

/// Single options about sentinels.
#[derive(Debug, Clone, Default)]
pub struct SentinelParts {
    /// What they call the master.
    pub name: Option<String>,
    /// The sentinels: `host:port` each.
    pub nodes: Option<Vec<String>>,
    /// User name for the sentinels themselves.
    pub username: Option<Credential>,
    /// Password for the sentinels themselves.
    pub password: Option<Credential>,
    /// TLS to the sentinels; without it, as to the server.
    pub tls: Option<Option<Tls>>,
}

impl Place {
    /// This place, read if it's still a URL.
    pub fn resolved(&self) -> Result<Self, Error> {
        match self {
            Self::Url(url) => Self::read(Some(url.reveal()), Parts::default()),
            place => Ok(place.clone()),
        }
    }

    /// What the URL and the options say together; `127.0.0.1:6379` where they don't.
    pub fn read(url: Option<&str>, parts: Parts) -> Result<Self, Error> {
        let said = url.map(url::read).transpose()?;
        let kind = kind(said.as_ref().map(|said| said.kind), &parts)?;
        let said = said.unwrap_or_default();
        if matches!(kind, Kind::Memory | Kind::Client) {
            refuse_access(kind, &parts)?;
        }
        let db = parts.db.or(said.db).unwrap_or(0);
        let user_from = if parts.username.is_some() { "username" } else { "url" };
        let access = Access {
            username: parts.username.or(said.username.map(Credential::from)),
            password: parts.password.or(said.password.map(Credential::Given)),
            tls: tls(parts.tls, said.secure, kind)?,
        };
        if access.username.is_some() && access.password.is_none() {
            return Err(Error::config(user_from, "a user without a password", "a password beside it"));
        }
        match kind {
            Kind::Memory | Kind::Client => Ok(match parts.client {
                Some(client) => Self::Client(client),
                None => Self::Memory(said.path.unwrap_or_default()),
            }),
            Kind::Unix => {
                let path = parts.path.or(said.path).unwrap_or_default();
                Ok(Self::Server { address: Address::Unix(path.into()), db, access })
            }
            Kind::Tcp => {
                let said = said.nodes.into_iter().next();
                let (host, port) = said.map_or((None, None), |node| (Some(node.host), Some(node.port)));
                let host = parts.host.or(host).unwrap_or_else(|| "127.0.0.1".into());
                let port = parts.port.or(port).unwrap_or(SERVER_PORT);
                Ok(Self::Server { address: Address::Tcp(Node { host, port }), db, access })
            }
            Kind::Cluster if db != 0 => Err(Error::config("db", db, "0: a cluster has no other database")),
            Kind::Cluster => {
                Ok(Self::Cluster { nodes: nodes("cluster", parts.cluster, said.nodes, SERVER_PORT)?, access })
            }
            Kind::Sentinel => {
                let sentinel = parts.sentinel.unwrap_or_default();
                let name = sentinel.name.or(said.name).filter(|name| !name.is_empty()).ok_or_else(|| {
                    Error::config(
                        "sentinel.name",
                        "nothing",
                        "the name under which the sentinels know the master",
                    )
                })?;
                let nodes = nodes("sentinel.nodes", sentinel.nodes, said.nodes, SENTINEL_PORT)?;
                let tls = sentinel.tls.unwrap_or_else(|| access.tls.clone());
                let sentinels = Access { username: sentinel.username, password: sentinel.password, tls };
                if sentinels.username.is_some() && sentinels.password.is_none() {
                    return Err(Error::config(
                        "sentinel.username",
                        "a user without a password",
                        "a password beside it",
                    ));
                }
                Ok(Self::Sentinel { name, nodes, sentinels, db, access })
            }
        }
    }
}

/// The one kind of place that the URL and the options name.
fn kind(url: Option<Kind>, parts: &Parts) -> Result<Kind, Error> {
    let named = [
        ("host", Kind::Tcp, parts.host.is_some()),
        ("port", Kind::Tcp, parts.port.is_some()),
        ("path", Kind::Unix, parts.path.is_some()),
        ("cluster", Kind::Cluster, parts.cluster.is_some()),
        ("sentinel", Kind::Sentinel, parts.sentinel.is_some()),
        ("client", Kind::Client, parts.client.is_some()),
    ];
    let mut first = url.map(|kind| ("url", kind));
    for (option, kind, _) in named.into_iter().filter(|(_, _, given)| *given) {
        match first {
            None => first = Some((option, kind)),
            Some((_, other)) if other == kind => {}
            Some((by, _)) => {
                return Err(Error::config(
                    option,
                    format!("{option} beside {by}"),
                    &format!("nothing, as the {by} says where already"),
                ));
            }
        }
    }
    Ok(first.map_or(Kind::Tcp, |(_, kind)| kind))
}

/// The embedded store and a client of one's own know no users, databases or protection of ours.
fn refuse_access(kind: Kind, parts: &Parts) -> Result<(), Error> {
    let what = if kind == Kind::Memory { "memory:" } else { "a client of your own" };
    let named = [
        ("db", parts.db.is_some()),
        ("username", parts.username.is_some()),
        ("password", parts.password.is_some()),
        ("tls", parts.tls.is_some()),
    ];
    match named.into_iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Error::config(option, format!("{option} beside {what}"), "nothing")),
        None => Ok(()),
    }
}

fn tls(option: Option<Option<Tls>>, secure: bool, kind: Kind) -> Result<Option<Tls>, Error> {
    match option {
        Some(Some(_)) if kind == Kind::Unix => {
            Err(Error::config("tls", "tls beside a Unix socket", "nothing: TLS is spoken over TCP"))
        }
        // Not "the option beats the URL": nobody's password shall go over the wire in clear by a left-over option.
        Some(None) if secure => {
            Err(Error::config("tls", "false beside a url that asks for TLS", "true or nothing"))
        }
        Some(tls) => Ok(tls),
        None => Ok(secure.then(Tls::default)),
    }
}

fn nodes(
    option: &'static str,
    given: Option<Vec<String>>,
    said: Vec<Node>,
    port: u16,
) -> Result<Vec<Node>, Error> {
    let nodes = match given {
        Some(given) => given
            .iter()
            .map(|text| {
                Node::read(text, port).map_err(|wrong| Error::config(option, format!("{text:?}"), &wrong))
            })
            .collect::<Result<Vec<Node>, Error>>()?,
        None => said,
    };
    if nodes.is_empty() { Err(Error::config(option, "no node", "at least one host:port")) } else { Ok(nodes) }
}
