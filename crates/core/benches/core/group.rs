//! The rules of one key: a pair that nothing stands in the way of, and a hand-off with a line behind it.

use std::sync::Arc;

use concurrency_limit::group::{Group, Receivers};
use concurrency_limit::lease::Epoch;
use concurrency_limit::protocol::{Ask, Caller, News, Reply, Target, Terms, Verb};
use divan::Bencher;

use crate::{caller, id, terms};

const NOW_US: u64 = 1_700_000_000_000_000;
const HOLDER: u64 = 1;
const WAITER: u64 = 2;

/// A group whose time stands still, and the numbers of the requests that it was given.
struct Bench {
    group: Group,
    terms: Arc<Terms>,
    next: u64,
}

impl Bench {
    fn new(limit: u32) -> Self {
        Self { group: Group::default(), terms: terms(limit), next: 0 }
    }

    fn call(&mut self, caller: &Caller, verb: &Verb) -> Reply {
        let mut publish = |_, _, news: News| {
            divan::black_box(news);
            Receivers::Somebody
        };
        self.group.call(NOW_US, Epoch(7), caller, verb, &mut publish).expect("carried out")
    }

    /// Asks for `many` slots in one call; the numbers of the requests are the next ones.
    fn acquire(&mut self, session: u64, many: u64) -> Reply {
        let ask = |number| Ask { id: id(session, number), terms: Arc::clone(&self.terms), wait: true };
        let asks = (self.next..self.next + many).map(ask).collect();
        self.next += many;
        self.call(&caller(session), &Verb::Acquire(asks))
    }

    fn release(&mut self, session: u64, numbers: impl Iterator<Item = u64>) -> Reply {
        let targets = numbers.map(|number| Target::Lease(id(session, number))).collect();
        self.call(&caller(session), &Verb::Release(targets))
    }
}

/// Acquired and given back in two calls, with so many requests in each.
#[divan::bench(args = [1, 200])]
fn pair_uncontended(bencher: Bencher, many: u64) {
    let mut bench = Bench::new(1_000_000);
    bencher.bench_local(|| {
        let first = bench.next;
        divan::black_box(bench.acquire(HOLDER, many));
        bench.release(HOLDER, first..first + many)
    });
}

/// The only slot goes to the head of a line of so many; who had it stands at the end of the line then.
#[divan::bench(args = [10, 1_000, 100_000])]
fn hand_off(bencher: Bencher, waiters: u64) {
    let mut bench = Bench::new(1);
    for _ in 0..=waiters {
        bench.acquire(WAITER, 1);
    }
    let mut held = 0;
    bencher.bench_local(|| {
        divan::black_box(bench.acquire(WAITER, 1));
        held += 1;
        bench.release(WAITER, std::iter::once(held - 1))
    });
}
