//! The address of a server by TCP, and how people write it.

use std::fmt;

/// The port of a server where none is named.
pub(super) const SERVER_PORT: u16 = 6379;

/// The port of a sentinel where none is named.
pub(super) const SENTINEL_PORT: u16 = 26_379;

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
