//! What a link over a carrier keeps of the calls that are under way: errands out, events in.
//!
//! Pushes come by another connection than replies. One that is there before the answer to the very call that asked for
//! its grants waits for that answer; one that comes after answers that are newer the session checks (R10).

use std::collections::HashMap;

use redis::{RedisResult, Value};
use tokio::sync::mpsc::UnboundedSender;

use super::errands::{errand, tell};
use crate::carrier::{Errand, To};
use crate::lease::{Key, LeaseId};
use crate::protocol::{CallError, CallId, Outgoing, Push, ReconcileItem, Verb};
use crate::store::LinkEvent;
use crate::store::redis::bundle::{Bundle, Calls, Together};
use crate::store::redis::names::Names;
use crate::store::redis::{list, reply};

/// The client may spread keys over servers, and nothing can be asked again from here.
const TOGETHER: Together = Together { groups: false, needs: false };

/// What sending and hearing share.
pub(super) struct Desk {
    names: Names,
    servers: usize,
    asked: u64,
    rows: HashMap<u64, Row>,
    /// Pushes that came before the answers to the calls which asked for what they grant.
    early: Vec<Push>,
}

/// What is kept of a request until its answer.
enum Row {
    Load,
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

impl Desk {
    pub(super) fn new(names: Names, servers: usize, asked: u64) -> Self {
        Self { names, servers, asked, rows: HashMap::new(), early: Vec::new() }
    }

    pub(super) fn errands(&mut self, requests: Vec<Outgoing>) -> Vec<Errand> {
        let mut errands = Vec::with_capacity(requests.len());
        if let Some(load) = self.names.load() {
            let at = self.next();
            errands.push(errand(at, To::All, &load));
            self.rows.insert(at, Row::Load);
        }
        let mut bundles = Vec::new();
        for request in requests.into_iter().enumerate() {
            Bundle::put(&mut bundles, request, false, TOGETHER);
        }
        for bundle in bundles {
            let at = self.next();
            let (to, cmd, row) = match bundle {
                Bundle::Calls(calls) => {
                    (To::Keys, self.names.call(&calls.caller, &calls.calls), Row::Calls(calls))
                }
                Bundle::Keys { id, pattern, cursor, .. } => {
                    let (server, cursor) = place_of(&cursor);
                    let cmd = list::command(self.names.prefix(), &pattern, cursor);
                    (To::One(server), cmd, Row::Keys { id, pattern, server })
                }
            };
            errands.push(errand(at, to, &cmd));
            self.rows.insert(at, row);
        }
        errands
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
                Row::Load => self.names.loaded(each_ok(value)),
                Row::Calls(Calls { calls, asked, .. }) => {
                    let results = match value {
                        Ok(value) => reply::parse_each(&calls, value),
                        Err(error) => vec![Err(self.names.call_error(&error)); calls.len()],
                    };
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

    /// A publication; one that can't be read says nothing (the safety look finds what it meant, R21).
    pub(super) fn hear(&mut self, payload: &[u8], events: &UnboundedSender<LinkEvent>) {
        if let Some(push) = reply::push(self.names.prefix(), payload) {
            self.push(push, events);
        }
    }

    // An answer that says "in line" to what a push has granted since would be taken for the newer of the two.
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
    use crate::store::redis::relay::errands::read;

    const ID: LeaseId = LeaseId { session: SessionId(1), number: 1 };

    fn desk(servers: usize) -> Desk {
        let mut names = Names::new(Layout { prefix: "cl".into(), cluster: false }, 1);
        names.found(Found { way: Way::Function, loaded: true });
        Desk::new(names, servers, 0)
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
        let mut desk = desk(1);
        let asked = desk.errands(vec![acquire(7)])[0].number;
        let push = format!("0000000000000007 1 {ID} 5 2000 1000 1 cl:{{k}}");
        desk.hear(push.as_bytes(), &sender);
        assert_eq!(kinds(&mut events), [""; 0]);
        let queued = "*1\r\n+ok 1000 0000000000000007 -1 0 0 queued 4 0\r\n";
        let answer = read(format!("*2\r\n:{asked}\r\n{queued}").as_bytes()).expect("whole");
        desk.answer(answer, &sender);
        assert_eq!(kinds(&mut events), ["reply", "push"]);
        desk.hear(push.as_bytes(), &sender);
        assert_eq!(kinds(&mut events), ["push"]);
    }

    #[test]
    fn a_library_that_is_missing_is_loaded_everywhere_before_the_next_call() {
        let (sender, mut events) = unbounded_channel();
        let mut desk = desk(3);
        let mut hear = |desk: &mut Desk, number: u64, said: &str| {
            let answer = read(format!("*2\r\n:{number}\r\n{said}\r\n").as_bytes());
            desk.answer(answer.expect("whole"), &sender);
            kinds(&mut events)
        };
        let words = |errand: &Errand| [errand.words[0].clone(), errand.words[1].clone()];
        let asked = desk.errands(vec![acquire(1)])[0].number;
        assert_eq!(hear(&mut desk, asked, "-ERR Function not found"), ["error"]);
        let errands = desk.errands(vec![acquire(2)]);
        let [load, call] = &errands[..] else { panic!("{} errands", errands.len()) };
        assert_eq!((load.to, words(load)), (To::All, ["FUNCTION".to_owned(), "LOAD".to_owned()]));
        assert_eq!((call.to, call.words[0].as_str()), (To::Keys, "FCALL"));
        // One of the three refuses it: from now on all are asked in another way.
        let refused = "*3\r\n$1\r\na\r\n-OOM command not allowed\r\n$1\r\na";
        assert_eq!(hear(&mut desk, load.number, refused), [""; 0]);
        let errands = desk.errands(vec![acquire(3)]);
        let [load, call] = &errands[..] else { panic!("{} errands", errands.len()) };
        assert_eq!(words(load), ["SCRIPT", "LOAD"]);
        assert_eq!(call.words[0], "EVALSHA");
        assert_eq!(hear(&mut desk, load.number, "*3\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na"), [""; 0]);
        assert_eq!(desk.errands(vec![acquire(4)]).len(), 1);
    }

    #[test]
    fn a_cursor_leads_through_all_servers() {
        let (sender, mut events) = unbounded_channel();
        let mut desk = desk(2);
        let mut cursor = "0".to_owned();
        let mut went = Vec::new();
        for says in ["17", "0", "0"] {
            let keys = Outgoing::Keys { id: CallId(1), pattern: "*".into(), cursor };
            let errand = desk.errands(vec![keys]).remove(0);
            went.push((errand.to, errand.words[1].clone()));
            let page = format!("*2\r\n:{}\r\n*2\r\n${}\r\n{says}\r\n*0\r\n", errand.number, says.len());
            desk.answer(read(page.as_bytes()).expect("whole"), &sender);
            let Ok(LinkEvent::Keys { result: Ok((_, next)), .. }) = events.try_recv() else {
                panic!("no page")
            };
            cursor = next;
        }
        let at = |server, cursor: &str| (To::One(server), cursor.to_owned());
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
