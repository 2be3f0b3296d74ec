//! The credentials for servers and sentinels: from the options, or asked of the program whenever a link opens.
//!
//! They are asked for once per link, for all its attempts and connections. The caller bounds the time.

use redis::{ProtocolVersion, RedisConnectionInfo};

use crate::config::{Access, Credential, Secret};

/// The protocol of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Resp3,
    Resp2,
    /// RESP2, with only the necessary commands: some proxies close the connection at an unknown command.
    Bare,
}

/// User and password, known.
#[derive(Clone)]
pub(super) struct Login {
    username: Option<Secret>,
    password: Option<Secret>,
}

/// What the credentials are called in errors.
pub(super) struct Names {
    username: &'static str,
    password: &'static str,
}

/// Those of a server.
pub(super) const SERVER: Names = Names { username: "username", password: "password" };

/// Those of the sentinels.
pub(super) const SENTINEL: Names = Names { username: "sentinel.username", password: "sentinel.password" };

impl Login {
    /// The credentials for this access; the error is a text for people.
    pub(super) async fn of(access: &Access, names: &Names) -> Result<Self, String> {
        Ok(Self {
            username: known(access.username.as_ref(), names.username).await?,
            password: known(access.password.as_ref(), names.password).await?,
        })
    }

    /// As the client library takes them.
    pub(super) fn with(&self, db: u32, speech: Speech) -> RedisConnectionInfo {
        let login = RedisConnectionInfo::default().set_db(i64::from(db));
        let login = match speech {
            Speech::Resp3 => login.set_protocol(ProtocolVersion::RESP3),
            Speech::Resp2 | Speech::Bare => login.set_protocol(ProtocolVersion::RESP2),
        };
        let mut login = match speech {
            Speech::Bare => login.set_skip_set_lib_name(),
            _ => login.set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        };
        if let Some(username) = &self.username {
            login = login.set_username(username.reveal());
        }
        if let Some(password) = &self.password {
            login = login.set_password(password.reveal());
        }
        login
    }
}

async fn known(credential: Option<&Credential>, name: &str) -> Result<Option<Secret>, String> {
    match credential {
        None => Ok(None),
        Some(Credential::Given(secret)) => Ok(Some(secret.clone())),
        Some(Credential::Asked(asked)) => {
            let answer = asked.ask("").await;
            answer
                .map(|text| Some(Secret::new(text)))
                .map_err(|why| format!("{name} couldn't be asked for: {why}"))
        }
    }
}
