//! The completion table of a link over a client transport: its commands, and the pending calls that wait for answers.
//!
//! Pushes and answers arrive over different connections. A push that arrives before the answer to the call that asked
//! for its grants waits for that answer. A push that arrives after a newer answer is recognised by the session (R10).

use std::collections::HashMap;

use redis::{RedisResult, Value};
use tokio::sync::mpsc::UnboundedSender;

use super::commands::{command, tell};
use crate::lease::{Key, LeaseId};
use crate::protocol::{CallError, CallId, Outgoing, Push, ReconcileItem, Verb};
use crate::store::LinkEvent;
use crate::store::redis::bundle::{Bundle, Calls, Together};
use crate::store::redis::library::Way;
use crate::store::redis::names::Names;
use crate::store::redis::{list, reply};
use crate::transport::{Destination, RedisCommand};

/// Each call is a command of its own: the client may have its keys on several servers, and a command that was refused
/// can't be sent again from here.
const TOGETHER: Together = Together { groups: false, needs: false };

/// The pending calls of one link.
pub(super) struct Completions {
    names: Names,
    servers: usize,
    asked: u64,
    rows: HashMap<u64, Row>,
    /// Pushes that came before the answers to the calls which asked for what they grant.
    early: Vec<Push>,
}

/// What is kept of a request until its answer.
enum Row {
    Load(Way),
    Calls(Calls),
    Keys { id: CallId, pattern: String, server: usize },
}

impl Row {
    /// Whether the answer will say of a grant in the push that it is in line, or granted.
    fn asks_for(&self, push: &Push) -> bool {
        let Self::Calls(calls) = self else { return false };
        let granted = |id: &LeaseId| push.news.grants().iter().any(|grant| grant.id == *id);
        calls.calls.iter().any(|call| match &call.verb {
            Verb::Acquire(asks) => asks.iter().any(|ask| granted(&ask.id)),
            Verb::Join(join) => join.items.iter().any(|ask| granted(&ask.id)),
            Verb::Reconcile { items, .. } => {
                items.iter().any(|item| matches!(item, ReconcileItem::Want { id, .. } if granted(id)))
            }
            _ => false,
        })
    }
}

impl Completions {
    pub(super) fn new(names: Names, servers: usize, asked: u64) -> Self {
        Self { names, servers, asked, rows: HashMap::new(), early: Vec::new() }
    }

    pub(super) fn commands(&mut self, requests: Vec<Outgoing>) -> Vec<RedisCommand> {
        let mut commands = Vec::with_capacity(requests.len());
        if let Some((way, load)) = self.names.load() {
            let at = self.next();
            commands.push(command(at, Destination::All, &load));
            self.rows.insert(at, Row::Load(way));
        }
        let mut bundles = Vec::new();
        for request in requests.into_iter().enumerate() {
            Bundle::put(&mut bundles, request, false, TOGETHER);
        }
        for bundle in bundles {
            let at = self.next();
            let (to, cmd, row) = match bundle {
                Bundle::Calls(calls) => {
                    (Destination::Keys, self.names.call(&calls.caller, &calls.calls), Row::Calls(calls))
                }
                Bundle::Keys { id, pattern, cursor, .. } => {
                    let (server, cursor) = place_of(&cursor);
                    let cmd = list::command(self.names.prefix(), &pattern, cursor);
                    (Destination::One(server), cmd, Row::Keys { id, pattern, server })
                }
            };
            commands.push(command(at, to, &cmd));
            self.rows.insert(at, row);
        }
        commands
    }

