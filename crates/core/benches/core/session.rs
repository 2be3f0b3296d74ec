//! One process's side: requests go in, are granted and given back; the store answers every call at once.

use std::time::Duration;

use concurrency_limit::lease::{Epoch, FencingToken, Key, LeaseId, SessionId, Ticket};
use concurrency_limit::moment::Moment;
use concurrency_limit::protocol::{Acquired, Answers, Ask, Grant, Outgoing, Reply, Terms, Verb};
use concurrency_limit::session::{ClientId, Event, Output, Request, Session, Settings};
use divan::Bencher;

use crate::terms;

const CLIENT: ClientId = ClientId(1);
const LIMIT: u32 = 1_000_000;

/// Long enough that no renewal comes between the looks.
const LEASE_MS: u64 = 3_600_000_000;

/// A session with an open connection, and a store that grants as long as there is `room`.
struct Bench {
    session: Session,
    now: Moment,
    tag: u64,
    told: u64,
    room: bool,
}

impl Bench {
    fn new() -> Self {
        let settings = Settings {
            id: SessionId(1),
            address: "redis://bench".into(),
            command_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(10),
            settle: Duration::ZERO,
            impatient: false,
            identity: None,
            checked: false,
        };
        let now = Moment::at(Duration::from_secs(1_000));
        let mut bench = Self { session: Session::new(settings), now, tag: 0, told: 0, room: true };
        bench.submit(1);
        bench.exchange();
        bench.session.handle_connected(now, true, None);
        bench.exchange();
        bench.release(1);
        bench.exchange();
        assert_eq!(bench.told, 2, "a grant and a release are told");
        bench
    }

    fn submit(&mut self, many: u64) {
        for _ in 0..many {
            self.tag += 1;
            let request = Request {
                client: CLIENT,
                tag: self.tag,
                key: Key::new("bench").expect("a key"),
                terms: Terms { lease_ms: LEASE_MS, ..(*terms(LIMIT)).clone() },
                timeout: None,
                interval: Duration::from_millis(100),
                renew: true,
                hold: None,
                keep: Duration::ZERO,
            };
            self.session.submit(self.now, request);
        }
    }

    /// Gives back what the last `many` requests got.
    fn release(&mut self, many: u64) {
        for tag in self.tag - many + 1..=self.tag {
            self.session.release(self.now, CLIENT, tag);
        }
    }

    /// Carries everything out that the session wants, until it wants no more.
    fn exchange(&mut self) {
        while let Some(output) = self.session.poll_output(self.now) {
            match output {
                Output::Send(Outgoing::Call { id, call, .. }) => {
                    let reply = answer(&call.verb, self.room);
                    self.session.handle_reply(self.now, id, Ok(reply));
                }
                Output::Event(Event::Granted { .. } | Event::Released { was_held: true, .. }) => {
                    self.told += 1;
                }
                Output::Connect => {}
                other => panic!("not expected here: {other:?}"),
            }
        }
    }
}

fn answer(verb: &Verb, room: bool) -> Reply {
    let queued = |_| Acquired::Queued { ticket: Ticket(1), ahead: 0 };
    let answers = match verb {
        Verb::Acquire(asks) if room => Answers::Acquire(asks.iter().map(granted).collect()),
        Verb::Acquire(asks) => Answers::Acquire(asks.iter().map(queued).collect()),
        Verb::Renew(_) => Answers::Renew { leases: Vec::new(), in_line: 1, waiters: Vec::new() },
        Verb::Release(targets) => Answers::Release(vec![true; targets.len()]),
        other => panic!("not expected here: {other:?}"),
    };
    Reply {
        now_ms: 5_000_000,
        epoch: Epoch(7),
        next_end_in_ms: None,
        again: false,
        push_refused: false,
        handed: Vec::new(),
        answers,
    }
}

fn granted(ask: &Ask) -> Acquired {
    let LeaseId { number, .. } = ask.id;
    let slots = vec![1 + (number % u64::from(LIMIT)) as u32];
    let (end_at_ms, ttl_ms) = (5_060_000, ask.terms.lease_ms);
    Acquired::Granted(Grant { id: ask.id, slots, token: FencingToken(number), end_at_ms, ttl_ms })
}

/// So many requests of one key at once, granted and given back.
#[divan::bench(args = [1, 1_000])]
fn submit_grant_release(bencher: Bencher, many: u64) {
    let mut bench = Bench::new();
    bencher.bench_local(|| {
        bench.submit(many);
        bench.exchange();
        bench.release(many);
        bench.exchange();
    });
}

/// The look for the one request that waits, beside so many leases that aren't due.
#[divan::bench(args = [10, 1_000, 100_000])]
fn look_beside_held(bencher: Bencher, held: u64) {
    let mut bench = Bench::new();
    bench.submit(held);
    bench.exchange();
    bench.room = false;
    bench.submit(1);
    bench.exchange();
    bencher.bench_local(|| {
        bench.now = bench.session.poll_deadline().expect("a look is due");
        bench.session.handle_timeout(bench.now);
        bench.exchange();
    });
}
