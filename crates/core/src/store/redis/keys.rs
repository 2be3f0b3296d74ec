//! The names that a group and a session have in Redis.
//!
//! All four keys of a group carry the hash tag `{K}`, so that a cluster keeps them together; K is the user's key with
//! `%` and `}` percent-escaped and nothing else. Reads and writes no key.

use std::borrow::Cow;

use crate::lease::{Key, SessionId};

/// The keys of one group, in the order in which every script takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupKeys {
    /// The hash: the authority.
    pub group: String,
    /// Lease ids by their end.
    pub ends: String,
    /// Free slots below the highest in use.
    pub gaps: String,
    /// Waiters by limit, priority and ticket.
    pub queue: String,
}

impl GroupKeys {
    /// The keys of the group of `key` under this prefix.
    pub fn new(prefix: &str, key: &Key) -> Self {
        let group = format!("{prefix}:{{{}}}", hash_tag(key));
        Self {
            ends: format!("{group}:ends"),
            gaps: format!("{group}:gaps"),
            queue: format!("{group}:queue"),
            group,
        }
    }

    /// All four, in the scripts' order.
    pub fn all(&self) -> [&str; 4] {
        [&self.group, &self.ends, &self.gaps, &self.queue]
    }
}

/// The hash tag of all keys of a group: the user's key, escaped.
pub fn hash_tag(key: &Key) -> Cow<'_, str> {
    let key = key.as_str();
    if key.contains(['%', '}']) { key.replace('%', "%25").replace('}', "%7D").into() } else { key.into() }
}

/// The user's key, from the name of a group's hash; `None` for any other name.
pub fn user_key(prefix: &str, redis_key: &[u8]) -> Option<Key> {
    let rest = redis_key.strip_prefix(prefix.as_bytes())?;
    let escaped = rest.strip_prefix(b":{")?.strip_suffix(b"}")?;
    // An escaped key is at most three times as long: anything longer is no group.
    if escaped.len() > 3 * Key::MAX_BYTES || escaped.contains(&b'}') {
        return None;
    }
    let escaped = std::str::from_utf8(escaped).ok()?;
    let mut parts = escaped.split('%');
    let mut key = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) = match part.get(..2)? {
            "25" => ('%', &part[2..]),
            "7D" => ('}', &part[2..]),
            _ => return None,
        };
        key.push(letter);
        key.push_str(rest);
    }
    Key::new(key)
}

/// The beginning of all push channels of this prefix.
pub fn channel_prefix(prefix: &str) -> String {
    format!("{prefix}:push:")
}

/// The push channel of a session.
pub fn channel(prefix: &str, session: SessionId) -> String {
    format!("{prefix}:push:{session}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).expect("a key")
    }

    #[test]
    fn the_hash_tag_is_the_whole_key_whatever_it_holds() {
        let keys = GroupKeys::new("cl", &key("a}b{c}%"));
        assert_eq!(keys.group, "cl:{a%7Db{c%7D%25}");
        assert_eq!(keys.all()[3], "cl:{a%7Db{c%7D%25}:queue");
    }

    #[test]
    fn a_key_survives_its_name_in_redis() {
        for text in ["k", "}", "%", "{a}", "%7D", "a b", "é😀", "}:ends", "\0\n", &"}".repeat(512)] {
            let keys = GroupKeys::new("my app", &key(text));
            assert_eq!(user_key("my app", keys.group.as_bytes()), Some(key(text)), "{text:?}");
            assert_eq!(user_key("my app", keys.ends.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn other_names_are_no_group() {
        for name in
            ["", "cl", "cl:{}", "cl:{a", "cl:{%}", "cl:{%2}", "cl:{%41}", "cl:{é%é}", "dl:{a}", "cl:{a}b}"]
        {
            assert_eq!(user_key("cl", name.as_bytes()), None, "{name:?}");
        }
        assert_eq!(user_key("cl", b"cl:{\xff}"), None);
        assert_eq!(user_key("cl", &[b"cl:{".to_vec(), vec![b'a'; 9999], b"}".to_vec()].concat()), None);
    }
}
