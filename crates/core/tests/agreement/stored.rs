//! What a group's keys hold in Redis: as a snapshot, and whether they are in step with each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use concurrency_limit::group::{LeaseSnapshot, NoteSnapshot, SessionSnapshot, Snapshot, WaiterSnapshot};
use concurrency_limit::lease::{FencingToken, Identity, Key, LeaseId, SessionId, Ticket};
use concurrency_limit::store::redis::keys::GroupKeys;

use super::server::Server;

pub(crate) struct Stored {
    fields: BTreeMap<Vec<u8>, Vec<u8>>,
    ends: Vec<(String, f64)>,
    gaps: Vec<(String, f64)>,
    queue: Vec<(String, f64)>,
}

/// What a group's keys hold, byte by byte, with their time to live.
pub(crate) struct Copy(Vec<(String, Vec<u8>, i64)>);

impl Copy {
    pub(crate) fn of(server: &mut Server, key: &Key) -> Self {
        let mut keys = Vec::new();
        for key in GroupKeys::new("cl", key).all() {
            if let Some(dump) = server.ask::<Option<Vec<u8>>>(&["DUMP", key]) {
                keys.push((key.to_owned(), dump, server.ask(&["PTTL", key])));
            }
        }
        Self(keys)
    }

    pub(crate) fn put_back(&self, server: &mut Server) {
        for (key, dump, ttl) in &self.0 {
            let mut restore = redis::cmd("RESTORE");
            restore.arg(key).arg((*ttl).max(0)).arg(dump).exec(&mut server.connection).expect("restored");
        }
    }
}

impl Stored {
    pub(crate) fn read(connection: &mut redis::Connection, keys: &GroupKeys) -> Self {
        let mut pipe = redis::pipe();
        pipe.cmd("HGETALL").arg(&keys.group);
        for key in [&keys.ends, &keys.gaps, &keys.queue] {
            pipe.cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES");
        }
        let (fields, ends, gaps, queue) = pipe.query(connection).expect("the keys");
        Self { fields, ends, gaps, queue }
    }

    fn text(&self, name: &str) -> &str {
        let value = self.fields.get(name.as_bytes()).map_or(&b""[..], |value| value);
        std::str::from_utf8(value).expect("a named field is text")
    }

    /// A number among the words of a named field; 0 without the field.
    fn number(&self, name: &str, place: usize) -> u64 {
        match self.text(name) {
            "" => 0,
            text => text.split(' ').nth(place).and_then(|word| word.parse().ok()).expect("a number"),
        }
    }

    fn with(&self, letter: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
        let rest = move |(field, value): (&'_ Vec<u8>, &'_ Vec<u8>)| -> Option<(usize, usize)> {
            (field.first() == Some(&letter)).then_some((field.len(), value.len()))
        };
        self.fields
            .iter()
            .filter(move |pair| rest(*pair).is_some() && pair.0 != b"state" && pair.0 != b"sole")
            .map(|(field, value)| (&field[1..], &value[..]))
    }

    pub(crate) fn snapshot(&self, now_ms: u64) -> Snapshot {
        let mut leases = Vec::new();
        let mut waiting = BTreeMap::new();
        for (id, record) in self.with(b'l') {
            let id: LeaseId = ascii(id).parse().expect("a lease id");
            match record[0] {
                b'H' => leases.push(lease(id, record)),
                _ if self.is_present(record) => {
                    waiting.insert(id, waiter(id, record));
                }
                _ => {}
            }
        }
        leases.sort_by_key(|lease| lease.id.to_string());
        let waiters: Vec<WaiterSnapshot> = members(&self.queue)
            .map(|(member, _)| waiting.remove(&ascii_id(&member[18..])).expect("a record"))
            .collect();
        assert!(waiting.is_empty(), "waiters that aren't in the queue: {waiting:?}");
        Snapshot {
            epoch: self.text("state").split(' ').nth(1).and_then(|epoch| epoch.parse().ok()),
            held: self.number("state", 2),
            limit: self.number("state", 5) as u32,
            token: FencingToken(self.number("state", 6)),
            ticket: Ticket(self.number("state", 12)),
            leases,
            waiters,
            sessions: self.with(b'c').filter_map(|(id, record)| session(id, record, now_ms)).collect(),
            introductions: (self.with(b'p').map(|(id, record)| introduction(id, record)))
                .filter(|(_, end_ms, _)| *end_ms > now_ms)
                .collect(),
            note: self.note(),
            wanted_ms: self.number("sole", 7),
            cool_ms: self.number("sole", 8),
        }
    }

