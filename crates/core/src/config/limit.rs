//! What a request asks for, and its bounds.

use std::time::Duration;

use crate::error::Error;
use crate::lease::Key;

/// What a request asks for. Every member but `key` and `limit` has a default.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitConfig {
    /// The group: 1 to 512 bytes.
    pub key: String,
    /// How many slots of the group may be held at once: 1 to 1,000,000.
    pub limit: u32,
    /// How long to wait in line. Default 10 s; zero tries once, `None` waits for ever.
    pub limit_timeout: Option<Duration>,
    /// How often to poll where pushes don't arrive: 10 ms to an hour. Default 0.1 s.
    pub limit_interval: Duration,
    /// The lease: how long a crashed holder's slot stays taken. 0.1 s to 7 days, default 60 s.
    pub limit_expire: Duration,
    /// Slots taken in one grant: 1 to 1,000, at most the limit. Default 1.
    pub weight: u32,
    /// −10 to 10, higher goes first. Default 0.
    pub priority: i8,
    /// Refuse when that many already wait. Default: no bound.
    pub max_waiting: Option<u64>,
    /// Whether the lease is renewed while it's held. Default: it is.
    pub renew: bool,
    /// The longest hold, at least 0.1 s. Default: no bound.
    pub limit_hold: Option<Duration>,
    /// For how long the slot stays with this process after its release, for its next request, as long as nobody else
    /// asks: up to 60 s and a third of `limit_expire`. Default zero: it doesn't.
    pub limit_keep: Duration,
    /// A name of the holder's own, 1 to 256 bytes: who acquires it again takes over.
    pub holder: Option<String>,
    /// Shown by `status`, up to 128 bytes.
    pub label: Option<String>,
}

impl LimitConfig {
    /// The defaults, for this key and limit.
    pub fn new(key: impl Into<String>, limit: u32) -> Self {
        Self {
            key: key.into(),
            limit,
            limit_timeout: Some(Duration::from_secs(10)),
            limit_interval: Duration::from_millis(100),
            limit_expire: Duration::from_secs(60),
            weight: 1,
            priority: 0,
            max_waiting: None,
            renew: true,
            limit_hold: None,
            limit_keep: Duration::ZERO,
            holder: None,
            label: None,
        }
    }

    /// The key, after a check of every member.
    pub fn check(&self) -> Result<Key, Error> {
        let seconds = |length: Duration| format!("{} s", length.as_secs_f64());
        let key = Key::new(self.key.as_str())
            .ok_or_else(|| Error::config("key", format!("{} bytes", self.key.len()), "1 to 512 bytes"))?;
        if !(1..=1_000_000).contains(&self.limit) {
            return Err(Error::config("limit", self.limit, "1 to 1000000"));
        }
        if self.weight == 0 || self.weight > self.limit.min(1_000) {
            return Err(Error::config("weight", self.weight, "1 to 1000, at most the limit"));
        }
        if !(-10..=10).contains(&self.priority) {
            return Err(Error::config("priority", self.priority, "-10 to 10"));
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(3_600)).contains(&self.limit_interval) {
            return Err(Error::config("limitInterval", seconds(self.limit_interval), "0.01 to 3600 s"));
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(7 * 86_400)).contains(&self.limit_expire) {
            return Err(Error::config("limitExpire", seconds(self.limit_expire), "0.1 to 604800 s"));
        }
        if let Some(hold) = self.limit_hold.filter(|hold| *hold < Duration::from_millis(100)) {
            return Err(Error::config("limitHold", seconds(hold), "at least 0.1 s"));
        }
        self.check_keep()?;
        if let Some(holder) = self.holder.as_ref().filter(|name| name.is_empty() || name.len() > 256) {
            return Err(Error::config("holder", format!("{} bytes", holder.len()), "1 to 256 bytes"));
        }
        if let Some(label) = self.label.as_ref().filter(|label| label.len() > 128) {
            return Err(Error::config("label", format!("{} bytes", label.len()), "at most 128 bytes"));
        }
        Ok(key)
    }

    /// Only plain slots can be kept: any request with the same limit and lease is served from them.
    fn check_keep(&self) -> Result<(), Error> {
        let given = || format!("{} s", self.limit_keep.as_secs_f64());
        let longest = Duration::from_secs(60).min(self.limit_expire / 3);
        if self.limit_keep > longest {
            let expected =
                format!("0 to {} s, a third of limitExpire and 60 s at most", longest.as_secs_f64());
            return Err(Error::config("limitKeep", given(), &expected));
        }
        let plain = self.weight == 1 && self.priority == 0 && self.holder.is_none();
        if self.limit_keep > Duration::ZERO && !(plain && self.renew && self.limit_hold.is_none()) {
            let expected = "0 with a weight, a priority, a holder, a limitHold, or without renew";
            return Err(Error::config("limitKeep", given(), expected));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(change: impl FnOnce(&mut LimitConfig)) -> &'static str {
        let mut config = LimitConfig::new("k", 10);
        change(&mut config);
        match config.check() {
            Err(Error::Config { option, .. }) => option,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_bound_names_its_option() {
        assert_eq!(rejected(|c| c.key = String::new()), "key");
        assert_eq!(rejected(|c| c.key = "k".repeat(513)), "key");
        assert_eq!(rejected(|c| c.limit = 0), "limit");
        assert_eq!(rejected(|c| c.limit = 1_000_001), "limit");
        assert_eq!(rejected(|c| c.weight = 0), "weight");
        assert_eq!(rejected(|c| c.weight = 11), "weight");
        assert_eq!(rejected(|c| c.priority = 11), "priority");
        assert_eq!(rejected(|c| c.limit_interval = Duration::ZERO), "limitInterval");
        assert_eq!(rejected(|c| c.limit_expire = Duration::from_millis(99)), "limitExpire");
        assert_eq!(rejected(|c| c.limit_hold = Some(Duration::ZERO)), "limitHold");
        let second = Duration::from_secs(1);
        assert_eq!(rejected(|c| c.limit_keep = 61 * second), "limitKeep");
        assert_eq!(rejected(|c| (c.limit_keep, c.limit_expire) = (second, 2 * second)), "limitKeep");
        assert_eq!(rejected(|c| (c.limit_keep, c.weight) = (second, 2)), "limitKeep");
        assert_eq!(rejected(|c| c.holder = Some(String::new())), "holder");
        assert_eq!(rejected(|c| c.label = Some("l".repeat(129))), "label");
        assert!(LimitConfig::new("k", 1).check().is_ok());
    }
}
