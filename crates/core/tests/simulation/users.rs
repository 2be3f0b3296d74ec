//! What people want of a process: leases of several kinds, answers, and now and then to be rid of a client.
//!
//! Four keys: a plain one, one whose requests bring different limits, one with names and priorities, and one that a
//! process has to itself for a while.

use std::sync::Arc;
use std::time::Duration;

use concurrency_limit::error::Error;
use concurrency_limit::lease::Key;
use concurrency_limit::moment::Moment;
use concurrency_limit::protocol::{Target, Terms};
use concurrency_limit::session::{AdminQuery, ClientId, Event, Granted, Request, Tag};

use crate::audit::Inside;
use crate::network::{Deed, Message};
use crate::trace;
use crate::world::World;

/// The key that processes have to themselves, one after the other.
pub(crate) const ALONE: &str = "alone";

/// For how long.
const TERM: u64 = 7;

/// The client that stays.
const RESIDENT: ClientId = ClientId(1);

/// What a request asked for, as far as its answer is judged by it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) client: ClientId,
    pub(crate) key: Key,
    pub(crate) limit: u32,
    pub(crate) weight: u32,
    pub(crate) holder: Option<Arc<str>>,
    pub(crate) max_waiting: Option<u64>,
    /// When it was asked, and for how long it may wait in line.
    pub(crate) asked_at: Moment,
    pub(crate) timeout: Option<Duration>,
    pub(crate) lease: Duration,
    /// How long the lease may last in all, where that is bounded.
    pub(crate) longest: Option<Duration>,
}

/// What a request may take beside its own time: `commandTimeout`, and what the network and a late look at it take.
const ANSWER: Duration = Duration::from_millis(1_100);

/// Where slots are kept, a request that tries once may wait so long for one of them.
const BRIEF_WAIT: Duration = Duration::from_millis(100);

impl Wanted {
    /// Until when it must be answered, if it was never held up: `since` is when its process last went on.
    pub(crate) fn due_at(&self, since: Moment) -> Option<Moment> {
        Some((self.asked_at + self.timeout?.max(BRIEF_WAIT)).max(since) + ANSWER)
    }
}

fn key(name: &str) -> Key {
    Key::new(name).expect("a key")
}

impl World {
    pub(crate) fn acquire(&mut self, process: usize) {
        if self.calm {
            return;
        }
        let (key, terms) = if self.goes_alone(process) { self.terms_alone() } else { self.terms() };
        let alone = key.as_str() == ALONE;
        let timeout = match self.dice.below(10) {
            0 => Some(Duration::ZERO),
            1 => None,
            _ => Some(self.dice.ms(10, 15_000)),
        };
        let renew = alone || !self.dice.one_in(10);
        let hold = (!alone && self.dice.one_in(10)).then(|| self.dice.ms(300, 5_000));
        let keep = if alone && self.keeps { self.dice.ms(0, 2_000) } else { Duration::ZERO };
        let hold_ms = hold.map_or(u64::MAX, |hold| hold.as_millis() as u64);
        let lease = Duration::from_millis(terms.lease_ms.min(hold_ms));
        let cancel = self.dice.one_in(8).then(|| self.dice.ms(0, 2_000));
        let as_guest = self.dice.one_in(3);
        let it = &mut self.processes[process];
        let (tag, client) = (it.tag(), if as_guest { it.guest } else { RESIDENT });
        let wanted = Wanted {
            client,
            key: key.clone(),
            limit: terms.limit,
            weight: terms.weight,
            holder: terms.holder.clone(),
            max_waiting: terms.max_waiting,
            asked_at: self.now,
            timeout,
            lease,
            longest: hold.or((!renew).then_some(lease)),
        };
        it.open.insert(tag, wanted);
        let interval = Duration::from_millis(100);
        let request = Request { client, tag, key, terms, timeout, interval, renew, hold, keep };
        it.sessions.submit(self.now, request);
        if let Some(after) = cancel {
            self.network.post(self.now + after, Message::Deed { process, deed: Deed::Cancel { tag } });
        }
    }

    /// In its term most of what a process asks for is of the key that it has to itself then; now and then somebody else
    /// asks for that, too.
    fn goes_alone(&mut self, process: usize) -> bool {
        let living: Vec<usize> = (0..self.processes.len()).filter(|it| self.processes[*it].alive).collect();
        let term = self.now.since_start().as_secs() / TERM;
        let mine = living[term as usize % living.len()] == process;
        if mine { !self.dice.one_in(5) } else { self.dice.one_in(250) }
    }

