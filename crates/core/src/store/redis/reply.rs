//! What Redis says, as the protocol's replies, pushes and errors.
//!
//! Believes nothing: any value and any bytes give a result, without a panic and without allocating more than was
//! received (a run of slots is bounded by the highest weight). RESP2 and RESP3 values both. Decides no rule. `words` reads
//! the primitives, `errors` is what refusals mean.

mod errors;
mod words;

use redis::Value;

use self::errors::{garbage, refusal};
use self::words::{Values, Words};
use super::keys::user_key;
use crate::lease::{Epoch, FencingToken, Ticket};
use crate::protocol::{
    Acquired, Answers, CallError, HolderView, Left, Page, Picture, Push, Renewed, Reply, Settled, Verb,
    WaiterView, Waiting,
};

pub use self::errors::call_error;

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
    fn a_push_of_fewer_grants_than_it_says_is_none() {
        assert_eq!(push("cl", b"00000000000000ff 18446744073709551615 cl:{a}"), None);
    }
}
