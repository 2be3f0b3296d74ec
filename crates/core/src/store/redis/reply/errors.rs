//! What it means that a call was refused: by the library, by the server, or by a script's word.
//!
//! Tells what was surely not executed from what isn't permitted, has no memory or can't be understood (R24, R29). What
//! is done about each is decided by the session.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::protocol::CallError;

/// What an error of the connection or of the server means for the call.
pub fn call_error(error: &RedisError) -> CallError {
    // As the server wrote it: the library puts a code that it has no name for in quotes.
    let text = match (error.kind(), error.code()) {
        (ErrorKind::Extension, Some(code)) => format!("{code} {}", error.detail().unwrap_or_default()),
        _ => error.to_string(),
    };
    if let ErrorKind::Server(kind) = error.kind() {
        let surely_not = match kind {
            ServerErrorKind::NoScript
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask => true,
            ServerErrorKind::NoPerm => return CallError::Denied(text),
            _ => false,
        };
        if surely_not {
            // In the server's own words: the session and a cluster's link read them.
            let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
            return CallError::NotExecuted(format!("{code} {detail}"));
        }
    }
    of_text(text)
}

/// What a refusal means to who takes the server for one that is by itself: it can't be asked again where another member
/// of its cluster has the keys.
pub(in crate::store::redis) fn outside_a_cluster(error: CallError) -> CallError {
    match error {
        CallError::NotExecuted(words) if words.starts_with("MOVED ") || words.starts_with("ASK ") => {
            CallError::Denied(format!(
                "{words}: the server is a member of a Redis Cluster, and another member has this key. Write \
                 redis+cluster://host:port, or cluster: ['host:port'], or give a client of the whole cluster"
            ))
        }
        error => error,
    }
}

pub(super) fn garbage(what: &str) -> CallError {
    CallError::Garbage(what.to_owned())
}

pub(super) fn refusal(word: &str, text: String) -> CallError {
    match word {
        "stale" => CallError::Stale,
        "wrongtype" => CallError::Unusable(text),
        "version" => {
            CallError::Unusable(format!("the group is laid out in version {text}, this program knows 1"))
        }
        "failed" => of_text(text),
        _ => garbage("a word that this version doesn't understand"),
    }
}

/// Texts differ between versions, and inside a script some come wrapped in another (R24): hence no prefix match.
fn of_text(text: String) -> CallError {
    const NOT_EXECUTED: [&str; 11] = [
        "NOSCRIPT",
        "READONLY",
        "LOADING",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "BUSY ",
        "MISCONF",
        "NOREPLICAS",
        "MOVED ",
        "ASK ",
    ];
    const DENIED: [&str; 6] = [
        "NOPERM",
        "NOAUTH",
        "unknown command",
        "Unknown Redis command",
        "can't run this command",
        "permissions",
    ];
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["WRONGTYPE"]) {
        CallError::Unusable(text)
    } else if has(&["OOM "]) {
        CallError::OutOfMemory(text)
    } else if has(&NOT_EXECUTED) {
        CallError::NotExecuted(text)
    } else if has(&DENIED) {
        CallError::Denied(text)
    } else {
        CallError::Garbage(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_busy_or_full_is_told_by_the_code_of_its_error() {
        let told = |code: &str| {
            call_error(&redis::make_extension_error(code.to_owned(), Some("as it says".to_owned())))
        };
        for code in ["BUSY", "MISCONF", "NOREPLICAS"] {
            assert_eq!(told(code), CallError::NotExecuted(format!("{code} as it says")));
        }
        assert_eq!(told("OOM"), CallError::OutOfMemory("OOM as it says".to_owned()));
    }

    #[test]
    fn an_error_is_told_by_its_words_wherever_they_stand() {
        let inside = "ERR Error running script (call to f_1): @user_script:7: -OOM command not allowed when used memory";
        assert!(matches!(of_text(inside.to_owned()), CallError::OutOfMemory(_)));
        assert!(matches!(of_text("ERR x: -READONLY You can't write".to_owned()), CallError::NotExecuted(_)));
        assert!(matches!(of_text("NOPERM this user has no permissions".to_owned()), CallError::Denied(_)));
        assert!(matches!(of_text("ERR something else".to_owned()), CallError::Garbage(_)));
    }
}
