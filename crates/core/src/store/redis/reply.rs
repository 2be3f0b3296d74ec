//! What Redis says, as the protocol's replies, pushes and errors.
//!
//! Believes nothing: any value and any bytes give a result, without a panic and without allocating more than was
//! received (a run of slots is bounded by the highest weight). RESP2 and RESP3 values both. Decides no rule.

use std::str::FromStr;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use super::keys::user_key;
use crate::lease::{Epoch, FencingToken, LeaseId, Slot, Ticket};
use crate::protocol::{
    Acquired, Answers, CallError, Grant, HolderView, Left, Page, Picture, Push, Renewed, Reply, Settled,
    Verb, WaiterView, Waiting,
};

/// Most slots of one lease.
const MAX_WEIGHT: usize = 1_000;

/// The reply to a call of this verb.
pub fn parse(verb: &Verb, value: Value) -> Result<Reply, CallError> {
    let mut values = Values::of(value).ok_or_else(|| garbage("the reply is no list"))?;
    let head = values.bytes().ok_or_else(|| garbage("the reply begins with no word"))?;
    let mut words = Words(&head);
    if words.next() != Some(b"ok") {
        return Err(refusal(&String::from_utf8_lossy(&head), values.text().unwrap_or_default()));
    }
    success(verb, words, &mut values).ok_or_else(|| garbage("a reply that this version doesn't understand"))
}

/// What an error of the connection or of the server means for the call.
pub fn call_error(error: &RedisError) -> CallError {
    // As the server wrote it: the library puts a code that it has no name for in quotes.
    let text = match (error.kind(), error.code()) {
        (ErrorKind::Extension, Some(code)) => format!("{code} {}", error.detail().unwrap_or_default()),
        _ => error.to_string(),
    };
    if let ErrorKind::Server(kind) = error.kind() {
        let surely_not = match kind {
            ServerErrorKind::NoScript
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask => true,
            ServerErrorKind::NoPerm => return CallError::Denied(text),
            _ => false,
        };
        if surely_not {
            // In the server's own words: the session and a cluster's link read them.
            let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
            return CallError::NotExecuted(format!("{code} {detail}"));
        }
    }
    of_text(text)
}

/// The push that a payload carries, when it is one of this prefix.
pub fn push(prefix: &str, payload: &[u8]) -> Option<Push> {
    let mut words = Words(payload);
    let epoch = words.parse()?;
    let count: usize = words.parse()?;
    let mut grants = Vec::new();
    for _ in 0..count {
        grants.push(words.grant()?);
    }
    Some(Push { key: user_key(prefix, words.0)?, epoch, grants })
}

fn garbage(what: &str) -> CallError {
    CallError::Garbage(what.to_owned())
}

fn refusal(word: &str, text: String) -> CallError {
    match word {
        "stale" => CallError::Stale,
        "wrongtype" => CallError::Unusable(text),
        "version" => {
            CallError::Unusable(format!("the group is laid out in version {text}, this program knows 1"))
        }
        "refused" => of_text(text),
        _ => garbage("a word that this version doesn't understand"),
    }
}

/// Texts differ between versions, and inside a script some come wrapped in another (R24): hence no prefix match.
fn of_text(text: String) -> CallError {
    const NOT_EXECUTED: [&str; 11] = [
        "NOSCRIPT",
        "READONLY",
        "LOADING",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "BUSY ",
        "MISCONF",
        "NOREPLICAS",
        "MOVED ",
        "ASK ",
    ];
    const DENIED: [&str; 6] = [
        "NOPERM",
        "NOAUTH",
        "unknown command",
        "Unknown Redis command",
        "can't run this command",
        "permissions",
    ];
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["WRONGTYPE"]) {
        CallError::Unusable(text)
    } else if has(&["OOM "]) {
        CallError::OutOfMemory(text)
    } else if has(&NOT_EXECUTED) {
        CallError::NotExecuted(text)
    } else if has(&DENIED) {
        CallError::Denied(text)
    } else {
        CallError::Garbage(text)
    }
}

