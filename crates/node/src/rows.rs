//! Requests and completions as rows of numbers, the way `lib/bridge.js` writes and reads them.
//!
//! Down: `op, client, n, …`. Up: `length of the row, kind, client, n, …`. `n` is the request's number, chosen by JS and
//! unique in its environment; a text is a number that stands for it, 0 for none; lengths are milliseconds, -1 is
//! endless.

use std::sync::Arc;
use std::time::Duration;

use concurrency_limit::driver::Command;
use concurrency_limit::error::Error;
use concurrency_limit::lease::{FencingToken, Key, LeaseId};
use concurrency_limit::moment::whole_ms;
use concurrency_limit::protocol::{Target, Terms};
use concurrency_limit::session::{AdminAnswer, AdminQuery, ClientId, Event, Granted, Request};

use crate::codes::{Completion, ConnectionEvent, Failure, Op};
use crate::json;
use crate::lengths::{length, ms, ms_at};

/// A row down.
pub(crate) struct Row {
    /// Which client of the port.
    pub(crate) client: u32,
    /// The request's number.
    pub(crate) tag: u64,
    pub(crate) command: Command,
}

/// Reads rows down, from the front.
pub(crate) struct Reader<'a> {
    pub(crate) rows: &'a [f64],
    pub(crate) text: &'a dyn Fn(usize) -> Option<Arc<str>>,
    pub(crate) client: &'a dyn Fn(u32) -> ClientId,
}

impl Reader<'_> {
    /// The next row; `None` at the end, or before a row that isn't one.
    pub(crate) fn next(&mut self) -> Option<Row> {
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
        Some(Row { client, tag, command })
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

    /// A length; `None` where it is endless.
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
        // With a token after it, or without.
        match text.split_once(' ') {
            Some((id, token)) => Some(Target::Grant(id.parse().ok()?, FencingToken(token.parse().ok()?))),
            None => text.parse::<LeaseId>().ok().map(Target::Lease),
        }
    }

    fn request(&mut self, client: u32, tag: u64) -> Option<Request> {
        let client = (self.client)(client);
        let (key, limit) = (self.key()?, self.take()? as u32);
        let (timeout, interval, lease) = (self.length()?, self.length()??, self.length()??);
        let (weight, priority, max_waiting) = (self.take()? as u32, self.take()? as i8, self.take()?);
        let (renew, hold) = (self.take()? != 0.0, self.length()?);
        let lease_ms = whole_ms(lease);
        let max_waiting = (max_waiting >= 0.0).then_some(max_waiting as u64);
        let (holder, label) = ((self.text)(self.take()? as usize), (self.text)(self.take()? as usize));
        let terms =
            Terms { limit, weight, priority, lease_ms, claim_ms: lease_ms, max_waiting, holder, label };
        Some(Request { client, tag, key, terms, timeout, interval, renew, hold })
    }
}

fn ask(tag: u64, question: AdminQuery) -> Command {
    Command::Ask(tag, question)
}

/// Rows up, waiting to be drained.
#[derive(Default)]
pub(crate) struct Outbox {
    rows: Vec<f64>,
    drained: usize,
    texts: std::collections::HashMap<u32, String>,
    last_text: u32,
}

