//! The meaning of errors: of the client library, of the server, and of a script.
//!
//! It distinguishes: surely not executed, not permitted, out of memory, not understood (R24, R29). The session decides
//! what to do about each.

use redis::{RedisError, Value};

use crate::protocol::CallError;

/// What an error of the connection or of the server means for the call. What a server said is told in its own words:
/// the client library has names of its own for some codes, and puts others in quotes.
pub fn call_error(error: &RedisError) -> CallError {
    match (error.code(), error.detail()) {
        (Some(code), detail) => of_text(format!("{code} {}", detail.unwrap_or_default())),
        (None, _) => of_text(error.to_string()),
    }
}

/// What a refusal means to who takes the server for one that is by itself: it can't be asked again where another member
/// of its cluster has the keys.
pub(in crate::store::redis) fn outside_a_cluster(error: CallError) -> CallError {
    match error {
        CallError::NotExecuted(words) if is_redirection(&words) => CallError::Denied(format!(
            "{words}: the server is a member of a Redis Cluster, and another member has this key. Write \
                 redis+cluster://host:port, or cluster: ['host:port'], or give a client of the whole cluster"
        )),
        error => error,
    }
}

/// The words in which the server says that it doesn't know any more who is at the other end. (To a command of more than
/// ten words it says so by a protocol error, and hangs up.)
pub(in crate::store::redis) fn logged_out(reply: &Value) -> Option<String> {
    let Value::ServerError(error) = reply else { return None };
    let (code, words) = (error.code(), error.details().unwrap_or_default());
    let told = ["NOAUTH", "WRONGPASS"].contains(&code) || words.contains("Protocol error: unauthenticated");
    told.then(|| format!("{code} {words}"))
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

/// Texts differ between versions, and a script may wrap an error in another one (R24): so prefixes aren't compared.
fn of_text(text: String) -> CallError {
    const NOT_EXECUTED: [&str; 9] = [
        "NOSCRIPT",
        "READONLY",
        "LOADING",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "BUSY ",
        "MISCONF",
        "NOREPLICAS",
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
    } else if has(&NOT_EXECUTED) || is_redirection(&text) {
        CallError::NotExecuted(text)
    } else if has(&DENIED) {
        CallError::Denied(text)
    } else {
        CallError::Garbage(text)
    }
}

/// Whether another member of the cluster has to be asked.
fn is_redirection(text: &str) -> bool {
    let words = text.split(|sign: char| !sign.is_ascii_alphanumeric());
    let mut pairs = words.clone().zip(words.skip(1));
    pairs.any(|(word, slot)| {
        let redirects = ["MOVED", "ASK"].iter().any(|code| word.eq_ignore_ascii_case(code));
        redirects && slot.parse::<u16>().is_ok()
    })
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
        for moved in ["MOVED 7 h:1", "moved 7 h:1", "ERR x: -ASK 16000 10.0.0.1:7000"] {
            assert!(matches!(of_text(moved.to_owned()), CallError::NotExecuted(_)), "{moved}");
            let told = outside_a_cluster(CallError::NotExecuted(moved.to_owned()));
            assert!(matches!(told, CallError::Denied(_)), "{moved}");
        }
        assert!(matches!(of_text("ERR it was moved".to_owned()), CallError::Garbage(_)));
        assert!(matches!(of_text("NOPERM this user has no permissions".to_owned()), CallError::Denied(_)));
        assert!(matches!(of_text("ERR something else".to_owned()), CallError::Garbage(_)));
    }
}
