//! Where groups live and who we are there: what a URL and single options say, made into one thing of one kind.
//!
//! Opens nothing and resolves no name. An option that is given beats the same part of the URL; options that name another
//! kind of place than the URL, or two kinds, are refused. Two places are equal when all of it is, passwords included:
//! they're part of the key under which a process shares its connections. No text form shows a password or a key.

use std::fmt;
use std::path::PathBuf;

use super::tls::Tls;
use super::{bad, url};
use crate::carrier::Carried;
use crate::error::Error;

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
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
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
    /// A URL that wasn't read yet: see [`Place::resolved`].
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
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// TLS; `Some(None)` says that it isn't spoken.
    pub tls: Option<Option<Tls>>,
    /// Members of a cluster: `host:port` each.
    pub cluster: Option<Vec<String>>,
    /// Sentinels.
    pub sentinel: Option<SentinelParts>,
    /// A client of the embedding program's.
    pub client: Option<Carried>,
}

/// Single options about sentinels.
#[derive(Debug, Clone, Default)]
pub struct SentinelParts {
    /// What they call the master.
    pub name: Option<String>,
    /// The sentinels: `host:port` each.
    pub nodes: Option<Vec<String>>,
    /// User name for the sentinels themselves.
    pub username: Option<String>,
    /// Password for the sentinels themselves.
    pub password: Option<Secret>,
    /// TLS to the sentinels; without it, as to the server.
    pub tls: Option<Option<Tls>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Memory,
    Tcp,
    Unix,
    Sentinel,
    Cluster,
    Client,
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
            username: parts.username.or(said.username),
            password: parts.password.or(said.password),
            tls: tls(parts.tls, said.secure, kind)?,
        };
        if access.username.is_some() && access.password.is_none() {
            return Err(bad(user_from, "a user without a password", "a password beside it"));
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
            Kind::Cluster if db != 0 => Err(bad("db", db, "0: a cluster has no other database")),
            Kind::Cluster => {
                Ok(Self::Cluster { nodes: nodes("cluster", parts.cluster, said.nodes, SERVER_PORT)?, access })
            }
            Kind::Sentinel => {
                let sentinel = parts.sentinel.unwrap_or_default();
                let name = sentinel.name.or(said.name).filter(|name| !name.is_empty()).ok_or_else(|| {
                    bad("sentinel.name", "nothing", "the name under which the sentinels know the master")
                })?;
                let nodes = nodes("sentinel.nodes", sentinel.nodes, said.nodes, SENTINEL_PORT)?;
                let tls = sentinel.tls.unwrap_or_else(|| access.tls.clone());
                let sentinels = Access { username: sentinel.username, password: sentinel.password, tls };
                if sentinels.username.is_some() && sentinels.password.is_none() {
                    return Err(bad(
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
                return Err(bad(
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
        Some((option, _)) => Err(bad(option, format!("{option} beside {what}"), "nothing")),
        None => Ok(()),
    }
}

fn tls(option: Option<Option<Tls>>, secure: bool, kind: Kind) -> Result<Option<Tls>, Error> {
    match option {
        Some(Some(_)) if kind == Kind::Unix => {
            Err(bad("tls", "tls beside a Unix socket", "nothing: TLS is spoken over TCP"))
        }
        // Not "the option beats the URL": nobody's password shall go over the wire in clear by a left-over option.
        Some(None) if secure => Err(bad("tls", "false beside a url that asks for TLS", "true or nothing")),
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
            .map(|text| Node::read(text, port).map_err(|wrong| bad(option, format!("{text:?}"), &wrong)))
            .collect::<Result<Vec<Node>, Error>>()?,
        None => said,
    };
    if nodes.is_empty() { Err(bad(option, "no node", "at least one host:port")) } else { Ok(nodes) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::{Carriage, Carrier, Ear};

    fn refused(url: Option<&str>, parts: Parts) -> &'static str {
        match Place::read(url, parts) {
            Err(Error::Config { option, given, expected }) => {
                assert!(!format!("{given}{expected}").contains("hunter2"), "{given} {expected}");
                option
            }
            other => panic!("{other:?}"),
        }
    }

    fn text(url: Option<&str>, parts: Parts) -> String {
        Place::read(url, parts).unwrap().to_string()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.into())
    }

    #[test]
    fn an_option_beats_the_same_part_of_the_url() {
        let parts = Parts { host: some("::1"), db: Some(4), ..Parts::default() };
        assert_eq!(text(Some("redis://h:7/3"), parts), "redis://[::1]:7/4");
        let parts = Parts { username: some("b"), password: Some(Secret::new("q")), ..Parts::default() };
        let Place::Server { access, .. } = Place::read(Some("redis://a:p@h"), parts).unwrap() else {
            panic!()
        };
        assert_eq!((access.username.as_deref(), access.password), (Some("b"), Some(Secret::new("q"))));
        let parts = Parts { path: some("/b"), ..Parts::default() };
        assert_eq!(text(Some("unix:///a?db=1"), parts), "unix:///b?db=1");
        let sentinel = SentinelParts { password: Some(Secret::new("s")), ..SentinelParts::default() };
        let parts = Parts { sentinel: Some(sentinel), ..Parts::default() };
        let Place::Sentinel { sentinels, access, .. } =
            Place::read(Some("rediss+sentinel://:p@h/m"), parts).unwrap()
        else {
            panic!()
        };
        assert_eq!((sentinels.password, access.password), (Some(Secret::new("s")), Some(Secret::new("p"))));
        assert_eq!((sentinels.tls, access.tls), (Some(Tls::default()), Some(Tls::default())));
    }

    #[test]
    fn without_a_url_the_options_say_where() {
        assert_eq!(text(None, Parts::default()), "redis://127.0.0.1:6379/0");
        let tls = Parts { tls: Some(Some(Tls::default())), ..Parts::default() };
        assert_eq!(text(None, tls), "rediss://127.0.0.1:6379/0");
        let cluster = Some(vec!["a".to_owned(), "[::1]:7".to_owned()]);
        assert_eq!(text(None, Parts { cluster, ..Parts::default() }), "redis+cluster://a:6379,[::1]:7");
        let sentinel =
            SentinelParts { name: some("m"), nodes: Some(vec!["a".into()]), ..SentinelParts::default() };
        let parts = Parts { sentinel: Some(sentinel), ..Parts::default() };
        assert_eq!(text(None, parts), "redis+sentinel://a:26379/m/0");
    }

    struct Somebodys(&'static str);

    impl Carrier for Somebodys {
        fn address(&self) -> String {
            self.0.into()
        }

        fn is_cluster(&self) -> bool {
            false
        }

        fn open(&self, _: Ear) -> Box<dyn Carriage> {
            unreachable!("nothing is opened while options are read")
        }
    }

    fn client() -> Option<Carried> {
        Some(Carried::new(Somebodys("somebody's")))
    }

    #[test]
    fn a_client_is_a_place_of_its_own() {
        let of = |client| Place::read(None, Parts { client, ..Parts::default() }).unwrap();
        let one = client();
        assert_eq!(of(one.clone()).to_string(), "somebody's");
        assert_eq!(of(one.clone()), of(one.clone()));
        assert_ne!(of(one), of(client()));
        assert_eq!(refused(Some("redis://h"), Parts { client: client(), ..Parts::default() }), "client");
    }

    #[test]
    fn two_kinds_of_place_are_refused_by_the_name_of_the_second() {
        let host = || Parts { host: some("h"), ..Parts::default() };
        let path = || Parts { path: some("/s"), ..Parts::default() };
        assert_eq!(refused(None, Parts { path: some("/s"), ..host() }), "path");
        assert_eq!(refused(None, Parts { cluster: Some(vec!["a".into()]), ..host() }), "cluster");
        assert_eq!(refused(None, Parts { client: client(), ..path() }), "client");
        assert_eq!(refused(Some("redis://:hunter2@h"), path()), "path");
        assert_eq!(refused(Some("unix:///s"), host()), "host");
        assert_eq!(refused(Some("memory:"), host()), "host");
        assert_eq!(refused(Some("redis+cluster://h"), host()), "host");
    }

    #[test]
    fn what_cannot_go_together_is_refused() {
        let password = || Parts { password: Some(Secret::new("hunter2")), ..Parts::default() };
        let no_tls = Parts { tls: Some(None), ..Parts::default() };
        let tls = || Parts { tls: Some(Some(Tls::default())), ..Parts::default() };
        assert_eq!(refused(Some("memory:"), password()), "password");
        assert_eq!(refused(None, Parts { client: client(), ..password() }), "password");
        assert_eq!(refused(Some("rediss://h"), no_tls), "tls");
        assert_eq!(refused(Some("unix:///s"), tls()), "tls");
        assert_eq!(refused(Some("redis+cluster://h"), Parts { db: Some(1), ..Parts::default() }), "db");
        assert_eq!(refused(None, Parts { username: some("u"), ..Parts::default() }), "username");
        let sentinel = |name: &str, nodes: Vec<String>| Parts {
            sentinel: Some(SentinelParts {
                name: some(name),
                nodes: Some(nodes),
                ..SentinelParts::default()
            }),
            ..Parts::default()
        };
        assert_eq!(refused(None, sentinel("", vec!["a".into()])), "sentinel.name");
        assert_eq!(refused(None, sentinel("m", vec![])), "sentinel.nodes");
        assert_eq!(refused(None, sentinel("m", vec!["a:0".into()])), "sentinel.nodes");
        assert_eq!(refused(None, Parts { cluster: Some(vec!["::1".into()]), ..Parts::default() }), "cluster");
    }

    #[test]
    fn no_text_form_shows_a_password() {
        for url in ["redis://u:hunter2@h", "redis+sentinel://:hunter2@h/m", "unix:///s?pass=hunter2"] {
            let place = Place::read(Some(url), Parts::default()).unwrap();
            assert!(!format!("{place} {place:?} {:?}", Place::Url(Secret::new(url))).contains("hunter2"));
        }
        let access = Access { password: Some(Secret::new("hunter2")), ..Access::default() };
        assert!(!format!("{access:?}").contains("hunter2"));
    }
}