    fn next(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    pub(super) fn answer(&mut self, answers: Vec<(u64, Value)>, events: &UnboundedSender<LinkEvent>) {
        for (at, value) in answers {
            let Some(row) = self.rows.remove(&at) else { continue };
            let value = reply::checked(value);
            match row {
                Row::Load(way) => self.names.loaded(way, each_ok(value)),
                Row::Calls(Calls { calls, asked, .. }) => {
                    let results = self.names.results(&calls, value);
                    for ((_, id), result) in asked.into_iter().zip(results) {
                        tell(events, LinkEvent::Reply { id, result });
                    }
                }
                Row::Keys { id, pattern, server } => {
                    let value = value.map_err(|error| self.names.call_error(&error));
                    tell(events, LinkEvent::Keys { id, result: self.page(&pattern, server, value) });
                }
            }
        }
        for push in std::mem::take(&mut self.early) {
            self.push(push, events);
        }
    }

    /// A push. One that can't be read is ignored: the safety poll finds what it told (R21).
    pub(super) fn receive(&mut self, payload: &[u8], events: &UnboundedSender<LinkEvent>) {
        if let Some(push) = reply::push(self.names.prefix(), payload) {
            self.push(push, events);
        }
    }

    // The push comes first if a pending call's answer may still say "in line": the session takes the later one as
    // newer.
    fn push(&mut self, push: Push, events: &UnboundedSender<LinkEvent>) {
        match self.rows.values().any(|row| row.asks_for(&push)) {
            true => self.early.push(push),
            false => tell(events, LinkEvent::Push(push)),
        }
    }

    /// A page of one server's keys; the next cursor leads through all servers.
    fn page(
        &self,
        pattern: &str,
        server: usize,
        value: Result<Value, CallError>,
    ) -> Result<(Vec<Key>, String), CallError> {
        let (keys, cursor) = list::page(self.names.prefix(), pattern, value?)?;
        let next = match cursor.as_str() {
            "0" if server + 1 < self.servers => format!("{}:0", server + 1),
            "0" => cursor,
            _ => format!("{server}:{cursor}"),
        };
        Ok((keys, next))
    }
}

/// What all servers answered: the first error, if there is one.
fn each_ok(value: RedisResult<Value>) -> RedisResult<Value> {
    match value? {
        Value::Array(each) => each.into_iter().try_fold(Value::Okay, |_, one| reply::checked(one)),
        one => Ok(one),
    }
}

/// The server that a cursor stands at, and that server's own cursor.
fn place_of(cursor: &str) -> (usize, &str) {
    let parts = cursor.split_once(':');
    parts.and_then(|(server, cursor)| Some((server.parse().ok()?, cursor))).unwrap_or((0, cursor))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::lease::SessionId;
    use crate::protocol::{Ask, Call, Caller, Terms};
    use crate::store::redis::library::{Found, Layout, Way};
    use crate::store::redis::transport::commands::read;

    const ID: LeaseId = LeaseId { session: SessionId(1), number: 1 };

    fn completions(servers: usize) -> Completions {
        let mut names = Names::new(Layout { prefix: "cl".into(), cluster: false }, 1);
        names.found(Found::having(Way::Function));
        Completions::new(names, servers, 0)
    }

    fn acquire(number: u64) -> Outgoing {
        let terms = Terms {
            limit: 1,
            weight: 1,
            priority: 0,
            lease_ms: 1_000,
            claim_ms: 1_000,
            max_waiting: None,
            holder: None,
            label: None,
        };
        let ask = Ask { id: ID, terms: Arc::new(terms), wait: true };
        let session = ID.session;
        let caller = Caller { session, connection: 1, listens: true, settling: false, keep_alive_ms: 1_000 };
        let call = Call::new(Key::new("k").expect("a key"), Verb::Acquire(vec![ask]));
        Outgoing::Call { id: CallId(number), caller, call }
    }

    fn kinds(events: &mut UnboundedReceiver<LinkEvent>) -> Vec<&'static str> {
        std::iter::from_fn(|| events.try_recv().ok())
            .map(|event| match event {
                LinkEvent::Reply { result: Ok(_), .. } => "reply",
                LinkEvent::Reply { result: Err(_), .. } => "error",
                LinkEvent::Push(_) => "push",
                _ => "other",
            })
            .collect()
    }