    fn terms_alone(&mut self) -> (Key, Terms) {
        let max_waiting = self.dice.one_in(20).then_some(3);
        let (limit, lease_ms) = (self.limit_alone, 6_000);
        let terms = Terms {
            limit,
            weight: 1,
            priority: 0,
            lease_ms,
            claim_ms: lease_ms,
            max_waiting,
            holder: None,
            label: None,
        };
        (key(ALONE), terms)
    }

    fn terms(&mut self) -> (Key, Terms) {
        let lease_ms = 1_000 + self.dice.below(8_000);
        let max_waiting = self.dice.one_in(8).then(|| 2 + self.dice.below(8));
        let mut terms = Terms {
            limit: 3,
            weight: 1,
            priority: 0,
            lease_ms,
            claim_ms: lease_ms,
            max_waiting,
            holder: None,
            label: None,
        };
        let name = match self.dice.below(10) {
            0..=4 => {
                terms.weight += u32::from(self.dice.one_in(6));
                "plain"
            }
            5..=7 => {
                terms.limit = self.dice.pick(&[1, 2, 4]);
                terms.weight = 1 + u32::from(terms.limit > 1 && self.dice.one_in(6));
                "mixed"
            }
            _ => {
                terms.limit = 2;
                terms.priority = self.dice.pick(&[-1, 0, 0, 7]);
                terms.holder = self.dice.one_in(3).then(|| Arc::from(self.dice.pick(&["anna", "ben"])));
                "named"
            }
        };
        (key(name), terms)
    }

    pub(crate) fn release(&mut self, process: usize, tag: Tag) {
        let it = &mut self.processes[process];
        if let Some((client, _)) = it.held.remove(&tag) {
            it.releasing.insert(tag);
            it.sessions.release(self.now, client, tag);
            self.audit.leave(process, tag);
        }
    }

    /// What happens to every process now and then, and is no fault.
    pub(crate) fn plan_oddities(&mut self, process: usize) {
        for deed in [Deed::Ask, Deed::Close] {
            let at = self.now + self.dice.ms(500, 20_000);
            self.network.post(at, Message::Deed { process, deed });
        }
    }

    pub(crate) fn ask(&mut self, process: usize) {
        if self.calm {
            return;
        }
        let key = key(self.dice.pick(&["plain", "mixed", "named", ALONE]));
        let question = match self.dice.below(5) {
            0 => AdminQuery::Status(key),
            1 => AdminQuery::Clean(key),
            2 => AdminQuery::Stats,
            3 => {
                let name: Arc<str> = Arc::from("anna");
                self.audit.force_name(&name);
                AdminQuery::Release(key, Target::Holder(name))
            }
            _ => {
                let Some((key, id)) = self.audit.anybody(self.dice.any()) else { return };
                self.audit.force(id);
                AdminQuery::Release(key, Target::Lease(id))
            }
        };
        let it = &mut self.processes[process];
        let tag = it.tag();
        it.asked.insert(tag);
        it.sessions.ask(self.now, RESIDENT, tag, question);
        let at = self.now + self.dice.ms(500, 20_000);
        self.network.post(at, Message::Deed { process, deed: Deed::Ask });
    }

    /// The guest goes, and another one comes.
    pub(crate) fn close(&mut self, process: usize) {
        let release = self.dice.one_in(2);
        let it = &mut self.processes[process];
        let (guest, tag) = (it.guest, it.tag());
        let theirs: Vec<Tag> =
            it.held.iter().filter(|(_, (c, _))| *c == guest).map(|(tag, _)| *tag).collect();
        for tag in theirs {
            if let Some((_, id)) = it.held.remove(&tag)
                && !release
            {
                self.patience.leave_to_end(id);
            }
            self.audit.leave(process, tag);
        }
        it.closing.insert(tag);
        it.sessions.close(self.now, guest, tag, release);
        it.guest = ClientId(guest.0 + 1);
        if !self.calm {
            let at = self.now + self.dice.ms(500, 20_000);
            self.network.post(at, Message::Deed { process, deed: Deed::Close });
        }
    }

