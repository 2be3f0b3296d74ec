//! Groups in a Redis server.
//!
//! It has no rule and remembers nothing between links. `library`, `keys` and `reply` write and read the protocol.
//! `server`, `sentinel`, `address` and `tls` find and reach the server, `login` has the credentials. `connection` opens
//! a link, `attempts` bounds a hanging one, `progress` is what it waits for, `about` what the server tells of itself.
//! `link` is an open link, `bundle` decides which calls go together. `push`, `list` and `replicas` are other uses of a
//! server, `cluster` is many servers as one, `transport` a client of the user's.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use self::server::Server;
use super::{Connecting, Link, LinkEvent, Replicas, Store};
use crate::config::Options;
use crate::error::Error;
use crate::lease::SessionId;

mod about;
mod address;
mod attempts;
mod bundle;
mod cluster;
mod connection;
mod doubt;
pub mod keys;
pub mod library;
mod link;
mod list;
mod login;
mod names;
mod overheard;
mod progress;
mod push;
mod replicas;
pub mod reply;
mod sentinel;
mod server;
mod task;
mod tls;
mod transport;

pub use cluster::ClusterStore;
pub use transport::TransportStore;

/// Groups in one Redis server.
pub struct RedisStore {
    server: Arc<Server>,
}

impl RedisStore {
    /// A store that will connect to the options' server; connects to nothing yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        Ok(Self { server: Arc::new(Server::new(options.resolved()?)?) })
    }
}

impl Store for RedisStore {
    fn connect(&self, session: SessionId, events: UnboundedSender<LinkEvent>) -> Connecting {
        let server = Arc::clone(&self.server);
        Box::pin(async move {
            server.progress.begin();
            let (link, info) = connection::open(server, session, events).await?;
            Ok((Box::new(link) as Box<dyn Link>, info))
        })
    }

    fn address(&self) -> String {
        self.server.address.clone()
    }

    fn waits_for(&self) -> Option<String> {
        self.server.progress.waits_for()
    }

    fn replicas(&self) -> Option<Box<dyn Replicas>> {
        let wanted = self.server.options.min_replicas > 0;
        wanted.then(|| Box::new(replicas::Wait::new(Arc::clone(&self.server))) as Box<dyn Replicas>)
    }
}