    #[test]
    fn a_push_waits_for_the_answer_to_the_call_that_asked_for_what_it_grants() {
        let (sender, mut events) = unbounded_channel();
        let mut completions = completions(1);
        let asked = completions.commands(vec![acquire(7)])[0].number;
        let push = format!("0000000000000007 1 {ID} 5 2000 1000 1 cl:{{k}}");
        completions.receive(push.as_bytes(), &sender);
        assert_eq!(kinds(&mut events), [""; 0]);
        let queued = "*1\r\n+ok 1000 0000000000000007 -1 0 0 queued 4 0\r\n";
        let answer = read(format!("*2\r\n:{asked}\r\n{queued}").as_bytes()).expect("whole");
        completions.answer(answer, &sender);
        assert_eq!(kinds(&mut events), ["reply", "push"]);
        completions.receive(push.as_bytes(), &sender);
        assert_eq!(kinds(&mut events), ["push"]);
    }

    #[test]
    fn a_library_that_is_missing_is_loaded_everywhere_before_the_next_call() {
        let (sender, mut events) = unbounded_channel();
        let mut completions = completions(3);
        let mut answer = |completions: &mut Completions, number: u64, said: &str| {
            let answer = read(format!("*2\r\n:{number}\r\n{said}\r\n").as_bytes());
            completions.answer(answer.expect("whole"), &sender);
            kinds(&mut events)
        };
        let words = |command: &RedisCommand| [command.words[0].clone(), command.words[1].clone()];
        let asked = completions.commands(vec![acquire(1)])[0].number;
        assert_eq!(answer(&mut completions, asked, "-ERR Function not found"), ["error"]);
        let commands = completions.commands(vec![acquire(2)]);
        let [load, call] = &commands[..] else { panic!("{} commands", commands.len()) };
        assert_eq!((load.to, words(load)), (Destination::All, ["FUNCTION".to_owned(), "LOAD".to_owned()]));
        assert_eq!((call.to, call.words[0].as_str()), (Destination::Keys, "FCALL"));
        // One of the three refuses it: from now on all are asked in another way.
        let refused = "*3\r\n$1\r\na\r\n-OOM command not allowed\r\n$1\r\na";
        assert_eq!(answer(&mut completions, load.number, refused), [""; 0]);
        let commands = completions.commands(vec![acquire(3)]);
        let [load, call] = &commands[..] else { panic!("{} commands", commands.len()) };
        assert_eq!(words(load), ["SCRIPT", "LOAD"]);
        assert_eq!(call.words[0], "EVALSHA");
        assert_eq!(answer(&mut completions, load.number, "*3\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na"), [""; 0]);
        assert_eq!(completions.commands(vec![acquire(4)]).len(), 1);
    }

    #[test]
    fn a_cursor_leads_through_all_servers() {
        let (sender, mut events) = unbounded_channel();
        let mut completions = completions(2);
        let mut cursor = "0".to_owned();
        let mut went = Vec::new();
        for says in ["17", "0", "0"] {
            let keys = Outgoing::Keys { id: CallId(1), pattern: "*".into(), cursor };
            let command = completions.commands(vec![keys]).remove(0);
            went.push((command.to, command.words[1].clone()));
            let page = format!("*2\r\n:{}\r\n*2\r\n${}\r\n{says}\r\n*0\r\n", command.number, says.len());
            completions.answer(read(page.as_bytes()).expect("whole"), &sender);
            let Ok(LinkEvent::Keys { result: Ok((_, next)), .. }) = events.try_recv() else {
                panic!("no page")
            };
            cursor = next;
        }
        let at = |server, cursor: &str| (Destination::One(server), cursor.to_owned());
        assert_eq!((went, cursor), (vec![at(0, "0"), at(0, "17"), at(1, "0")], "0".to_owned()));
    }

    #[test]
    fn garbled_answers_are_an_error_and_not_a_panic() {
        for bytes in
            ["", "*1\r\n:1\r\n", "*2\r\n$1\r\nx\r\n:1\r\n", ":1\r\n", "*2\r\n:-1\r\n:1\r\n", "nonsense"]
        {
            assert!(read(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }
}