fn success(verb: &Verb, mut head: Words<'_>, values: &mut Values) -> Option<Reply> {
    let now_ms = head.parse()?;
    let epoch = match head.next()? {
        b"-" => Epoch(0),
        some => Words(some).parse()?,
    };
    let next_end_in_ms = head.maybe()?;
    let flags: u64 = head.parse()?;
    let handed = values.each(|text| Words(text).grant())?;
    let answers = answers(verb, values)?;
    Some(Reply {
        now_ms,
        epoch,
        next_end_in_ms,
        again: flags & 1 != 0,
        push_refused: flags & 2 != 0,
        handed,
        answers,
    })
}

fn answers(verb: &Verb, values: &mut Values) -> Option<Answers> {
    let expected = match verb {
        Verb::Acquire(items) => items.len(),
        Verb::Release(items) => items.len(),
        Verb::Renew(items) => items.leases.len(),
        Verb::Leave(items) => items.len(),
        Verb::Reconcile(items) => items.len(),
        Verb::Inspect(_) => return picture(values).map(Answers::Inspect),
        Verb::Clean => return values.number().map(Answers::Clean),
    };
    let answers = match verb {
        Verb::Acquire(_) => Answers::Acquire(values.each_of(expected, acquired)?),
        Verb::Release(_) => Answers::Release(values.numbers(expected, |number| Some(number == 1))?),
        Verb::Renew(renew) => Answers::Renew {
            leases: values.numbers(expected, renewed)?,
            in_line: values.number()?,
            waiters: values.each_of(renew.waiters.len(), waiting)?,
        },
        Verb::Leave(_) => Answers::Leave {
            left: values.each_of(expected, left)?,
            held: values.number()?,
            waiting: values.number()?,
            next_end_in_ms: values.maybe()?,
        },
        _ => Answers::Reconcile(values.each_of(expected, settled)?),
    };
    Some(answers)
}

fn acquired(text: &[u8]) -> Option<Acquired> {
    let mut words = Words(text);
    let answer = match words.next()? {
        b"granted" => Acquired::Granted(words.grant()?),
        b"queued" => Acquired::Queued { ticket: Ticket(words.parse()?), ahead: words.parse()? },
        b"full" => {
            Acquired::Full { held: words.parse()?, waiting: words.parse()?, next_end_in_ms: words.maybe()? }
        }
        b"queue-full" => Acquired::QueueFull { waiting: words.parse()? },
        b"limits" => Acquired::TooManyLimits,
        b"mismatch" => Acquired::HolderMismatch { weight: words.parse()?, highest: words.parse()? },
        _ => return None,
    };
    Some(answer)
}

fn renewed(number: i64) -> Option<Renewed> {
    match number {
        -1 => Some(Renewed::TakenOver),
        0 => Some(Renewed::Gone),
        end => u64::try_from(end).ok().map(|end_at_ms| Renewed::Extended { end_at_ms }),
    }
}

fn waiting(text: &[u8]) -> Option<Waiting> {
    let mut words = Words(text);
    match words.next()? {
        b"line" => Some(Waiting::InLine),
        b"granted" => words.grant().map(Waiting::Granted),
        b"unknown" => Some(Waiting::Unknown),
        _ => None,
    }
}

fn left(text: &[u8]) -> Option<Left> {
    let mut words = Words(text);
    match words.next()? {
        b"left" => Some(Left::Left),
        b"granted" => words.grant().map(Left::Granted),
        _ => None,
    }
}

fn settled(text: &[u8]) -> Option<Settled> {
    let mut words = Words(text);
    match words.next()? {
        b"held" => words.grant().map(Settled::Held),
        b"line" => Some(Settled::InLine { ticket: Ticket(words.parse()?) }),
        b"unknown" => Some(Settled::Unknown),
        b"taken" => Some(Settled::TakenOver),
        b"dropped" => Some(Settled::Dropped { held: words.next()? == b"1" }),
        _ => None,
    }
}

