//! The nouns of the limiter as types: key, session, identity, lease id, slot, fencing token, ticket, epoch.
//!
//! Nothing here decides anything; a value that exists is well formed. Text forms are those of
//! `docs/protocol.md`, so that what a person reads in Redis is what the program prints.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a group: 1 to 512 bytes of UTF-8, chosen by the user.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// Most bytes that a key may have.
    pub const MAX_BYTES: usize = 512;

    /// A key, or `None` when the text is empty or longer than [`Key::MAX_BYTES`].
    pub fn new(text: impl Into<Arc<str>>) -> Option<Self> {
        let text = text.into();
        (1..=Self::MAX_BYTES).contains(&text.len()).then_some(Self(text))
    }

    /// The text as the user gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Which process a session belongs to, for people (R40).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    host: Option<Arc<str>>,
    pid: u32,
    program: Option<Arc<str>>,
}

impl Identity {
    /// Most bytes of the host and of the program; what is longer is cut.
    pub const MAX_BYTES: usize = 64;

    /// A process, as a person would look for it. Control characters become spaces.
    pub fn new(host: Option<&str>, pid: u32, program: Option<&str>) -> Self {
        let printable = |text: &str| -> String {
            let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= Self::MAX_BYTES;
            let fitting = text.char_indices().take_while(fits);
            fitting.map(|(_, c)| if c.is_control() { ' ' } else { c }).collect()
        };
        Self { host: host.map(printable).map(Arc::from), pid, program: program.map(printable).map(Arc::from) }
    }

    /// The name of its host.
    pub fn host(&self) -> Option<&Arc<str>> {
        self.host.as_ref()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it runs.
    pub fn program(&self) -> Option<&Arc<str>> {
        self.program.as_ref()
    }
}

/// One connected core of one process: 64 random bits, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // Exactly the digits that Display writes: from_str_radix alone would take a sign.
        let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if digits { u64::from_str_radix(text, 16).map(Self).map_err(drop) } else { Err(()) }
    }
}

/// One acquisition, named by its session before Redis is asked: `<session>-<number>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId {
    /// Who asks.
    pub session: SessionId,
    /// Which of that session's acquisitions; never used twice.
    pub number: u64,
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.session, self.number)
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LeaseId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (session, number) = text.split_once('-').ok_or(())?;
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        Ok(Self { session: session.parse()?, number: number.parse().map_err(drop)? })
    }
}

/// One of the places of a group: 1 to the limit.
pub type Slot = u32;

/// Grows with every grant of a group, for ever (R15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FencingToken(pub u64);

/// A waiter's place in line, given by the group and never changed (R4, R15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// The random id of one life of a group's state; it changes when the state was lost (R14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse::<SessionId>().map(|id| Self(id.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_512_bytes() {
        assert!(Key::new("").is_none());
        assert!(Key::new("é".repeat(256)).is_some());
        assert!(Key::new("é".repeat(257)).is_none());
    }

    #[test]
    fn an_identity_is_short_and_printable() {
        let identity = Identity::new(Some(&"é".repeat(40)), 7, Some("a\nb"));
        assert_eq!(identity.host().map(|host| host.len()), Some(64));
        assert_eq!(identity.program().map(|program| &**program), Some("a b"));
        assert_eq!(
            Identity::new(Some(&format!("{}é", "a".repeat(63))), 7, None).host().map(|h| h.len()),
            Some(63)
        );
    }

    #[test]
    fn a_lease_id_survives_its_text_form() {
        let id = LeaseId { session: SessionId(0xab), number: 12 };
        assert_eq!(id.to_string(), "00000000000000ab-12");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in
            ["", "ab-1", "00000000000000ab", "00000000000000ab-", "+0000000000000ab-1", "00000000000000ab-+1"]
        {
            assert_eq!(bad.parse::<LeaseId>(), Err(()), "{bad:?}");
        }
    }
}
