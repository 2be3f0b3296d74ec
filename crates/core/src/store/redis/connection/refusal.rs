//! What it means that a link couldn't be opened: in words for people, whether trying again may help, and what may be
//! tried instead.
//!
//! Reads errors and opens nothing.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::ConnectError;
use crate::store::redis::overheard::{HUNG_UP, SPEAKS_TLS};
use crate::store::redis::server::Server;
use crate::store::redis::tls::is_lasting;

/// Nobody said anything in time.
pub(super) fn silent(server: &Server, limit: Duration) -> ConnectError {
    let hint = server.nat_hint();
    ConnectError::silent(format!("cannot connect to {}: no answer within {limit:?}{hint}", server.place()))
}

/// What it means that an attempt at this server failed. Whoever was let in before may be let in again, once what is
/// being changed there is changed here, too.
pub(in crate::store::redis) fn refused(server: &Server, error: &RedisError) -> ConnectError {
    server.loading.note(error);
    let named_by_sentinels = error.kind() == ErrorKind::MasterNameNotFoundBySentinel;
    let place = if named_by_sentinels { server.address.clone() } else { server.place() };
    let mut why = refusal(&place, error);
    if !why.answered && error.is_io_error() {
        why.message += server.nat_hint();
    }
    if is_about_us(error) && server.progress.has_connected() {
        why.fatal = false;
        why.warning = server.progress.news(&why.message);
    }
    why
}

/// The server was understood, and can't be used.
pub(in crate::store::redis) fn unfit(message: String) -> RedisError {
    (ErrorKind::InvalidClientConfig, "the server can't be used", message).into()
}

/// Whether the server, or something in front of it, may be one that can't do `HELLO 3`: it refused, for whatever reason
/// but one that RESP2 would meet, too, or it hung up.
pub(super) fn may_lack_resp3(error: &RedisError) -> bool {
    const OTHER_REASONS: [&str; 7] =
        ["WRONGPASS", "NOAUTH", "DENIED", "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN"];
    let refused = error.code().is_some_and(|code| !OTHER_REASONS.contains(&code));
    is_hang_up(error) || refused || error.kind() == ErrorKind::RESP3NotSupported
}

/// Whether the other end hung up after it had been reached.
pub(super) fn is_hang_up(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal() && !error.to_string().contains(HUNG_UP)
}

/// Whether the server doesn't do, or doesn't permit, something that can be gone without.
pub(super) fn is_dispensable(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default().to_ascii_lowercase();
    is_forbidden(error)
        || ["unknown", "unsupported", "not supported"].iter().any(|sign| detail.contains(sign))
}

pub(super) fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
}

/// Whether the server doesn't accept who we are.
fn is_about_us(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM" | "DENIED"))
        || error.kind() == ErrorKind::AuthenticationFailed
        || ["AUTH", "no password", "invalid password"].iter().any(|sign| detail.contains(sign))
}

/// Which errors without a code of their own come from the address or the options, and would come again.
fn is_our_fault(detail: &str) -> bool {
    ["DB index", "SELECT", "AUTH", "no password", "Client names", "unknown command", "cluster support"]
        .iter()
        .any(|sign| detail.contains(sign))
}

/// Says in words for people why there is no link, and whether it's worth trying again.
pub(in crate::store::redis) fn refusal(address: &str, error: &RedisError) -> ConnectError {
    // An "unknown command" goes on with the arguments, which may be a password.
    let detail = error.detail().unwrap_or_default().split(", with args").next().unwrap_or_default();
    let (why, fatal) = match (error.kind(), error.code()) {
        (_, Some(code @ "WRONGPASS")) => {
            (format!("the user name or password was refused: {code} {detail}"), true)
        }
        (ErrorKind::AuthenticationFailed, _) if !detail.is_empty() => {
            (format!("the user name or password was refused: {detail}"), true)
        }
        (ErrorKind::AuthenticationFailed, _) => ("the user name or password was refused".to_owned(), true),
        (ErrorKind::Parse, _) => ("what answers there doesn't speak the protocol of Redis".to_owned(), true),
        (ErrorKind::InvalidClientConfig, _) => (detail.to_owned(), true),
        (_, Some(code @ "NOAUTH")) => (format!("the server wants a password: {code} {detail}"), true),
        (_, Some(code @ ("NOPERM" | "DENIED"))) => (format!("{code} {detail}"), true),
        (_, Some("ERR")) => (detail.to_owned(), is_our_fault(detail)),
        (_, Some(code)) => (format!("{code} {detail}"), false),
        _ => (error.to_string(), is_lasting(&error.to_string()) || error.to_string().contains(SPEAKS_TLS)),
    };
    let answered = error.code().is_some()
        || error.to_string().contains(HUNG_UP)
        || matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig);
    let message = format!("cannot connect to {address}: {why}");
    ConnectError { message, fatal, answered, warning: None }
}