fn picture(values: &mut Values) -> Option<Picture> {
    let holders = values.each(holder_view)?;
    let (limit, held, waiting) = (values.number()?, values.number()?, values.number()?);
    let waiters = values.each(waiter_view)?;
    let (after_slot, waiters_shown) = (values.maybe()?, values.number()?);
    let next = match after_slot {
        Some(after_slot) => Some(Page { after_slot: u32::try_from(after_slot).ok()?, waiters_shown }),
        None => None,
    };
    Some(Picture { limit: u32::try_from(limit).ok()?, held, waiting, holders, waiters, next })
}

fn holder_view(text: &[u8]) -> Option<HolderView> {
    let mut words = Words(text);
    let (id, token, ends_in_ms) = (words.parse()?, FencingToken(words.parse()?), words.parse()?);
    let slots = words.slots()?;
    let (holder, label) = words.name_and_label()?;
    Some(HolderView { id, slots, token, ends_in_ms, holder, label })
}

fn waiter_view(text: &[u8]) -> Option<WaiterView> {
    let mut words = Words(text);
    let (id, ticket, limit) = (words.parse()?, Ticket(words.parse()?), words.parse()?);
    let (weight, priority) = (words.parse()?, words.parse()?);
    let (holder, label) = words.name_and_label()?;
    Some(WaiterView { id, ticket, limit, weight, priority, holder, label })
}

/// The values of a list, one after the other.
struct Values(std::vec::IntoIter<Value>);

impl Values {
    fn of(value: Value) -> Option<Self> {
        match value {
            Value::Array(values) | Value::Set(values) => Some(Self(values.into_iter())),
            _ => None,
        }
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        as_bytes(self.0.next()?)
    }

    fn text(&mut self) -> Option<String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn number(&mut self) -> Option<u64> {
        u64::try_from(as_number(self.0.next()?)?).ok()
    }

    /// A number, or −1 for none.
    fn maybe(&mut self) -> Option<Option<u64>> {
        match as_number(self.0.next()?)? {
            -1 => Some(None),
            number => u64::try_from(number).ok().map(Some),
        }
    }

    fn each<T>(&mut self, parse: impl Fn(&[u8]) -> Option<T>) -> Option<Vec<T>> {
        Self::of(self.0.next()?)?.0.map(|value| parse(&as_bytes(value)?)).collect()
    }

    fn each_of<T>(&mut self, expected: usize, parse: impl Fn(&[u8]) -> Option<T>) -> Option<Vec<T>> {
        self.each(parse).filter(|all| all.len() == expected)
    }

    fn numbers<T>(&mut self, expected: usize, parse: impl Fn(i64) -> Option<T>) -> Option<Vec<T>> {
        let all: Option<Vec<T>> =
            Self::of(self.0.next()?)?.0.map(|value| as_number(value).and_then(&parse)).collect();
        all.filter(|all| all.len() == expected)
    }
}

fn as_bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.into_bytes()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

fn as_number(value: Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(number),
        Value::BulkString(bytes) => Words(&bytes).parse(),
        _ => None,
    }
}

/// A name or a label, if there is one.
type AnyText = Option<Arc<str>>;

