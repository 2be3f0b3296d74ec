//! A socket to an address: TCP, TLS over it, or a Unix socket.
//!
//! Nothing is sent on the socket. All addresses of a name are tried at once, and the first that answers is used: one
//! that drops packets must not use up the time of the others.

use std::io;
use std::time::Duration;

use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

use super::tls::Secure;
use crate::config::{Address, Node};

/// After so long without traffic the kernel probes a connection: a dead one is noticed after 25 s even without calls.
const SILENCE: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// A stream of bytes in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// An open socket of any kind.
pub(super) type Socket = Box<dyn Duplex>;

/// Opens one.
pub(super) async fn open(address: &Address, secure: Option<&Secure>) -> io::Result<Socket> {
    match address {
        Address::Tcp(node) => open_tcp(node, secure).await,
        #[cfg(unix)]
        Address::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(io::Error::other("there are no Unix sockets on this platform")),
    }
}

/// Opens one to a host.
pub(super) async fn open_tcp(node: &Node, secure: Option<&Secure>) -> io::Result<Socket> {
    let stream = connect(node).await?;
    stream.set_nodelay(true)?;
    let keep_alive =
        TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
    Ok(match secure {
        Some(secure) => Box::new(secure.wrap(&node.host, stream).await?),
        None => Box::new(stream),
    })
}

async fn connect(node: &Node) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    for address in lookup_host((node.host.as_str(), node.port)).await? {
        attempts.spawn(TcpStream::connect(address));
    }
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(refused)) => error = refused,
            Err(_) => {}
        }
    }
    Err(error)
}