impl Outbox {
    /// Moves as many whole rows as fit into `out`; how much of it they fill.
    pub(crate) fn drain(&mut self, out: &mut [f64]) -> usize {
        let rows = &self.rows[self.drained..];
        let mut length = 0;
        while let Some(next) = rows.get(length) {
            if length + *next as usize > out.len() {
                break;
            }
            length += *next as usize;
        }
        out[..length].copy_from_slice(&rows[..length]);
        self.drained += length;
        if self.drained == self.rows.len() {
            self.rows.clear();
            self.drained = 0;
        }
        length
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text of a row, once.
    pub(crate) fn take_text(&mut self, id: u32) -> String {
        self.texts.remove(&id).unwrap_or_default()
    }

    /// What an event is to JS. Renewals are not told: JS asks for a deadline when the one that it knows is over.
    pub(crate) fn write(&mut self, client: u32, event: Event) {
        match event {
            Event::Granted { tag, lease, .. } => self.granted(client, tag, &lease),
            Event::Failed { tag, error, .. } => self.failed(client, tag, error),
            Event::Released { tag, was_held, .. } => {
                self.row(Completion::Released, client, tag, &[f64::from(u8::from(was_held))])
            }
            Event::Lost { tag, why, .. } => {
                self.row_with_text(Completion::Lost, client, tag, &[], why.as_str().into())
            }
            Event::Renewed { .. } => {}
            Event::Answered { tag, answer, .. } => self.answered(client, tag, answer),
            Event::Closed { tag, .. } => self.row(Completion::Done, client, tag, &[0.0]),
            Event::Disconnected(reason) => self.happened(client, ConnectionEvent::Disconnected, reason),
            Event::Reconnected => {
                self.happened(client, ConnectionEvent::Reconnected, "connected again".into())
            }
            Event::Connecting => self.happened(client, ConnectionEvent::Connecting, String::new()),
            Event::Connected => self.happened(client, ConnectionEvent::Connected, String::new()),
            Event::ConnectFailed(reason) => self.happened(client, ConnectionEvent::ConnectFailed, reason),
            Event::Warning(text) => self.happened(client, ConnectionEvent::Warning, text),
            Event::PushUnavailable => {
                let text = "pushes can't be had: waiters look again every limitInterval";
                self.happened(client, ConnectionEvent::PushUnavailable, text.into());
            }
        }
    }

    /// A request of a client that has ended is over before it began.
    pub(crate) fn refuse(&mut self, client: u32, tag: u64, command: &Command) {
        match command {
            Command::Release(_) => self.row(Completion::Released, client, tag, &[0.0]),
            Command::Cancel(_) | Command::Watch(_) | Command::Beat => {}
            Command::Close { .. } => self.row(Completion::Done, client, tag, &[0.0]),
            Command::Submit(_) | Command::Ask(..) => self.failed(client, tag, Some(Error::Closed)),
        }
    }

    /// The client has ended by a fault of the core: JS fails whatever it still waits for.
    pub(crate) fn broken(&mut self, client: u32, message: &str) {
        self.row_with_text(Completion::Broken, client, 0, &[], message.into());
    }

    fn happened(&mut self, client: u32, event: ConnectionEvent, text: String) {
        self.row_with_text(Completion::Event, client, 0, &[f64::from(event as u32)], text);
    }

    fn row(&mut self, kind: Completion, client: u32, tag: u64, rest: &[f64]) {
        self.rows.extend([(4 + rest.len()) as f64, f64::from(kind as u32), f64::from(client), tag as f64]);
        self.rows.extend_from_slice(rest);
    }

    fn row_with_text(&mut self, kind: Completion, client: u32, tag: u64, rest: &[f64], text: String) {
        let text = self.put_text(text);
        self.rows.extend([(5 + rest.len()) as f64, f64::from(kind as u32), f64::from(client), tag as f64]);
        self.rows.extend_from_slice(rest);
        self.rows.push(text);
    }

    fn put_text(&mut self, text: String) -> f64 {
        self.last_text = self.last_text.wrapping_add(1).max(1);
        self.texts.insert(self.last_text, text);
        f64::from(self.last_text)
    }

    fn granted(&mut self, client: u32, tag: u64, lease: &Granted) {
        let length = 10 + lease.slots.len();
        self.rows.extend([
            length as f64,
            f64::from(Completion::Granted as u32),
            f64::from(client),
            tag as f64,
        ]);
        self.rows.extend([
            lease.token.0 as f64,
            ms_at(lease.deadline),
            ms(lease.waited),
            lease.id.number as f64,
            f64::from(u8::from(lease.stood_in)),
            lease.slots.len() as f64,
        ]);
        self.rows.extend(lease.slots.iter().map(|slot| f64::from(*slot)));
    }

    fn failed(&mut self, client: u32, tag: u64, error: Option<Error>) {
        let mut figures = [0.0; 4];
        let (code, text) = match error {
            Some(Error::LimitExceeded { waited, held, waiting, retry_after, .. }) => {
                let retry_after = retry_after.map_or(-1.0, ms);
                figures = [ms(waited), held as f64, waiting as f64, retry_after];
                (Failure::LimitExceeded, None)
            }
            Some(Error::QueueFull { waiting, .. }) => {
                figures[0] = waiting as f64;
                (Failure::QueueFull, None)
            }
            Some(Error::Unavailable { address, cause, answered, .. }) => {
                figures[0] = f64::from(u8::from(answered));
                (Failure::Unavailable, Some(format!("{address}\n{cause}")))
            }
            Some(Error::Closed) => (Failure::Closed, None),
            Some(Error::Config { option, given, expected }) => {
                (Failure::Config, Some(format!("{option}\n{given}\n{expected}")))
            }
            Some(Error::Protocol { message, .. }) => (Failure::Protocol, Some(message)),
            Some(other) => (Failure::Protocol, Some(other.to_string())),
            None => (Failure::Cancelled, None),
        };
        let text = text.map_or(0.0, |text| self.put_text(text));
        let [a, b, c, d] = figures;
        self.row(Completion::Failed, client, tag, &[f64::from(code as u32), a, b, c, d, text]);
    }

    fn answered(&mut self, client: u32, tag: u64, answer: Result<AdminAnswer, Error>) {
        match answer {
            Ok(AdminAnswer::Status(picture)) => {
                self.row_with_text(Completion::Text, client, tag, &[], json::status(&picture))
            }
            Ok(AdminAnswer::Keys { keys, cursor }) => {
                self.row_with_text(Completion::Text, client, tag, &[], json::keys(&keys, &cursor));
            }
            Ok(AdminAnswer::Stats(stats)) => {
                self.row_with_text(Completion::Text, client, tag, &[], json::stats(&stats))
            }
            Ok(AdminAnswer::Cleaned(reaped)) => self.row(Completion::Done, client, tag, &[reaped as f64]),
            Ok(AdminAnswer::Released(released)) => {
                self.row(Completion::Done, client, tag, &[f64::from(u8::from(released))])
            }
            Err(error) => self.failed(client, tag, Some(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_takes_whole_rows_only_and_loses_none() {
        let mut outbox = Outbox::default();
        for tag in 1..=3 {
            outbox.write(1, Event::Released { client: ClientId(9), tag, was_held: true });
        }
        let mut out = [0.0; 12];
        assert_eq!(outbox.drain(&mut out), 10);
        assert_eq!(out[..10], [5.0, 3.0, 1.0, 1.0, 1.0, 5.0, 3.0, 1.0, 2.0, 1.0]);
        assert_eq!(outbox.drain(&mut out), 5);
        assert_eq!(out[3], 3.0);
        assert_eq!(outbox.drain(&mut out), 0);
    }

    #[test]
    fn a_row_that_is_cut_short_is_not_read() {
        let text = |_: usize| Some(Arc::from("k"));
        let client = |_: u32| ClientId(1);
        let mut reader = Reader { rows: &[2.0, 1.0, 7.0, 1.0, 1.0, 8.0, 1.0], text: &text, client: &client };
        let row = reader.next().expect("the release");
        assert_eq!((row.client, row.tag), (1, 7));
        assert!(matches!(row.command, Command::Release(7)));
        assert!(reader.next().is_none());
    }
}