    /// Somebody is told something.
    pub(crate) fn tell(&mut self, process: usize, event: Event) {
        if self.traced {
            self.say(&format!("process {process}"), &format!("is told {}", trace::event(&event)));
        }
        let it = &mut self.processes[process];
        match event {
            Event::Granted { tag, client, lease } => {
                let wanted = it.open.remove(&tag).unwrap_or_else(|| panic!("a second answer for {tag}"));
                assert_eq!(client, wanted.client);
                self.must_be_in_time(process, &wanted);
                self.judge_arrival(process, &wanted);
                self.enter(process, tag, wanted, lease);
                self.come_again(process);
            }
            Event::Failed { tag, error, .. } => {
                let wanted = it.open.remove(&tag).unwrap_or_else(|| panic!("a second answer for {tag}"));
                self.must_be_in_time(process, &wanted);
                check_error(&wanted, error);
                self.come_again(process);
            }
            Event::Lost { tag, .. } => {
                self.audit.leave(process, tag);
            }
            Event::Renewed { tag, deadline, .. } => {
                let linked_us = self.server_us_at(self.processes[process].linked_at);
                self.audit.extend((linked_us, self.server_us()), process, tag, deadline);
            }
            Event::Released { tag, .. } => {
                assert!(it.releasing.remove(&tag), "told of a release that nobody asked for: {tag}");
            }
            Event::Answered { tag, .. } => assert!(it.asked.remove(&tag), "a second answer for {tag}"),
            Event::Closed { tag, .. } => assert!(it.closing.remove(&tag), "a second end for {tag}"),
            Event::Connecting
            | Event::Connected
            | Event::ConnectFailed(_)
            | Event::Reconnected
            | Event::Disconnected(_)
            | Event::PushUnavailable
            | Event::Warning(_) => {}
        }
    }

    fn enter(&mut self, process: usize, tag: Tag, wanted: Wanted, lease: Granted) {
        let Granted { id, slots, token, deadline, stood_in, .. } = lease;
        assert_eq!(slots.len(), wanted.weight as usize, "as many slots as asked for");
        let alone = wanted.key.as_str() == ALONE;
        let least = Duration::from_millis(500).min(wanted.lease / 4);
        assert!(
            self.now + least <= deadline,
            "told of a lease that is nearly over: {wanted:?} until {deadline:?}"
        );
        let inside = Inside {
            id,
            key: wanted.key,
            limit: wanted.limit,
            holder: wanted.holder,
            slots,
            token,
            deadline,
            last_at: wanted.longest.map(|longest| self.now + longest),
            stood_in,
        };
        let processes = &self.processes;
        self.audit.enter(self.now, (process, tag), inside, |other| processes[other].awake());
        self.processes[process].held.insert(tag, (wanted.client, id));
        let hold = if alone && !self.dice.one_in(4) {
            self.dice.ms(0, 40)
        } else if self.dice.one_in(10) {
            self.dice.ms(0, 12_000)
        } else {
            self.dice.ms(0, 400)
        };
        self.network.post(self.now + hold, Message::Deed { process, deed: Deed::Release { tag } });
    }

    /// Every request is answered within its own time.
    fn must_be_in_time(&self, process: usize, wanted: &Wanted) {
        let due = wanted.due_at(self.processes[process].resumed_at);
        assert!(
            due.is_none_or(|due| self.now <= due),
            "answered late, due at {due:?}: {wanted:?} at {:?}",
            self.now
        );
    }

    fn come_again(&mut self, process: usize) {
        let at = self.now + self.dice.ms(1, 300);
        self.network.post(at, Message::Deed { process, deed: Deed::Acquire });
    }
}

/// A request may only fail in ways that its own terms allow.
fn check_error(wanted: &Wanted, error: Option<Error>) {
    match error {
        Some(Error::QueueFull { waiting, .. }) => {
            assert!(
                wanted.max_waiting.is_some_and(|most| waiting >= most),
                "{waiting} wait, refused: {wanted:?}"
            );
        }
        Some(Error::Config { .. }) => assert!(wanted.holder.is_some(), "{error:?} for {wanted:?}"),
        Some(Error::Protocol { .. } | Error::LeaseLost { .. }) => panic!("{error:?} for {wanted:?}"),
        _ => {}
    }
}
