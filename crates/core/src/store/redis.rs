//! Groups in a Redis server: each call one script, each link one connection.
//!
//! Knows no rule and remembers nothing between links. `scripts`, `keys` and `reply` are the bytes; `address` is where,
//! `connection` how a link opens, `link` how it runs, `push` and `list` what comes beside the calls.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Client, ProtocolVersion};
use tokio::sync::mpsc::UnboundedSender;

use super::{Connecting, Link, LinkEvent, Store};
use crate::lease::SessionId;

mod address;
mod connection;
pub mod keys;
mod link;
mod list;
mod names;
mod push;
pub mod reply;
pub mod scripts;

pub use address::AddressError;

/// Which server, and how long to wait for it.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[[user]:password@]host[:port][/db]`; `valkey://` means the same.
    pub url: String,
    /// Bounds the opening of a link: connecting, logging in and the first round trip together.
    pub connect_timeout: Duration,
    /// Bounds what a link asks on its own behalf. Calls have no bound here: their time-outs are the session's.
    pub command_timeout: Duration,
    /// The name of the connection in `CLIENT LIST`.
    pub client_name: Option<String>,
    /// What the names of all keys and channels begin with.
    pub key_prefix: String,
}

/// Groups in one Redis server.
pub struct RedisStore {
    server: Arc<connection::Server>,
}

impl RedisStore {
    /// A store that will connect to the options' URL; connects to nothing yet.
    pub fn new(options: RedisOptions) -> Result<Self, AddressError> {
        let address = address::Address::parse(&options.url)?;
        let client = |protocol| -> Result<Client, AddressError> {
            Client::open(address.connection_info(protocol)?).map_err(AddressError::from_client)
        };
        let (resp3, resp2) = (client(ProtocolVersion::RESP3)?, client(ProtocolVersion::RESP2)?);
        let server = connection::Server { address: address.to_string(), options, resp3, resp2 };
        Ok(Self { server: Arc::new(server) })
    }
}

impl Store for RedisStore {
    fn connect(&self, session: SessionId, events: UnboundedSender<LinkEvent>) -> Connecting {
        let server = Arc::clone(&self.server);
        Box::pin(async move {
            let (link, info) = connection::open(server, session, events).await?;
            Ok((Box::new(link) as Box<dyn Link>, info))
        })
    }

    fn address(&self) -> String {
        self.server.address.clone()
    }
}
