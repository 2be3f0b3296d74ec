//! One server, wherever it is: how to open a connection to it, asking the sentinels first where they know it.
//!
//! It doesn't try again and keeps no connection: a failed-over primary is found because every connect asks anew.

use std::sync::{Mutex, PoisonError};

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisResult, Value};

use super::address::{self, Socket};
use super::link::Task;
use super::sentinel::Sentinels;
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
    run_id: Mutex<Option<String>>,
}

enum To {
    Address(Address),
    Master(Box<Sentinels>),
}

impl Server {
    /// Takes resolved options.
    pub(super) fn new(options: Options) -> Result<Self, Error> {
        let secure = |access: &Access, names| -> Result<Option<Secure>, Error> {
            access.tls.as_ref().map(|tls| Secure::new(tls, names)).transpose()
        };
        let (to, secure) = match &options.place {
            Place::Server { address, access, .. } => {
                (To::Address(address.clone()), secure(access, &tls::SERVER)?)
            }
            Place::Sentinel { name, nodes, sentinels, access, .. } => {
                let secured = secure(sentinels, &tls::SENTINEL)?;
                let timeout = options.connect_timeout;
                let sentinels =
                    Sentinels::new(name.clone(), nodes.clone(), sentinels.clone(), secured, timeout);
                (To::Master(Box::new(sentinels)), secure(access, &tls::SERVER)?)
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
        Ok(Self { options, address, cluster: false, to, secure, run_id: Mutex::default() })
    }

    /// A connection that is logged in, and the task that drives it: the connection ends with it.
    pub(super) async fn connect(
        &self,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
    ) -> RedisResult<(MultiplexedConnection, Task)> {
        let To::Master(sentinels) = &self.to else { return self.log_in(protocol, config).await };
        let (mut connection, driver) = self.log_in(protocol, config).await?;
        must_be_master(&mut connection).await?;
        sentinels.believe();
        Ok((connection, driver))
    }

    async fn log_in(
        &self,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
    ) -> RedisResult<(MultiplexedConnection, Task)> {
        let socket = self.socket().await?;
        let login = self.login(protocol);
        let (connection, driver) = MultiplexedConnection::new_with_config(&login, socket, config).await?;
        Ok((connection, Task::spawn(driver)))
    }

    /// A connection for pushes alone, in RESP2.
    pub(super) async fn subscriber(&self) -> RedisResult<PubSub> {
        PubSub::new(&self.login(ProtocolVersion::RESP2), self.socket().await?).await
    }

    /// Remembers which server process a new link leads to.
    pub(super) fn met(&self, run_id: Option<String>) {
        *self.run_id.lock().unwrap_or_else(PoisonError::into_inner) = run_id;
    }

    /// Whether this is the server process that the newest link leads to, as far as both are known.
    pub(super) fn is_met(&self, run_id: Option<&str>) -> bool {
        let met = self.run_id.lock().unwrap_or_else(PoisonError::into_inner);
        met.as_deref().zip(run_id).is_none_or(|(met, other)| met == other)
    }

    async fn socket(&self) -> RedisResult<Socket> {
        let found;
        let address = match &self.to {
            To::Address(address) => address,
            To::Master(sentinels) => {
                found = Address::Tcp(sentinels.master().await?);
                &found
            }
        };
        Ok(address::open(address, self.secure.as_ref()).await?)
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
