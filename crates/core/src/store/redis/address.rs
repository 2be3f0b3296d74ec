//! Where a Redis server is and who we are to it, read from a URL.
//!
//! Opens nothing and resolves no name. What can't be right is refused in words that name the part at fault; those words
//! and the text form of an address never contain a password, not even a piece of a badly written one.

use std::fmt;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

/// The port where a URL names none.
const DEFAULT_PORT: u16 = 6379;

/// How long a connection is silent before the kernel probes it: a dead one is noticed after 25 s even if nothing is asked.
const SILENCE: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// What is wrong with a URL, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

impl AddressError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(super) fn from_client(error: redis::RedisError) -> Self {
        Self(error.to_string())
    }
}

/// One server, one database, one user.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    port: u16,
    db: u32,
    user: Option<String>,
    password: Option<String>,
}

impl Address {
    /// Reads `redis://[[user]:password@]host[:port][/db]`; `valkey://` means the same.
    pub(super) fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| AddressError::new("the URL has no scheme: write redis://host:port"))?;
        if !matches!(scheme.to_ascii_lowercase().as_str(), "redis" | "valkey") {
            // Only a well-formed scheme is quoted: anything else may be a torn password.
            let word = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
            let named = if word { format!(" {scheme:?}") } else { String::new() };
            return Err(AddressError::new(format!(
                "the URL's scheme{named} is not one of redis:// and valkey://"
            )));
        }
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        // Everything below quotes parts of the URL: it must be sure that none of them is a torn password.
        if path.contains('@') {
            return Err(AddressError::new(
                "a '/', '?' or '#' in the URL's user name or password must be written as %2F, %3F or %23",
            ));
        }
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, authority),
        };
        let (user, password) = credentials.map_or(Ok((None, None)), parse_credentials)?;
        let (host, port) = parse_place(place)?;
        Ok(Self { host, port, db: parse_db(path)?, user, password })
    }

    /// This address as the client library takes it.
    pub(super) fn connection_info(&self, protocol: ProtocolVersion) -> Result<ConnectionInfo, AddressError> {
        let mut login = RedisConnectionInfo::default()
            .set_db(i64::from(self.db))
            .set_protocol(protocol)
            .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        if let Some(user) = &self.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        let keep_alive =
            TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE_INTERVAL).with_retries(PROBES);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keep_alive);
        let place = ConnectionAddr::Tcp(self.host.clone(), self.port);
        let info = place.into_connection_info().map_err(AddressError::from_client)?;
        Ok(info.set_tcp_settings(tcp).set_redis_settings(login))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, db, .. } = self;
        if host.contains(':') {
            write!(f, "redis://[{host}]:{port}/{db}")
        } else {
            write!(f, "redis://{host}:{port}/{db}")
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

type Credentials = (Option<String>, Option<String>);

fn parse_credentials(text: &str) -> Result<Credentials, AddressError> {
    let Some((user, password)) = text.split_once(':') else {
        return Err(AddressError::new(
            "the URL has a user name but no password: write user:password@, or :password@ for a password alone",
        ));
    };
    let user = decode(user)?;
    Ok(((!user.is_empty()).then_some(user), Some(decode(password)?)))
}

fn parse_place(text: &str) -> Result<(String, u16), AddressError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6
                .split_once(']')
                .ok_or_else(|| AddressError::new("the URL's host begins with '[' and has no ']'"))?;
            if !rest.is_empty() && !rest.starts_with(':') {
                return Err(AddressError::new("the URL has something between ']' and the port"));
            }
            (host, rest.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(AddressError::new("an IPv6 host in the URL must be written in brackets: [::1]"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(AddressError::new("the URL has no host"));
    }
    let port = match port {
        None | Some("") => DEFAULT_PORT,
        Some(digits) => digits.parse().ok().filter(|&port| port != 0).ok_or_else(|| {
            AddressError::new(
                "the URL's port is not a number from 1 to 65535 (a password must be followed by '@')",
            )
        })?,
    };
    Ok((host.to_owned(), port))
}

fn parse_db(path: &str) -> Result<u32, AddressError> {
    match path.find(['?', '#']) {
        Some(at) if path.len() > at + 1 => {
            return Err(AddressError::new("the URL has parameters after '?' or '#': none are known"));
        }
        _ => {}
    }
    match path.trim_end_matches(['?', '#']).trim_start_matches('/') {
        "" => Ok(0),
        digits => digits
            .parse::<u32>()
            .ok()
            .filter(|&db| db <= i32::MAX as u32)
            .ok_or_else(|| AddressError::new(format!("the URL's database {digits:?} is not a number"))),
    }
}

/// Undoes percent-escapes; what they spell must be UTF-8.
fn decode(text: &str) -> Result<String, AddressError> {
    let wrong = || {
        AddressError::new(
            "the URL's user name or password has a '%' that begins no escape: write %25 for the sign",
        )
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or_else(wrong)?;
        let value = |digit: u8| char::from(digit).to_digit(16);
        let (high, low) = (value(digits[0]).ok_or_else(wrong)?, value(digits[1]).ok_or_else(wrong)?);
        bytes.push((high * 16 + low) as u8);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_says_host_port_and_database() {
        for (url, text) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("valkey://h:1/", "redis://h:1/0"),
            ("REDIS://[::1]:7/12", "redis://[::1]:7/12"),
            ("redis://app:secret@h/3", "redis://h:6379/3"),
        ] {
            assert_eq!(Address::parse(url).unwrap().to_string(), text);
        }
    }

    #[test]
    fn credentials_are_unescaped() {
        let address = Address::parse("redis://us%3Aer:p%40ss:%2F%C3%A9@h").unwrap();
        assert_eq!(address.user.as_deref(), Some("us:er"));
        assert_eq!(address.password.as_deref(), Some("p@ss:/é"));
        let address = Address::parse("redis://:p@ss@h").unwrap();
        assert_eq!((address.user, address.password.as_deref()), (None, Some("p@ss")));
    }

    #[test]
    fn a_bad_url_is_refused_in_words_that_name_the_part_and_no_password() {
        for (url, part) in [
            ("user:hunter2@h", "scheme"),
            ("http://:hunter2@h", "http"),
            (":hunter2@redis://h", "scheme"),
            ("redis://", "host"),
            ("redis://:hunter2@", "host"),
            ("redis://:hunter2@:1", "host"),
            ("redis://:hunter2@h:0", "port"),
            ("redis://:hunter2@h:70000", "port"),
            ("redis://user:hunter2", "port"),
            ("redis://hunter2@h", "password"),
            ("redis://:hunter2%@h", "%25"),
            ("redis://:hunter2%zz@h", "%25"),
            ("redis://:hunter2%ff@h", "%25"),
            ("redis://:hun/hunter2@h", "%2F"),
            ("redis://:hunter2#x@h", "%23"),
            ("redis://:hunter2@h/x", "database"),
            ("redis://:hunter2@h/4294967295", "database"),
            ("redis://:hunter2@h/1?tls=1", "parameters"),
            ("redis://:hunter2@::1", "brackets"),
            ("redis://:hunter2@[::1", "']'"),
            ("redis://:hunter2@[::1]x", "']'"),
        ] {
            let message = Address::parse(url).unwrap_err().to_string();
            assert!(message.contains(part), "{url}: {message}");
            assert!(!message.contains("hunter2"), "{url}: {message}");
        }
    }
}
