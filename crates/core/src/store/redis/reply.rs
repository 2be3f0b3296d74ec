//! Reads Redis' answers: replies, pushes and errors of the protocol.
//!
//! It trusts nothing: any value and any bytes give a result, without a panic and without allocating more than was
//! received (a run of slots is bounded by the highest weight). Values may be of RESP2 or RESP3. It decides no rule.
//! `words` reads the primitives, `picture` the answer to inspect, `errors` gives the meaning of errors.

mod errors;
mod picture;
mod words;

use redis::{RedisResult, Value};

use self::errors::{garbage, refusal};
use self::picture::picture;
use self::words::{Words, as_bytes};
use super::keys::user_key;
use crate::lease::{Epoch, FencingToken, Ticket};
use crate::protocol::{
    Acquired, Answers, Call, CallError, Left, News, Noted, Push, Reconciled, Renewed, Reply, Verb, Waiting,
};

pub use self::errors::call_error;
pub(super) use self::errors::{logged_out, outside_a_cluster};

/// A reply that isn't the server's error.
pub(super) fn checked(value: Value) -> RedisResult<Value> {
    match value {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

/// The reply to a call of this verb.
pub fn parse(verb: &Verb, value: Value) -> Result<Reply, CallError> {
    let text = as_bytes(value).ok_or_else(|| garbage("the reply is no text"))?;
    let mut words = Words(&text);
    match words.next() {
        Some(b"ok") => {
            success(verb, words).ok_or_else(|| garbage("a reply that this version doesn't understand"))
        }
        Some(word) => {
            Err(refusal(&String::from_utf8_lossy(word), String::from_utf8_lossy(words.0).into_owned()))
        }
        None => Err(garbage("the reply has no words")),
    }
}

/// The replies to the calls of one command, one each.
pub fn parse_each(calls: &[Call], value: Value) -> Vec<Result<Reply, CallError>> {
    match value {
        Value::Array(values) if values.len() == calls.len() => {
            calls.iter().zip(values).map(|(call, value)| parse(&call.verb, value)).collect()
        }
        value if calls.len() == 1 => vec![parse(&calls[0].verb, value)],
        _ => calls.iter().map(|_| Err(garbage("not as many replies as calls"))).collect(),
    }
}

/// The push in a payload; none if it isn't one, or is of another prefix.
pub fn push(prefix: &str, payload: &[u8]) -> Option<Push> {
    let mut words = Words(payload);
    let epoch = words.parse()?;
    let news = match words.next()? {
        b"wanted" => News::Wanted { number: FencingToken(words.parse()?), ticket: Ticket(words.parse()?) },
        b"gone" => News::Gone(words.parse()?),
        count => {
            let count: usize = Words(count).parse()?;
            let mut grants = Vec::new();
            for _ in 0..count {
                grants.push(words.grant()?);
            }
            News::Grants(grants)
        }
    };
    Some(Push { key: user_key(prefix, words.0)?, epoch, news })
}

fn success(verb: &Verb, mut words: Words<'_>) -> Option<Reply> {
    let now_ms = words.parse()?;
    let epoch = match words.next()? {
        b"-" => Epoch(0),
        some => Words(some).parse()?,
    };
    let next_end_in_ms = words.maybe()?;
    let flags: u64 = words.parse()?;
    let handed = words.counted(Words::grant)?;
    let answers = answers(verb, &mut words)?;
    words.0.is_empty().then_some(Reply {
        now_ms,
        epoch,
        next_end_in_ms,
        again: flags & 1 != 0,
        push_refused: flags & 2 != 0,
        handed,
        answers,
    })
}

fn answers(verb: &Verb, words: &mut Words<'_>) -> Option<Answers> {
    let answers = match verb {
        Verb::Acquire(asks) => Answers::Acquire(words.each(asks.len(), acquired)?),
        Verb::Release(targets) => Answers::Release(words.each(targets.len(), Words::flag)?),
        Verb::Renew(renew) => Answers::Renew {
            leases: words.each(renew.leases.len(), renewed)?,
            in_line: words.parse()?,
            waiters: words.each(renew.waiters.len(), waiting)?,
        },
        Verb::Leave(ids) => Answers::Leave {
            left: words.each(ids.len(), left)?,
            held: words.parse()?,
            waiting: words.parse()?,
            next_end_in_ms: words.maybe()?,
        },
        Verb::Reconcile { items, .. } => Answers::Reconcile {
            reconciled: words.each(items.len(), reconciled)?,
            own: words.counted(Words::parse)?,
            own_next: words.maybe()?,
        },
        Verb::Inspect(_) => Answers::Inspect(picture(words)?),
        Verb::Clean => Answers::Clean(words.parse()?),
        Verb::Join(join) => Answers::Acquire(words.each(join.items.len(), acquired)?),
        Verb::Note(_) => Answers::Note(noted(words)?),
    };
    Some(answers)
}

fn acquired(words: &mut Words<'_>) -> Option<Acquired> {
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

fn renewed(words: &mut Words<'_>) -> Option<Renewed> {
    match words.next()? {
        b"-1" => Some(Renewed::TakenOver),
        b"0" => Some(Renewed::Gone),
        end => Words(end).parse().map(|end_at_ms| Renewed::Extended { end_at_ms }),
    }
}

fn waiting(words: &mut Words<'_>) -> Option<Waiting> {
    match words.next()? {
        b"line" => Some(Waiting::InLine),
        b"granted" => words.grant().map(Waiting::Granted),
        b"unknown" => Some(Waiting::Unknown),
        _ => None,
    }
}

fn left(words: &mut Words<'_>) -> Option<Left> {
    match words.next()? {
        b"left" => Some(Left::Left),
        b"granted" => words.grant().map(Left::Granted),
        _ => None,
    }
}

fn reconciled(words: &mut Words<'_>) -> Option<Reconciled> {
    match words.next()? {
        b"held" => words.grant().map(Reconciled::Held),
        b"line" => Some(Reconciled::InLine { ticket: Ticket(words.parse()?) }),
        b"unknown" => Some(Reconciled::Unknown),
        b"taken" => Some(Reconciled::TakenOver),
        b"dropped" => Some(Reconciled::Dropped { held: words.flag()? }),
        _ => None,
    }
}

fn noted(words: &mut Words<'_>) -> Option<Noted> {
    match words.next()? {
        b"sole" => Some(Noted::Sole {
            number: FencingToken(words.parse()?),
            begun: Ticket(words.parse()?),
            after: FencingToken(words.parse()?),
            last: FencingToken(words.parse()?),
        }),
        b"wanted" => Some(Noted::Wanted { ticket: Ticket(words.parse()?) }),
        b"no" => Some(Noted::No { again_in_ms: words.parse()? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::lease::LeaseId;
    use crate::protocol::{Ask, Join, JoinAsk, NoteAsk, Page, ReconcileItem, Renew, Target, Terms};

    /// Replies that begin correctly and continue with words of replies, or with any bytes.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(vec![
            "stale",
            "refused",
            "granted",
            "held",
            "line",
            "full",
            "queued",
            "sole",
            "wanted",
            "no",
            "0",
            "1",
            "-1",
            "18446744073709551615",
            "00000000000000aa",
            "granted 00000000000000aa-1 1 2 3 1-4294967295",
            "00000000000000aa-1 1 2 3 1-3,7",
        ]);
        let words = prop::collection::vec(word, 0..14).prop_map(|words| words.join(" ").into_bytes());
        let rest = prop_oneof![words, prop::collection::vec(any::<u8>(), 0..40)];
        (any::<bool>(), rest).prop_map(|(ok, rest)| {
            let head: &[u8] = if ok { b"ok 5 00000000000000ff -1 0 " } else { b"" };
            [head, rest.as_slice()].concat()
        })
    }

    fn ask() -> Ask {
        let terms = Terms {
            limit: 1,
            weight: 1,
            priority: 0,
            lease_ms: 1,
            claim_ms: 1,
            max_waiting: None,
            holder: None,
            label: None,
        };
        Ask { id: id(), terms: Arc::new(terms), wait: true }
    }

    fn id() -> LeaseId {
        "00000000000000aa-1".parse().expect("an id")
    }

    proptest! {
        #[test]
        fn any_text_gives_a_result(text in text()) {
            for verb in [
                Verb::Acquire(vec![ask()]), Verb::Release(vec![Target::Lease(id())]), Verb::Renew(Renew::default()),
                Verb::Leave(vec![id()]), Verb::Reconcile { items: vec![ReconcileItem::Drop(id())], own_from: Some(0) }, Verb::Inspect(Page::default()),
                Verb::Clean, Verb::Note(NoteAsk { limit: 1, number: None, keeps: true }),
                Verb::Join(Join { number: FencingToken(1), items: vec![JoinAsk { id: id(), terms: ask().terms, ticket: Ticket(1) }] }),
            ] {
                let _ = parse(&verb, Value::BulkString(text.clone()));
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
        assert_eq!(push.news.grants()[0].slots, [1, 2, 3, 7]);
    }

    #[test]
    fn a_push_of_fewer_grants_than_it_says_is_none() {
        assert_eq!(push("cl", b"00000000000000ff 18446744073709551615 cl:{a}"), None);
    }
}
