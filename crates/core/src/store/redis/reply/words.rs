//! The primitives of replies: their words, one after the other.
//!
//! What can't be read is `None`. It reads numbers, grants, runs of slots and labels, and doesn't know the verb. It
//! allocates no more than was received, except for runs of slots, which the highest weight bounds.

use std::str::FromStr;
use std::sync::Arc;

use redis::Value;

use crate::lease::{FencingToken, LeaseId, Slot};
use crate::protocol::Grant;

/// Most slots of one lease.
const MAX_WEIGHT: usize = 1_000;

/// A text's bytes.
pub(super) fn as_bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.into_bytes()),
        _ => None,
    }
}

/// A name or a label, if there is one.
pub(super) type AnyText = Option<Arc<str>>;

/// Words with one space between them; names and labels are bytes of any kind.
pub(super) struct Words<'a>(pub(super) &'a [u8]);

impl<'a> Words<'a> {
    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|byte| *byte == b' ');
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest.get(1..).unwrap_or_default();
        Some(word)
    }

    pub(super) fn parse<T: FromStr>(&mut self) -> Option<T> {
        std::str::from_utf8(self.next()?).ok()?.parse().ok()
    }

    pub(super) fn maybe(&mut self) -> Option<Option<u64>> {
        match self.next()? {
            b"-1" => Some(None),
            word => Words(word).parse().map(Some),
        }
    }

    /// A 1 or a 0.
    pub(super) fn flag(&mut self) -> Option<bool> {
        self.next().map(|word| word == b"1")
    }

    /// So many items of a kind.
    pub(super) fn each<T>(
        &mut self,
        number: usize,
        parse: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut all = Vec::with_capacity(number);
        for _ in 0..number {
            all.push(parse(self)?);
        }
        Some(all)
    }

    /// A count, and so many items of a kind.
    pub(super) fn counted<T>(&mut self, parse: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        // What the server says is no reason to make room for that many.
        let number: u64 = self.parse()?;
        (0..number).map(|_| parse(self)).collect()
    }

    pub(super) fn grant(&mut self) -> Option<Grant> {
        let id: LeaseId = self.parse()?;
        let (token, end_at_ms, ttl_ms) = (FencingToken(self.parse()?), self.parse()?, self.parse()?);
        Some(Grant { id, slots: self.slots()?, token, end_at_ms, ttl_ms })
    }

    pub(super) fn slots(&mut self) -> Option<Vec<Slot>> {
        let mut slots = Vec::new();
        for run in std::str::from_utf8(self.next()?).ok()?.split(',') {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let (first, last): (Slot, Slot) = (first.parse().ok()?, last.parse().ok()?);
            let more = usize::try_from(last.checked_sub(first)?).ok()?;
            if slots.len() + more >= MAX_WEIGHT {
                return None;
            }
            slots.extend(first..=last);
        }
        Some(slots)
    }

    pub(super) fn name_and_label(&mut self) -> Option<(AnyText, AnyText)> {
        let (name, label) = (self.maybe()?, self.maybe()?);
        let both = (self.any_text(name)?, self.any_text(label)?);
        self.0 = self.0.strip_prefix(b" ").unwrap_or(self.0);
        Some(both)
    }

    fn any_text(&mut self, length: Option<u64>) -> Option<AnyText> {
        let Some(length) = length else { return Some(None) };
        let (text, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(Some(std::str::from_utf8(text).ok()?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_slots_is_bounded() {
        for (slots, known) in [("1-1000", true), ("1-1001", false), ("1-4294967295", false), ("3-1", false)] {
            assert_eq!(Words(slots.as_bytes()).slots().is_some(), known, "{slots}");
        }
    }
}
