//! One server, wherever it is: how to open a connection to it, asking the sentinels first where they know it.
//!
//! It doesn't retry and keeps no connection. A new primary is found because every connect asks the sentinels, and
//! because an open link is watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::watch;

use super::about::Loading;
use super::address::{self, Socket};
use super::doubt::Doubt;
use super::link::Flow;
use super::login::{self, Login, Speech};
use super::overheard::{FirstLine, Overheard};
use super::progress::Progress;
use super::sentinel::Sentinels;
use super::sentinel::watch as switches;
use super::task::Task;
use super::tls::{self, Secure};
use crate::config::{Access, Address, Node, Options, Place};
use crate::error::Error;

/// So often a greeting that is hung up on is tried; a server that just goes away does that, too.
const MOST_HANG_UPS: u32 = 2;

/// A server, and how to connect to it.
pub(super) struct Server {
    pub(super) options: Options,
    /// For people; without password.
    pub(super) address: String,
    /// It is a member of a cluster, where a publication reaches more than it counts (R18).
    pub(super) cluster: bool,
    to: To,
    /// Who announced its address, where the options don't say it.
    announced_by: Option<String>,
    secure: Option<Secure>,
    /// Which server process the newest link leads to, where it says so.
    met: watch::Sender<Option<String>>,
    pub(super) loading: Arc<Loading>,
    pub(super) progress: Arc<Progress>,
    /// How often in a row it has let us in and hung up on the greeting.
    hang_ups: AtomicU32,
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
    /// Its driver: the connection ends with it.
    pub(super) driver: Task,
    /// Where it leads, as it's announced.
    pub(super) at: Address,
    pub(super) reached: Reached,
    /// How the other end began.
    pub(super) first: FirstLine,
}

/// Where a server is reached, and how it was spoken with.
#[derive(Clone)]
pub(super) struct Reached {
    address: Address,
    speech: Speech,
}

