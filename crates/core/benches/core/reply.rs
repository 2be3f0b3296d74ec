//! Reading what Redis says: the reply to an acquire call, and a push.

use concurrency_limit::protocol::{Ask, Verb};
use concurrency_limit::store::redis::reply;
use divan::Bencher;
use redis::Value;

use crate::{id, terms};

const STATEMENT: &str = "1700000000000000 1700000060000 60000 7";

/// The reply to a call of so many requests, all of them granted.
#[divan::bench(args = [1, 200])]
fn grants(bencher: Bencher, many: u64) {
    let terms = terms(1_000);
    let verb =
        Verb::Acquire((0..many).map(|n| Ask { id: id(1, n), terms: terms.clone(), wait: true }).collect());
    let granted: Vec<String> = (0..many).map(|n| format!("granted {} {STATEMENT}", id(1, n))).collect();
    let value = Value::BulkString(
        format!("ok 1700000000000 00000000000000ff -1 0 0 {}", granted.join(" ")).into_bytes(),
    );
    reply::parse(&verb, value.clone()).expect("a reply that is understood");
    bencher.with_inputs(|| value.clone()).bench_values(|value| reply::parse(&verb, value));
}

/// One grant, told by push.
#[divan::bench]
fn push(bencher: Bencher) {
    let payload = format!("00000000000000ff 1 {} {STATEMENT} cl:{{bench}}", id(1, 7));
    reply::push("cl", payload.as_bytes()).expect("a push that is understood");
    bencher.bench(|| reply::push("cl", divan::black_box(payload.as_bytes())));
}