    fn note(&self) -> Option<NoteSnapshot> {
        let session = self.text("sole").split(' ').next().filter(|session| session.len() > 1)?;
        let wanted = (Ticket(self.number("sole", 5)), self.number("sole", 6) == 1);
        Some(NoteSnapshot {
            session: session.parse().expect("a session"),
            limit: self.number("sole", 1) as u32,
            number: FencingToken(self.number("sole", 2)),
            begun: Ticket(self.number("sole", 3)),
            confirmed_ms: self.number("sole", 4),
            keeps: self.number("sole", 9) == 1,
            wanted: Some(wanted).filter(|wanted| wanted.0.0 > 0),
        })
    }

    fn is_present(&self, record: &[u8]) -> bool {
        ascii(record.split(|byte| *byte == b' ').nth(2).expect("a generation"))
            == self.number("state", 11).to_string()
    }

    /// The sorted sets and counts say the same as the records.
    pub(crate) fn check(&self, snapshot: &Snapshot) {
        if snapshot.epoch.is_none() {
            return;
        }
        let ends: BTreeSet<(String, u64)> = members(&self.ends)
            .filter(|(_, score)| *score > 0.0)
            .map(|(m, score)| (m.clone(), *score as u64))
            .collect();
        let leases: BTreeSet<(String, u64)> =
            snapshot.leases.iter().map(|lease| (lease.id.to_string(), lease.end_at_ms)).collect();
        assert_eq!(ends, leases, "ends");
        let slots: BTreeMap<u32, String> = (snapshot.leases.iter())
            .flat_map(|lease| lease.slots.iter().map(|slot| (*slot, lease.id.to_string())))
            .collect();
        let stored: BTreeMap<u32, String> = self
            .with(b's')
            .map(|(slot, id)| (ascii(slot).parse().expect("a slot"), ascii(id).to_owned()))
            .collect();
        assert_eq!(stored, slots, "slots");
        assert_eq!(self.number("state", 3), snapshot.leases.len() as u64);
        self.check_introductions();
        self.check_gaps(&slots);
        self.check_names(snapshot);
        self.check_line(snapshot);
    }

    fn check_introductions(&self) {
        let said: BTreeSet<(String, u64)> = (self.with(b'p').map(|(id, record)| introduction(id, record)))
            .map(|(id, end_ms, _)| (format!("@{id}"), end_ms))
            .collect();
        let ends: BTreeSet<(String, u64)> = members(&self.ends)
            .filter(|(member, _)| member.starts_with('@'))
            .map(|(member, score)| (member.clone(), -*score as u64))
            .collect();
        assert_eq!(ends, said, "introductions");
    }

    fn check_gaps(&self, slots: &BTreeMap<u32, String>) {
        let top = self.number("state", 4) as u32;
        let free: Vec<u32> = (1..=top).filter(|slot| !slots.contains_key(slot)).collect();
        let mut gaps: Vec<u32> = members(&self.gaps).flat_map(|(member, _)| runs(member)).collect();
        gaps.sort_unstable();
        assert_eq!(gaps, free, "gaps below {top}");
    }

    fn check_names(&self, snapshot: &Snapshot) {
        let names: BTreeMap<&str, String> = (snapshot.leases.iter())
            .filter_map(|lease| Some((lease.holder.as_deref()?, lease.id.to_string())))
            .collect();
        let stored: BTreeMap<&str, String> =
            self.with(b'n').map(|(name, id)| (ascii(name), ascii(id).to_owned())).collect();
        assert_eq!(stored, names, "names");
    }

