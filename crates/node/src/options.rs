//! The options of a connection, as they come from JavaScript and as the core takes them.
//!
//! JavaScript has checked each member; the core checks which of them go together. A number instead of a text or a table
//! stands for a function of the user's.

use std::sync::OnceLock;

use concurrency_limit::config::{
    Asked, Credential, NatMap, OnUnavailable, Options, Parts, Place, Roots, SentinelParts, Tls,
};
use concurrency_limit::error::Error;
use concurrency_limit::lease::Identity;
use concurrency_limit::transport::SharedTransport;
use napi::Either;
use napi_derive::napi;

use crate::lengths::length;

/// The options of a connection; JavaScript has checked the members.
#[napi(object)]
pub struct ConnectionOptions {
    /// The address, as a URL. Each of the options below is used instead of the same part of it.
    pub url: Option<String>,
    /// Host name or IP address.
    pub host: Option<String>,
    /// TCP port.
    pub port: Option<u32>,
    /// Path of a Unix socket.
    pub path: Option<String>,
    /// Number of the database.
    pub db: Option<u32>,
    /// User name.
    pub username: Option<Either<String, u32>>,
    /// Password.
    pub password: Option<Either<String, u32>>,
    /// TLS.
    pub tls: Option<TlsOptions>,
    /// Members of a cluster: `host:port` each.
    pub cluster: Option<Vec<String>>,
    /// Sentinels.
    pub sentinel: Option<SentinelOptions>,
    /// Announced addresses and where they are reached: pairs of `host:port`.
    pub nat_map: Option<Either<Vec<Vec<String>>, u32>>,
    /// Number of a client transport.
    pub client: Option<u32>,
    /// Most connections at once.
    pub max_connections: Option<u32>,
    /// How many replicas must have a grant.
    pub min_replicas: u32,
    /// Milliseconds.
    pub replica_timeout_ms: f64,
    /// Milliseconds.
    pub connect_timeout_ms: f64,
    /// Milliseconds.
    pub command_timeout_ms: f64,
    /// `CLIENT SETNAME`.
    pub client_name: Option<String>,
    /// How other processes see this one.
    pub identity: Option<IdentityOptions>,
    /// The prefix of all keys.
    pub key_prefix: String,
    /// Milliseconds.
    pub settle_ms: f64,
    /// Milliseconds; without it, leases are renewed even while the event loop stands still.
    pub stall_timeout_ms: Option<f64>,
    /// `reject`, `allow` or `local`.
    pub on_unavailable: String,
    /// Milliseconds: how long `allow` or `local` lasts.
    pub unavailable_timeout_ms: f64,
}

/// Which process this is.
#[napi(object)]
pub struct IdentityOptions {
    /// The host's name.
    pub host: Option<String>,
    /// The process id.
    pub pid: u32,
    /// What it runs.
    pub program: Option<String>,
    /// Whether an option named the program. Otherwise the first environment of the process names it for all of them, so
    /// that their clients share a session.
    pub is_named: bool,
}

/// TLS; JavaScript has checked the members.
#[napi(object)]
pub struct TlsOptions {
    /// Whether it is used.
    pub is_on: bool,
    /// Trusted certificates instead of all others, PEM.
    pub ca: Option<String>,
    /// The process's own roots, PEM: instead of the built-in ones, or in addition to them.
    pub process_ca: Option<String>,
    /// Whether only `process_ca` is trusted.
    pub process_ca_only: bool,
    /// Our certificate, PEM.
    pub cert: Option<String>,
    /// Our key, PEM.
    pub key: Option<String>,
    /// The name that the certificate must carry.
    pub servername: Option<String>,
    /// Whether it must be verified.
    pub reject_unauthorized: bool,
}

/// Sentinels; JavaScript has checked the members.
#[napi(object)]
pub struct SentinelOptions {
    /// The master's name.
    pub name: Option<String>,
    /// `host:port` each.
    pub nodes: Option<Vec<String>>,
    /// User name for the sentinels.
    pub username: Option<Either<String, u32>>,
    /// Password for the sentinels.
    pub password: Option<Either<String, u32>>,
    /// TLS to the sentinels.
    pub tls: Option<TlsOptions>,
}

/// The options as the core takes them, with the client transport and the functions instead of their numbers. An error
/// if they don't go together.
pub(crate) fn core_options(
    options: ConnectionOptions,
    client: Option<SharedTransport>,
    function: &mut dyn FnMut(u32) -> Asked,
) -> Result<Options, Error> {
    let mut credential = |given: Option<Either<String, u32>>| {
        given.map(|given| match given {
            Either::A(text) => Credential::from(text),
            Either::B(number) => Credential::Asked(function(number)),
        })
    };
    let bound = length(options.unavailable_timeout_ms);
    let on_unavailable = match options.on_unavailable.as_str() {
        "allow" => OnUnavailable::Allow(bound),
        "local" => OnUnavailable::Local(bound),
        _ => OnUnavailable::Reject,
    };
    let parts = Parts {
        host: options.host,
        port: options.port.map(|port| port as u16),
        path: options.path,
        db: options.db,
        username: credential(options.username),
        password: credential(options.password),
        tls: options.tls.map(core_tls),
        cluster: options.cluster,
        sentinel: options.sentinel.map(|sentinel| SentinelParts {
            name: sentinel.name,
            nodes: sentinel.nodes,
            username: credential(sentinel.username),
            password: credential(sentinel.password),
            tls: sentinel.tls.map(core_tls),
        }),
        client,
    };
    let nat_map = options.nat_map.map(|map| match map {
        Either::A(rows) => nat_table(rows),
        Either::B(number) => Ok(NatMap::Asked(function(number))),
    });
    Ok(Options {
        nat_map: nat_map.transpose()?,
        place: Place::read(options.url.as_deref(), parts)?,
        connect_timeout: length(options.connect_timeout_ms),
        command_timeout: length(options.command_timeout_ms),
        client_name: options.client_name,
        identity: options.identity.map(core_identity),
        key_prefix: options.key_prefix,
        settle: length(options.settle_ms),
        on_unavailable,
        min_replicas: options.min_replicas,
        replica_timeout: length(options.replica_timeout_ms),
        max_connections: options.max_connections,
    })
}

fn core_identity(given: IdentityOptions) -> Identity {
    static PROGRAM: OnceLock<Option<String>> = OnceLock::new();
    let IdentityOptions { host, pid, program, is_named } = given;
    let program = if is_named { &program } else { PROGRAM.get_or_init(|| program) };
    Identity::new(host.as_deref(), pid, program.as_deref())
}

fn nat_table(rows: Vec<Vec<String>>) -> Result<NatMap, Error> {
    let pairs = rows.into_iter().filter_map(|row| <[String; 2]>::try_from(row).ok());
    NatMap::table(pairs.map(|[from, to]| (from, to))).map_err(|given| Error::Config {
        option: "natMap",
        given,
        expected: "addresses as host:port".into(),
    })
}

fn core_tls(tls: TlsOptions) -> Option<Tls> {
    let TlsOptions { is_on, ca, process_ca, process_ca_only, cert, key, servername, reject_unauthorized } =
        tls;
    let roots = match process_ca {
        None => Roots::BuiltIn,
        Some(pem) if process_ca_only => Roots::Only(pem),
        Some(pem) => Roots::BuiltInAnd(pem),
    };
    is_on.then_some(Tls { ca, roots, cert, key, servername, reject_unauthorized })
}