/// Who we are to the server, and to the sentinels where there are any.
pub(super) struct Who {
    server: Login,
    sentinels: Option<Login>,
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
        let (loading, progress) = (Arc::default(), Arc::default());
        Ok(Self {
            options,
            address,
            cluster: false,
            to,
            announced_by: None,
            secure,
            met,
            loading,
            progress,
            hang_ups: AtomicU32::new(0),
            doubt,
        })
    }

    /// The same server as a member of a cluster, and who said that it is one, if the options don't.
    pub(super) fn of_cluster(self, announced_by: Option<&Node>) -> Self {
        Self { cluster: true, announced_by: announced_by.map(Node::to_string), ..self }
    }

    /// Who we are to it, for one link and all attempts at it. The error says in words for people why that isn't known.
    pub(super) async fn who(&self) -> Result<Who, String> {
        let (server, sentinels) = match &self.options.place {
            Place::Server { access, .. } => (access, None),
            Place::Sentinel { access, sentinels, .. } => (access, Some(sentinels)),
            _ => return Err("it has no address".to_owned()),
        };
        let sentinels = match sentinels {
            Some(access) => Some(Login::of(access, &login::SENTINEL).await?),
            None => None,
        };
        Ok(Who { server: Login::of(server, &login::SERVER).await?, sentinels })
    }

    /// Whether TLS is spoken to it.
    pub(super) fn is_secure(&self) -> bool {
        self.secure.is_some()
    }

    /// What helps where nothing answers at an address that somebody announced.
    pub(super) fn nat_hint(&self) -> &'static str {
        match self.announced_by.is_some() || self.progress.waits_for().is_some() {
            true => "; if it is reached under another address, give that as natMap",
            false => "",
        }
    }

    /// What can't be connected to, for errors: an address that somebody announced with its source.
    pub(super) fn place(&self) -> String {
        let announced = || match (&self.to, &self.announced_by) {
            (To::Address(Address::Tcp(node)), Some(by)) => Some(format!("{node} (announced by {by})")),
            _ => None,
        };
        self.progress.waits_for().or_else(announced).unwrap_or_else(|| self.address.clone())
    }

    /// A connection that is logged in.
    pub(super) async fn connect(
        &self,
        who: &Who,
        speech: Speech,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Connected> {
        let (sentinels, login) = match (&self.to, &who.sentinels) {
            (To::Address(address), _) => {
                let by = self.announced_by.as_deref();
                return self.log_in(who, address.clone(), by, speech, config).await;
            }
            (To::Master(sentinels), Some(login)) => (sentinels, login),
            (To::Master(_), None) => unreachable!("who knows as much as the place"),
        };
        let (at, by) = sentinels.primary(login).await?;
        let address = Address::Tcp(at.clone());
        let mut connected = self.log_in(who, address, Some(&by), speech, config).await?;
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
        who: &Who,
        at: Address,
        by: Option<&str>,
        speech: Speech,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Connected> {
        let address = self.reached(&at, by).await?;
        let first = FirstLine::default();
        let socket = Overheard::new(self.socket(&address).await?, first.clone());
        let login = self.login(who, speech);
        let opened = MultiplexedConnection::new_with_config(&login, socket, config).await;
        let (connection, driver) = opened.map_err(|error| first.explain(error, self.is_secure()))?;
        let reached = Reached { address, speech };
        Ok(Connected { connection, driver: Task::spawn(driver), at, reached, first })
    }

    /// Where an address is reached that was announced by somebody; one of the options' is what it says.
    async fn reached(&self, at: &Address, by: Option<&str>) -> RedisResult<Address> {
        let (Address::Tcp(node), Some(by)) = (at, by) else { return Ok(at.clone()) };
        let announced = format!("{node} (announced by {by})");
        self.progress.wait_for(&announced);
        let Some(map) = &self.options.nat_map else { return Ok(at.clone()) };
        let unknown = |why: String| {
            RedisError::from((ErrorKind::Client, "natMap", format!("couldn't be asked about {node}: {why}")))
        };
        let reached = map.reach(node).await.map_err(unknown)?;
        if reached != *node {
            let told = format!("{reached} (by natMap; {by} announced {node})");
            self.progress.wait_instead(&announced, &told);
        }
        Ok(Address::Tcp(reached))
    }

    /// A connection for pushes alone, in RESP2, to where another one leads already.
    pub(super) async fn subscriber(&self, who: &Who, to: &Reached) -> RedisResult<PubSub> {
        let Reached { address: reached, speech } = to;
        PubSub::new(&self.login(who, *speech), self.socket(reached).await?).await
    }

    /// What ends an open link when the primary isn't there any more, though it still answers.
    pub(super) fn watch(&self, at: &Address, flow: &Arc<Flow>) -> Vec<Task> {
        match (&self.to, at) {
            (To::Master(sentinels), Address::Tcp(at)) => switches::start(sentinels, &self.doubt, at, flow),
            _ => Vec::new(),
        }
    }

    /// Whether it's greeted only as far as it must be.
    pub(super) fn is_bare(&self) -> bool {
        self.hang_ups.load(Ordering::Relaxed) >= MOST_HANG_UPS
    }

    /// It let us in, and hung up on the greeting.
    pub(super) fn note_hang_up(&self) {
        self.hang_ups.fetch_add(1, Ordering::Relaxed);
    }

    /// The greeting is through. A bare one proves nothing: the next is tried whole once more.
    pub(super) fn note_greeting(&self) {
        let left = if self.is_bare() { MOST_HANG_UPS - 1 } else { 0 };
        self.hang_ups.store(left, Ordering::Relaxed);
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

    fn login(&self, who: &Who, speech: Speech) -> redis::RedisConnectionInfo {
        match &self.options.place {
            Place::Server { db, .. } | Place::Sentinel { db, .. } => who.server.with(*db, speech),
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
