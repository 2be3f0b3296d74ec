//! Reads the URL of a place into its parts.
//!
//! What can't be right is refused in words that name the part at fault; those words never contain a password, not even
//! a piece of a badly written one.

use super::node::{Node, SENTINEL_PORT, SERVER_PORT};
use super::secret::Secret;
use crate::error::{Error, UNREPEATED};

/// Which kind of place it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Memory,
    Tcp,
    Unix,
    Sentinel,
    Cluster,
    Client,
}

/// Parameters that URLs have for other clients, ioredis above all: how these wait, queue and try again. They say
/// nothing about the server, and nothing that this one could do differently. (All addresses of a name are tried,
/// whatever `family`.)
const OF_OTHERS: [&str; 8] = [
    "allowUsernameInURI",
    "enableOfflineQueue",
    "enableReadyCheck",
    "keepAlive",
    "lazyConnect",
    "maxRetriesPerRequest",
    "noDelay",
    "protocol",
];

/// What a URL says.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) kind: Kind,
    pub(super) secure: bool,
    pub(super) nodes: Vec<Node>,
    /// Of a Unix socket; the name of an embedded store.
    pub(super) path: Option<String>,
    /// The sentinels' name for the master.
    pub(super) name: Option<String>,
    pub(super) db: Option<u32>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            kind: Kind::Tcp,
            secure: false,
            nodes: Vec::new(),
            path: None,
            name: None,
            db: None,
            username: None,
            password: None,
        }
    }
}

/// Reads a URL.
pub(super) fn read(url: &str) -> Result<Said, Error> {
    // What was given isn't repeated: it may have a password in it.
    parse(url).map_err(|wrong| Error::config("url", UNREPEATED, &wrong))
}

fn parse(url: &str) -> Result<Said, String> {
    if let Some(name) = url.get(..7).filter(|word| word.eq_ignore_ascii_case("memory:")).map(|_| &url[7..]) {
        let name = name.trim_start_matches('/').to_owned();
        return Ok(Said { kind: Kind::Memory, path: Some(name), ..Said::default() });
    }
    let (scheme, rest) = url.split_once("://").ok_or("the URL has no scheme: write redis://host:port")?;
    let (kind, secure) = read_scheme(scheme)?;
    let mut said = Said { kind, secure, ..Said::default() };
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // Everything below quotes parts of the URL: it must be sure that none of them is a torn password.
    if tail.contains('@') {
        return Err("a '/', '?', '#' or '@' in the URL's user name, password or path must be written as \
                    %2F, %3F, %23 or %40"
            .into());
    }
    let (tail, fragment) = tail.split_once('#').unwrap_or((tail, ""));
    if !fragment.is_empty() {
        return Err("the URL has parameters after '#': none are known".into());
    }
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let (credentials, place) = match authority.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, authority),
    };
    if let Some(credentials) = credentials {
        said.read_credentials(credentials)?;
    }
    said.read_place(place, path)?;
    said.read_parameters(query)?;
    Ok(said)
}

fn read_scheme(scheme: &str) -> Result<(Kind, bool), String> {
    let lower = scheme.to_ascii_lowercase();
    let (base, plus) = lower.split_once('+').unwrap_or((&lower, ""));
    let secure = match base {
        "redis" | "valkey" => Some(false),
        "rediss" | "valkeys" => Some(true),
        _ => None,
    };
    match (secure, plus) {
        (Some(secure), "") if !lower.ends_with('+') => Ok((Kind::Tcp, secure)),
        (Some(secure), "sentinel") => Ok((Kind::Sentinel, secure)),
        (Some(secure), "cluster") => Ok((Kind::Cluster, secure)),
        (Some(false), "unix") => Ok((Kind::Unix, false)),
        (None, "") if lower == "unix" => Ok((Kind::Unix, false)),
        _ => {
            // Only a well-formed scheme is quoted: anything else may be a torn password.
            let word = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
            let named = if word { format!(" {scheme:?}") } else { String::new() };
            Err(format!(
                "the URL's scheme{named} is not one of redis, rediss, valkey, valkeys, unix, redis+unix, \
                 redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster and memory"
            ))
        }
    }
}

impl Said {
    fn read_credentials(&mut self, text: &str) -> Result<(), String> {
        let (user, password) = match text.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (text, None),
        };
        self.username = Some(decode(user)?).filter(|user| !user.is_empty());
        self.password = password.map(decode).transpose()?.map(Secret::new);
        Ok(())
    }

    fn read_place(&mut self, place: &str, path: &str) -> Result<(), String> {
        let node = |text: &str, port| Node::read(text, port).map_err(|wrong| format!("the URL's {wrong}"));
        let nodes = |port| place.split(',').map(|text| node(text, port)).collect::<Result<Vec<_>, _>>();
        match self.kind {
            Kind::Unix if !place.is_empty() || path.len() < 2 => {
                return Err("the URL's path isn't absolute: write unix:///path/of/the/socket".into());
            }
            Kind::Unix => self.path = Some(decode(path)?),
            Kind::Sentinel => {
                self.nodes = nodes(SENTINEL_PORT)?;
                let path = path.strip_prefix('/').unwrap_or(path);
                let (name, db) = path.split_once('/').unwrap_or((path, ""));
                self.name = Some(decode(name)?).filter(|name| !name.is_empty());
                self.db = read_db(db)?;
            }
            Kind::Cluster => {
                self.nodes = nodes(SERVER_PORT)?;
                self.db = read_db(path)?;
            }
            _ => {
                self.nodes = vec![node(place, SERVER_PORT)?];
                self.db = read_db(path)?;
            }
        }
        Ok(())
    }

    fn read_parameters(&mut self, query: &str) -> Result<(), String> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            // Without a value it's no parameter that is known, and may be a torn password.
            let (name, value) = pair.split_once('=').unwrap_or(("", ""));
            let twice = match name {
                "db" => std::mem::replace(&mut self.db, read_db(value)?).is_some(),
                "user" | "username" => self.username.replace(decode(value)?).is_some(),
                "pass" | "password" => self.password.replace(Secret::new(decode(value)?)).is_some(),
                "family" if ["", "0", "4", "6"].contains(&value) => false,
                _ if OF_OTHERS.contains(&name) => false,
                _ => return Err(unknown_parameter(name)),
            };
            if twice {
                return Err(format!("the URL says {name} twice"));
            }
        }
        Ok(())
    }
}

/// Says which parameter isn't taken; only what can't be a torn password is quoted.
fn unknown_parameter(name: &str) -> String {
    let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let named = if word && (1..=32).contains(&name.len()) { format!(" {name:?}") } else { String::new() };
    format!(
        "the URL's parameter{named} isn't known: db, username and password are, and what else there is to say are options"
    )
}

fn read_db(text: &str) -> Result<Option<u32>, String> {
    match text.trim_start_matches('/') {
        "" => Ok(None),
        digits => match digits.parse::<u32>() {
            Ok(db) if i32::try_from(db).is_ok() => Ok(Some(db)),
            _ => Err(format!("the URL's database {digits:?} is not a number")),
        },
    }
}

/// Undoes percent-escapes; what they spell must be UTF-8.
fn decode(text: &str) -> Result<String, String> {
    let wrong = "the URL has a '%' that begins no escape: write %25 for the sign, also in a password";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or(wrong)?;
        let value = |digit: u8| char::from(digit).to_digit(16);
        let (high, low) = (value(digits[0]).ok_or(wrong)?, value(digits[1]).ok_or(wrong)?);
        bytes.push((high * 16 + low) as u8);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| wrong.into())
}

#[cfg(test)]
mod tests;
