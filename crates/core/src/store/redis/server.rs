//! One server, wherever it is: how to open a connection to it, asking the sentinels first where they know it.
//!
//! It doesn't try again and keeps no connection: a failed-over primary is found because every connect asks anew, and
//! because an open link is watched beside the sentinels' words.

use std::sync::Arc;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisResult, Value};
use tokio::sync::watch;

use super::about::Loading;
use super::address::{self, Socket};
use super::link::{Flow, Task};
use super::overheard::{FirstLine, Overheard};
use super::sentinel::Sentinels;
use super::sentinel::watch::{self as switches, Doubt};
use super::tls::{self, Secure};
use crate::config::{Access, Address, Options, Place};
use crate::error::Error;

/// A server, and how to speak with it.
pub(super) struct Server {
    pub(super) options: Options,
    /// For people; without password.
    pub(super) address: String,
    /// It is a member of a cluster, where a publication reaches more than it counts (R18).
    pub(super) cluster: bool,
    to: To,
    secure: Option<Secure>,
    /// Which server process the newest link leads to, where it says so.
    met: watch::Sender<Option<String>>,
    pub(super) loading: Arc<Loading>,
    /// Raised when what the server says makes it doubtful whether it's still the primary.
    pub(super) doubt: Doubt,
}

enum To {
    Address(Address),
    Master(Arc<Sentinels>),
}

/// A connection that is logged in.
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    /// Drives it: the connection ends with it.
    pub(super) driver: Task,
    /// Where it leads.
    pub(super) at: Address,
}

impl Server {
    /// Takes resolved options.
    pub(super) fn new(options: Options) -> Result<Self, Error> {
        let secure = |access: &Access, names: &'static tls::Names| -> Result<Option<Secure>, Error> {
            access.tls.as_ref().map(|tls| Secure::new(tls, names)).transpose()
        };
        let (to, secure) = match &options.place {
            Place::Server { address, access, .. } => {
                (To::Address(address.clone()), secure(access, &tls::SERVER)?)
            }
            Place::Sentinel { name, nodes, sentinels, access, .. } => {
                let secured = secure(sentinels, &tls::SENTINEL)?;
                let sentinels =
                    Sentinels::new(name.clone(), nodes.clone(), sentinels.clone(), secured, &options);
                (To::Master(Arc::new(sentinels)), secure(access, &tls::SERVER)?)
            }
            other => {
                return Err(Error::Config {
                    option: "url",
                    given: other.to_string(),
                    expected: "one server or sentinels".into(),
                });
            }
        };
        let address = options.place.to_string();
        let (met, doubt) = (watch::Sender::new(None), Doubt::new());
        Ok(Self { options, address, cluster: false, to, secure, met, loading: Arc::default(), doubt })
    }

    /// A connection that is logged in.
    pub(super) async fn connect(
        &self,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Connected> {
        let sentinels = match &self.to {
            To::Address(address) => return self.log_in(address.clone(), protocol, config).await,
            To::Master(sentinels) => sentinels,
        };
        let at = sentinels.primary().await?;
        let mut connected = self.log_in(Address::Tcp(at.clone()), protocol, config).await?;
        must_be_master(&mut connected.connection).await?;
        // An attempt that hung for long may be done after the primary was found to be another.
        if !sentinels.still_name(&at) {
            let kind = ErrorKind::MasterNameNotFoundBySentinel;
            return Err((kind, "the sentinels have named another master meanwhile").into());
        }
        Ok(connected)
    }

    async fn log_in(
        &self,
        at: Address,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Connected> {
        let first = FirstLine::default();
        let socket = Overheard::new(self.socket(&at).await?, first.clone());
        let login = self.login(protocol);
        let opened = MultiplexedConnection::new_with_config(&login, socket, config).await;
        let (connection, driver) = opened.map_err(|error| first.explain(error))?;
        Ok(Connected { connection, driver: Task::spawn(driver), at })
    }

    /// A connection for pushes alone, in RESP2, to where another one leads already.
    pub(super) async fn subscriber(&self, at: &Address) -> RedisResult<PubSub> {
        PubSub::new(&self.login(ProtocolVersion::RESP2), self.socket(at).await?).await
    }

    /// What ends an open link when the primary isn't there any more, though it still answers.
    pub(super) fn watch(&self, at: &Address, flow: &Arc<Flow>) -> Vec<Task> {
        match (&self.to, at) {
            (To::Master(sentinels), Address::Tcp(at)) => switches::start(sentinels, &self.doubt, at, flow),
            _ => Vec::new(),
        }
    }

    /// Remembers which server process a new link leads to.
    pub(super) fn met(&self, run_id: Option<String>) {
        self.met.send_replace(run_id);
    }

    /// Whether this is the server process that the newest link leads to, as far as both are known.
    pub(super) fn is_met(&self, run_id: Option<&str>) -> bool {
        is_same(self.met.borrow().as_deref(), run_id)
    }

    /// Resolves when the newest link leads to another server process than this.
    pub(super) async fn met_another(&self, run_id: Option<&str>) {
        // It ends with this server, which whoever waits has.
        let _ = self.met.subscribe().wait_for(|met| !is_same(met.as_deref(), run_id)).await;
    }

    async fn socket(&self, at: &Address) -> RedisResult<Socket> {
        Ok(address::open(at, self.secure.as_ref()).await?)
    }

    fn login(&self, protocol: ProtocolVersion) -> redis::RedisConnectionInfo {
        match &self.options.place {
            Place::Server { db, access, .. } | Place::Sentinel { db, access, .. } => {
                address::login(access, *db, protocol)
            }
            _ => redis::RedisConnectionInfo::default(),
        }
    }
}

fn is_same(met: Option<&str>, other: Option<&str>) -> bool {
    met.zip(other).is_none_or(|(met, other)| met == other)
}

/// Sentinels may be behind: whom they still call the master may be a replica by now. Where asking isn't permitted, the
/// first call finds out.
async fn must_be_master(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let role = connection.send_packed_command(&redis::cmd("ROLE")).await;
    match role.as_ref().ok().and_then(|role| role.as_sequence()).and_then(|role| role.first()) {
        Some(Value::BulkString(role)) if role != b"master" => Err((
            ErrorKind::MasterNameNotFoundBySentinel,
            "whom the sentinels call the master says that it's a replica",
        )
            .into()),
        _ => Ok(()),
    }
}