/// Words with one space between them; the last may be followed by bytes of any kind.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|byte| *byte == b' ');
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest.get(1..).unwrap_or_default();
        Some(word)
    }

    fn parse<T: FromStr>(&mut self) -> Option<T> {
        std::str::from_utf8(self.next()?).ok()?.parse().ok()
    }

    fn maybe(&mut self) -> Option<Option<u64>> {
        match self.next()? {
            b"-1" => Some(None),
            word => Words(word).parse().map(Some),
        }
    }

    fn grant(&mut self) -> Option<Grant> {
        let id: LeaseId = self.parse()?;
        let (token, end_at_ms, ttl_ms) = (FencingToken(self.parse()?), self.parse()?, self.parse()?);
        Some(Grant { id, slots: self.slots()?, token, end_at_ms, ttl_ms })
    }

    fn slots(&mut self) -> Option<Vec<Slot>> {
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

    fn name_and_label(&mut self) -> Option<(AnyText, AnyText)> {
        let (name, label) = (self.maybe()?, self.maybe()?);
        Some((self.any_text(name)?, self.any_text(label)?))
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
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Renew;

    fn value() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(vec![
            "ok 5 00000000000000ff -1 0",
            "stale",
            "refused",
            "granted",
            "held",
            "line",
            "full",
            "queued",
            "0",
            "-1",
            "00000000000000aa",
            "granted 00000000000000aa-1 1 2 3 1-4294967295",
            "granted 00000000000000aa-1 1 2 3 1-3,7",
        ]);
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<i64>().prop_map(Value::Int),
            word.prop_map(|word| Value::BulkString(word.into())),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::BulkString),
        ];
        leaf.prop_recursive(3, 60, 12, |inner| prop::collection::vec(inner, 0..14).prop_map(Value::Array))
    }

    proptest! {
        #[test]
        fn any_value_gives_a_result(value in value()) {
            for verb in [
                Verb::Acquire(vec![]), Verb::Release(vec![]), Verb::Renew(Renew::default()), Verb::Leave(vec![]),
                Verb::Reconcile(vec![]), Verb::Inspect(Page::default()), Verb::Clean,
            ] {
                let _ = parse(&verb, value.clone());
            }
        }

        #[test]
        fn any_payload_gives_a_push_or_none(payload in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = push("cl", &payload);
        }
    }

    #[test]
    fn a_push_is_understood() {
        let payload = b"00000000000000ff 1 00000000000000aa-7 5 6000 5000 1-3,7 cl:{a%7D b}";
        let push = push("cl", payload).expect("a push");
        assert_eq!((push.key.as_str(), push.epoch), ("a} b", Epoch(0xff)));
        assert_eq!(push.grants[0].slots, [1, 2, 3, 7]);
    }

    #[test]
    fn a_run_of_slots_is_bounded() {
        for (slots, known) in [("1-1000", true), ("1-1001", false), ("1-4294967295", false), ("3-1", false)] {
            let payload = format!("00000000000000ff 1 00000000000000aa-7 5 6000 5000 {slots} cl:{{a}}");
            assert_eq!(push("cl", payload.as_bytes()).is_some(), known, "{slots}");
        }
        assert_eq!(push("cl", b"00000000000000ff 18446744073709551615 cl:{a}"), None);
    }

    #[test]
    fn a_server_that_is_busy_or_full_is_told_by_the_code_of_its_error() {
        let told = |code: &str| {
            call_error(&redis::make_extension_error(code.to_owned(), Some("as it says".to_owned())))
        };
        for code in ["BUSY", "MISCONF", "NOREPLICAS"] {
            assert_eq!(told(code), CallError::NotExecuted(format!("{code} as it says")));
        }
        assert_eq!(told("OOM"), CallError::OutOfMemory("OOM as it says".to_owned()));
    }

    #[test]
    fn an_error_is_told_by_its_words_wherever_they_stand() {
        let inside = "ERR Error running script (call to f_1): @user_script:7: -OOM command not allowed when used memory";
        assert!(matches!(of_text(inside.to_owned()), CallError::OutOfMemory(_)));
        assert!(matches!(of_text("ERR x: -READONLY You can't write".to_owned()), CallError::NotExecuted(_)));
        assert!(matches!(of_text("NOPERM this user has no permissions".to_owned()), CallError::Denied(_)));
        assert!(matches!(of_text("ERR something else".to_owned()), CallError::Garbage(_)));
    }
}
