//! The list of groups: one page of `SCAN`, as users' keys.
//!
//! A page may be empty and a key may be listed twice, as with every `SCAN`. Only hashes with the name of a group are
//! listed. The server's pattern may match more than the user's, since escapes change lengths: each key is matched again
//! here.

use redis::{Cmd, Value};

use super::keys;
use crate::lease::Key;
use crate::protocol::CallError;
use crate::store::glob;

/// How many keys of the server one page covers.
const PAGE: usize = 500;

/// The command for one page.
pub(super) fn command(prefix: &str, pattern: &str, cursor: &str) -> Cmd {
    let mut command = redis::cmd("SCAN");
    command.arg(cursor).arg("MATCH").arg(widened(prefix, pattern));
    command.arg("COUNT").arg(PAGE).arg("TYPE").arg("hash");
    command
}

/// The server's answer to it.
pub(super) fn page(prefix: &str, pattern: &str, value: Value) -> Result<(Vec<Key>, String), CallError> {
    let (cursor, names): (String, Vec<Vec<u8>>) =
        redis::from_redis_value(value).map_err(|error| CallError::Garbage(error.to_string()))?;
    let fits = |key: &Key| glob::matches(pattern.as_bytes(), key.as_str().as_bytes());
    let keys = names.iter().filter_map(|name| keys::user_key(prefix, name)).filter(fits).collect();
    Ok((keys, cursor))
}

/// A pattern for names of groups that takes those of all keys that the user's pattern takes, and maybe more: what is
/// one byte to the user may be three in the name.
fn widened(prefix: &str, pattern: &str) -> Vec<u8> {
    let mut wide = Vec::new();
    push_literally(prefix.as_bytes(), &mut wide);
    wide.extend(b":{");
    for literal in glob::literals(pattern.as_bytes()) {
        match literal {
            Some(b'%') => wide.extend(b"%25"),
            Some(b'}') => wide.extend(b"%7D"),
            Some(byte) => push_literally(&[byte], &mut wide),
            None => wide.push(b'*'),
        }
    }
    wide.push(b'}');
    wide
}

fn push_literally(text: &[u8], pattern: &mut Vec<u8>) {
    for &byte in text {
        if b"*?[]\\".contains(&byte) {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_widened_pattern_takes_the_names_of_all_that_the_users_pattern_takes() {
        for (pattern, key) in
            [("a?b", "a%b"), ("a%b", "a%b"), ("a[%]b", "a%b"), (r"\**", "*}"), ("", ""), (r"[\]]", "]")]
        {
            let name = format!("my[app]*:{{{}}}", key.replace('%', "%25").replace('}', "%7D"));
            assert!(glob::matches(pattern.as_bytes(), key.as_bytes()), "{pattern}");
            assert!(glob::matches(&widened("my[app]*", pattern), name.as_bytes()), "{pattern}");
        }
        assert!(!glob::matches(&widened("a*", "*"), b"ab:{k}"));
    }
}
