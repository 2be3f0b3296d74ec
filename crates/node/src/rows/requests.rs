//! Reads rows of requests.

use std::sync::Arc;
use std::time::Duration;

use concurrency_limit::driver::Command;
use concurrency_limit::lease::{FencingToken, Key, LeaseId};
use concurrency_limit::moment::whole_ms;
use concurrency_limit::protocol::{Target, Terms};
use concurrency_limit::session::{self, AdminQuery, ClientId};

use crate::codes::Op;
use crate::lengths::length;

/// A row.
pub(crate) struct Request {
    /// Which client of the port.
    pub(crate) client: u32,
    /// The request's number.
    pub(crate) tag: u64,
    pub(crate) command: Command,
}

/// Rows, read from the front.
pub(crate) struct Requests<'a> {
    pub(crate) rows: &'a [f64],
    pub(crate) text: &'a dyn Fn(usize) -> Option<Arc<str>>,
    pub(crate) client: &'a dyn Fn(u32) -> ClientId,
}

impl Requests<'_> {
    /// The next row; `None` at the end, or before an invalid row.
    pub(crate) fn next(&mut self) -> Option<Request> {
        let op = Op::of(self.take()? as u32)?;
        let client = self.take()? as u32;
        let tag = self.take()? as u64;
        let command = match op {
            Op::Acquire => Command::Submit(self.request(client, tag)?),
            Op::Release => Command::Release(tag),
            Op::Cancel => Command::Cancel(tag),
            Op::Close => Command::Close { tag, release: self.take()? != 0.0 },
            Op::Status => ask(tag, AdminQuery::Status(self.key()?)),
            Op::Clean => ask(tag, AdminQuery::Clean(self.key()?)),
            Op::ReleaseBy => ask(tag, AdminQuery::Release(self.key()?, self.target()?)),
            Op::Keys => ask(
                tag,
                AdminQuery::Keys { pattern: self.text()?.to_string(), cursor: self.text()?.to_string() },
            ),
            Op::Stats => ask(tag, AdminQuery::Stats),
            Op::Beat => Command::Beat,
        };
        Some(Request { client, tag, command })
    }

    fn take(&mut self) -> Option<f64> {
        let (first, rest) = self.rows.split_first()?;
        self.rows = rest;
        Some(*first)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        (self.text)(self.take()? as usize)
    }

    fn key(&mut self) -> Option<Key> {
        self.text().and_then(Key::new)
    }

    /// A length of time; `None` if it is endless.
    fn length(&mut self) -> Option<Option<Duration>> {
        let ms = self.take()?;
        Some((ms >= 0.0).then(|| length(ms)))
    }

    fn target(&mut self) -> Option<Target> {
        let by_holder = self.take()? == 0.0;
        let text = self.text()?;
        if by_holder {
            return Some(Target::Holder(text));
        }
        // A token may follow the id.
        match text.split_once(' ') {
            Some((id, token)) => Some(Target::Grant(id.parse().ok()?, FencingToken(token.parse().ok()?))),
            None => text.parse::<LeaseId>().ok().map(Target::Lease),
        }
    }

    fn request(&mut self, client: u32, tag: u64) -> Option<session::Request> {
        let client = (self.client)(client);
        let (key, limit) = (self.key()?, self.take()? as u32);
        let (timeout, interval, lease) = (self.length()?, self.length()??, self.length()??);
        let (weight, priority, max_waiting) = (self.take()? as u32, self.take()? as i8, self.take()?);
        let (renew, hold, keep) = (self.take()? != 0.0, self.length()?, self.length()??);
        let lease_ms = whole_ms(lease);
        let max_waiting = (max_waiting >= 0.0).then_some(max_waiting as u64);
        let (holder, label) = ((self.text)(self.take()? as usize), (self.text)(self.take()? as usize));
        let terms =
            Terms { limit, weight, priority, lease_ms, claim_ms: lease_ms, max_waiting, holder, label };
        Some(session::Request { client, tag, key, terms, timeout, interval, renew, hold, keep })
    }
}

fn ask(tag: u64, question: AdminQuery) -> Command {
    Command::Ask(tag, question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_cut_short_is_not_read() {
        let text = |_: usize| Some(Arc::from("k"));
        let client = |_: u32| ClientId(1);
        let mut reader =
            Requests { rows: &[2.0, 1.0, 7.0, 1.0, 1.0, 8.0, 1.0], text: &text, client: &client };
        let row = reader.next().expect("the release");
        assert_eq!((row.client, row.tag), (1, 7));
        assert!(matches!(row.command, Command::Release(7)));
        assert!(reader.next().is_none());
    }
}