    fn check_line(&self, snapshot: &Snapshot) {
        let mut classes: BTreeMap<u32, u64> = BTreeMap::new();
        for waiter in &snapshot.waiters {
            *classes.entry(waiter.limit).or_default() += 1;
        }
        let line: Vec<String> = classes.iter().map(|(limit, count)| format!("{limit}:{count}")).collect();
        assert_eq!(self.text("state").split(' ').skip(13).collect::<Vec<_>>(), line);
    }
}

fn members(set: &[(String, f64)]) -> impl Iterator<Item = &(String, f64)> {
    set.iter().filter(|(member, _)| member != ".")
}

fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn ascii_id(text: &str) -> LeaseId {
    text.parse().expect("a lease id")
}

pub(crate) fn runs(text: &str) -> Vec<u32> {
    let run = |run: &str| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        first.parse::<u32>().expect("a slot")..=last.parse().expect("a slot")
    };
    text.split(',').flat_map(run).collect()
}

/// The first words of a record, and what follows them.
fn words<const N: usize>(record: &[u8]) -> ([&str; N], &[u8]) {
    let mut rest = record;
    let found = std::array::from_fn(|_| {
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        ascii(word)
    });
    (found, rest)
}

fn name_and_label(name: &str, label: &str, bytes: &[u8]) -> (Option<Arc<str>>, Option<Arc<str>>) {
    let length = |text: &str| text.parse::<usize>().ok();
    let of_name = length(name).unwrap_or(0);
    let part = |from: usize, length: usize| Arc::from(ascii(&bytes[from..from + length]));
    (length(name).map(|length| part(0, length)), length(label).map(|length| part(of_name, length)))
}

fn lease(id: LeaseId, record: &[u8]) -> LeaseSnapshot {
    let ([_, end, token, limit, slots, name, label], rest) = words::<7>(record);
    let (holder, label) = name_and_label(name, label, rest);
    LeaseSnapshot {
        id,
        end_at_ms: end.parse().expect("an end"),
        token: FencingToken(token.parse().expect("a token")),
        slots: runs(slots),
        limit: limit.parse().expect("a limit"),
        holder,
        label,
    }
}

fn waiter(id: LeaseId, record: &[u8]) -> WaiterSnapshot {
    let ([_, ticket, _, limit, weight, priority, lease, claim, _, name, label], rest) = words::<11>(record);
    let (holder, label) = name_and_label(name, label, rest);
    WaiterSnapshot {
        id,
        ticket: Ticket(ticket.parse().expect("a ticket")),
        limit: limit.parse().expect("a limit"),
        weight: weight.parse().expect("a weight"),
        priority: priority.parse().expect("a priority"),
        lease_ms: lease.parse().expect("a length"),
        claim_ms: claim.parse().expect("a length"),
        holder,
        label,
    }
}

fn introduction(id: &[u8], record: &[u8]) -> (SessionId, u64, Arc<Identity>) {
    let ([end, pid, host, program], rest) = words::<4>(record);
    let (host, program) = name_and_label(host, program, rest);
    let identity = Identity::new(host.as_deref(), pid.parse().expect("a process id"), program.as_deref());
    (ascii(id).parse().expect("a session"), end.parse().expect("an end"), Arc::new(identity))
}

fn session(id: &[u8], record: &[u8], now_ms: u64) -> Option<SessionSnapshot> {
    let ([deadline, connection, listens, count, guard, _], _) = words::<6>(record);
    let number = |text: &str| text.parse::<u64>().expect("a number");
    (number(count) > 0 || number(guard) > now_ms).then(|| SessionSnapshot {
        id: ascii(id).parse().expect("a session"),
        deadline_ms: number(deadline),
        connection: number(connection),
        listens: listens == "1",
        count: number(count),
    })
}
