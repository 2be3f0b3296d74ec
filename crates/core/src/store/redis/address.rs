//! A server's address, and who we are to it, as the client library takes them.

use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

use crate::config::{Access, Address, Place};
use crate::error::Error;

/// How long a connection is silent before the kernel probes it: a dead one is noticed after 25 s even if nothing is asked.
const SILENCE: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// The place as the client library takes it.
pub(super) fn connection_info(place: &Place, protocol: ProtocolVersion) -> Result<ConnectionInfo, Error> {
    let refused =
        |expected: &str| Error::Config { option: "url", given: place.to_string(), expected: expected.into() };
    let Place::Server { address, db, access: access @ Access { tls: None, .. } } = place else {
        return Err(refused("one server without TLS: anything else isn't supported yet"));
    };
    let address = match address {
        Address::Tcp(node) => ConnectionAddr::Tcp(node.host.clone(), node.port),
        Address::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    let info = address.into_connection_info().map_err(|error| refused(&error.to_string()))?;
    Ok(info.set_tcp_settings(tcp()).set_redis_settings(login(access, *db, protocol)))
}

/// Who we are.
pub(super) fn login(access: &Access, db: u32, protocol: ProtocolVersion) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default()
        .set_db(i64::from(db))
        .set_protocol(protocol)
        .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    if let Some(username) = &access.username {
        login = login.set_username(username);
    }
    if let Some(password) = &access.password {
        login = login.set_password(password.reveal());
    }
    login
}

fn tcp() -> TcpSettings {
    let keep_alive =
        TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    TcpSettings::default().set_nodelay(true).set_keepalive(keep_alive)
}
