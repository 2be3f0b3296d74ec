//! Writes rows of completions, and keeps them until they are drained.

use std::collections::HashMap;

use concurrency_limit::driver::Command;
use concurrency_limit::error::Error;
use concurrency_limit::session::{AdminAnswer, Event, Granted};

use crate::codes::{Completion, ConnectionEvent, Failure};
use crate::json;
use crate::lengths::{ms, ms_at};

/// Rows that wait to be drained.
#[derive(Default)]
pub(crate) struct Completions {
    rows: Vec<f64>,
    drained: usize,
    texts: HashMap<u32, String>,
    last_text: u32,
}

impl Completions {
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

    /// Adds the row of an event. Renewals have none: JavaScript asks for the deadline when the one that it knows has
    /// passed.
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
                let text = "pushes don't arrive: waiters poll every limitInterval";
                self.happened(client, ConnectionEvent::PushUnavailable, text.into());
            }
        }
    }

    /// Adds the answer to a request of a client that has ended.
    pub(crate) fn refuse(&mut self, client: u32, tag: u64, command: &Command) {
        match command {
            Command::Release(_) => self.row(Completion::Released, client, tag, &[0.0]),
            Command::Cancel(_) | Command::Watch(_) | Command::Beat => {}
            Command::Close { .. } => self.row(Completion::Done, client, tag, &[0.0]),
            Command::Submit(_) | Command::Ask(..) => self.failed(client, tag, Some(Error::Closed)),
        }
    }

    /// The client has ended by a bug in the core: JavaScript fails all that waits for it.
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
    use concurrency_limit::session::ClientId;

    use super::*;

    #[test]
    fn a_drain_takes_whole_rows_only_and_loses_none() {
        let mut rows = Completions::default();
        for tag in 1..=3 {
            rows.write(1, Event::Released { client: ClientId(9), tag, was_held: true });
        }
        let mut out = [0.0; 12];
        assert_eq!(rows.drain(&mut out), 10);
        assert_eq!(out[..10], [5.0, 3.0, 1.0, 1.0, 1.0, 5.0, 3.0, 1.0, 2.0, 1.0]);
        assert_eq!(rows.drain(&mut out), 5);
        assert_eq!(out[3], 3.0);
        assert_eq!(rows.drain(&mut out), 0);
    }
}
