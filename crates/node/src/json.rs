//! Status, keys and stats as JSON, with the members' names of `index.d.ts`.

use std::time::Duration;

use concurrency_limit::lease::{Identity, Key};
use concurrency_limit::protocol::Picture;
use concurrency_limit::session::{Histogram, Stats};
use serde_json::{Value, json};

use crate::lengths::seconds;

/// A group's status; JavaScript adds the key.
pub(crate) fn status(picture: &Picture) -> String {
    let holders: Vec<Value> = picture
        .holders
        .iter()
        .map(|holder| {
            let (host, pid, program) = process(holder.identity.as_deref());
            json!({
                "slots": holder.slots,
                "leaseId": holder.id.to_string(),
                "holder": holder.holder.as_deref(),
                "label": holder.label.as_deref(),
                "host": host,
                "pid": pid,
                "program": program,
                "fencingToken": holder.token.0,
                "endsIn": seconds(Duration::from_millis(holder.ends_in_ms)),
                "heldFor": seconds(picture.held_for(holder)),
            })
        })
        .collect();
    let waiters: Vec<Value> = picture
        .waiters
        .iter()
        .map(|waiter| {
            let (host, pid, program) = process(waiter.identity.as_deref());
            json!({
                "leaseId": waiter.id.to_string(),
                "holder": waiter.holder.as_deref(),
                "label": waiter.label.as_deref(),
                "host": host,
                "pid": pid,
                "program": program,
                "limit": waiter.limit,
                "weight": waiter.weight,
                "priority": waiter.priority,
                "waited": seconds(picture.waited(waiter)),
            })
        })
        .collect();
    json!({
        "limit": picture.limit,
        "held": picture.held,
        "waiting": picture.waiting,
        "holders": holders,
        "waiters": waiters,
    })
    .to_string()
}

/// Host, process id and program, as far as they are known.
fn process(identity: Option<&Identity>) -> (Option<&str>, Option<u32>, Option<&str>) {
    match identity {
        None => (None, None, None),
        Some(it) => (it.host().map(|host| &**host), Some(it.pid()), it.program().map(|program| &**program)),
    }
}

/// A page of keys.
pub(crate) fn keys(keys: &[Key], cursor: &str) -> String {
    let keys: Vec<&str> = keys.iter().map(Key::as_str).collect();
    json!({ "keys": keys, "cursor": cursor }).to_string()
}

/// The counters.
pub(crate) fn stats(stats: &Stats) -> String {
    json!({
        "grantedAtOnce": stats.granted_at_once,
        "grantedAfterWaiting": stats.granted_after_waiting,
        "refused": stats.refused,
        "timedOut": stats.timed_out,
        "aborted": stats.aborted,
        "lost": stats.lost,
        "handedOff": stats.handed_off,
        "passed": stats.passed,
        "kept": {
            "now": stats.kept.now,
            "reused": stats.kept.reused,
            "recalled": stats.kept.recalled,
            "unused": stats.kept.unused,
        },
        "calls": stats.calls,
        "reconnects": stats.reconnects,
        "held": stats.held,
        "waiting": stats.waiting,
        "waits": histogram(&stats.waits),
        "holds": histogram(&stats.holds),
    })
    .to_string()
}

fn histogram(histogram: &Histogram) -> Value {
    let buckets: Vec<Value> = histogram
        .cumulative()
        .map(|(bound, count)| json!({ "le": bound.as_secs_f64(), "count": count }))
        .collect();
    json!({ "count": histogram.count(), "sum": histogram.sum().as_secs_f64(), "buckets": buckets })
}
