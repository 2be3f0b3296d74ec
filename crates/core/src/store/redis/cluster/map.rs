//! Which member of a cluster has which hash slot, by `CLUSTER SLOTS` and redirections.
//!
//! It sends nothing. All keys of a group are in one hash slot, because the user's key is their hash tag (`keys`); so
//! each call goes to one member. Members are numbers here; the router has their addresses.

use redis::Value;

use crate::config::Node;
use crate::lease::Key;
use crate::store::redis::keys;

/// How many hash slots a cluster has.
pub(super) const HASH_SLOTS: usize = 16_384;

/// The hash slot of a group.
pub(super) fn hash_slot(key: &Key) -> u16 {
    crc16(keys::hash_tag(key).as_bytes()) % HASH_SLOTS as u16
}

/// CRC-16 as Redis Cluster takes it: polynomial 0x1021, from zero, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = (byte as u16) << 8;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

/// A set of hash slots.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct HashSlots(Vec<bool>);

impl HashSlots {
    pub(super) fn has(&self, slot: u16) -> bool {
        self.0[usize::from(slot)]
    }

    pub(super) fn add(&mut self, slot: u16) {
        self.0[usize::from(slot)] = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }
}

/// The member that has each hash slot.
pub(super) struct SlotMap(Vec<Option<usize>>);

impl SlotMap {
    /// An empty map.
    pub(super) fn new() -> Self {
        Self(vec![None; HASH_SLOTS])
    }

    pub(super) fn owner(&self, slot: u16) -> Option<usize> {
        self.0[usize::from(slot)]
    }

    /// From now on the hash slots `first` to `last` are this member's.
    pub(super) fn give(&mut self, first: u16, last: u16, member: usize) {
        self.0[usize::from(first)..=usize::from(last)].fill(Some(member));
    }

    /// The hash slots of a member.
    pub(super) fn of(&self, member: usize) -> HashSlots {
        HashSlots(self.0.iter().map(|owner| *owner == Some(member)).collect())
    }

    pub(super) fn has_any(&self, member: usize) -> bool {
        self.0.contains(&Some(member))
    }
}

/// What a member said about its cluster.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Topology {
    /// That member.
    pub(super) told_by: Node,
    /// Hash slots from one to another, and their master.
    pub(super) ranges: Vec<(u16, u16, Node)>,
    /// Replicas, which can be asked about the cluster too.
    pub(super) replicas: Vec<Node>,
}

impl Topology {
    /// Reads the answer to `CLUSTER SLOTS` of the member at `asked`; `None` if it is something else.
    pub(super) fn read(answer: Value, asked: &Node) -> Option<Self> {
        let mut topology = Self { told_by: asked.clone(), ranges: Vec::new(), replicas: Vec::new() };
        for range in list(answer)? {
            let mut parts = list(range)?.into_iter();
            let (first, last) = (number(parts.next()?)?, number(parts.next()?)?);
            if first > last || usize::from(last) >= HASH_SLOTS {
                return None;
            }
            // A member whose address the cluster doesn't know can't be asked.
            if let Some(master) = node(parts.next()?, asked)? {
                topology.ranges.push((first, last, master));
            }
            for replica in parts {
                topology.replicas.extend(node(replica, asked)?);
            }
        }
        Some(topology)
    }
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn number(value: Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(number).ok(),
        _ => None,
    }
}

/// An address. A missing host is the one that was asked; `?` is an unknown one.
fn node(value: Value, asked: &Node) -> Option<Option<Node>> {
    let mut parts = list(value)?.into_iter();
    let host = match parts.next()? {
        Value::Nil => String::new(),
        Value::BulkString(host) => String::from_utf8(host).ok()?,
        _ => return None,
    };
    let port = number(parts.next()?)?;
    Some(match host.as_str() {
        "?" => None,
        "" => Some(Node { host: asked.host.clone(), port }),
        _ => Some(Node { host, port }),
    })
}

/// The member to ask instead, named by a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Redirection {
    /// For this call only (`ASK`), not for the hash slot from now on (`MOVED`).
    pub(super) once: bool,
    pub(super) slot: u16,
    pub(super) to: Node,
}

impl Redirection {
    /// Reads the words of the member at `asked`: `MOVED 3999 127.0.0.1:6381`, `ASK …`, also in the middle of a script's
    /// error. The host may be missing, which is then that of the member; one that is unknown (`?`) leads nowhere.
    pub(super) fn read(words: &str, asked: &Node) -> Option<Self> {
        let mut words = words.split_ascii_whitespace();
        let once =
            words.find_map(|word| match word.trim_matches(|sign: char| !sign.is_ascii_alphabetic()) {
                word if word.eq_ignore_ascii_case("MOVED") => Some(false),
                word if word.eq_ignore_ascii_case("ASK") => Some(true),
                _ => None,
            })?;
        let slot = words.next()?.parse().ok().filter(|slot| usize::from(*slot) < HASH_SLOTS)?;
        // The port of the bus and a name may follow, and the rest of a script's error.
        let address =
            words.next()?.split(['@', ',']).next()?.trim_end_matches(|sign: char| !sign.is_ascii_digit());
        let (host, port) = address.rsplit_once(':')?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host) {
            "?" => return None,
            "" => &asked.host,
            host => host,
        };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Self { once, slot, to: Node { host: host.to_owned(), port } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Node {
        Node { host: host.into(), port }
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn hash_slots_are_those_that_redis_computes() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // What CLUSTER KEYSLOT says of cl:{foo}, cl:{a%7Db{c%7D%25}:queue and cl:{é}:ends.
        for (key, slot) in [("foo", 12182), ("a}b{c}%", 14623), ("é", 10180)] {
            assert_eq!(hash_slot(&Key::new(key).unwrap()), slot, "{key}");
        }
    }

    #[test]
    fn the_answer_of_every_kind_of_server_is_read() {
        let member = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id")]);
        let row = |first, last, members: Vec<Value>| {
            Value::Array([vec![Value::Int(first), Value::Int(last)], members].concat())
        };
        let answer = Value::Array(vec![
            row(0, 99, vec![member(text("10.0.0.1"), 1), member(text("10.0.0.2"), 2)]),
            row(100, 199, vec![member(Value::Nil, 3)]),
            row(200, 299, vec![member(text(""), 4)]),
            row(300, 399, vec![member(text("?"), 5)]),
        ]);
        let topology = Topology::read(answer, &at("seed", 9)).unwrap();
        let ranges = [(0, 99, at("10.0.0.1", 1)), (100, 199, at("seed", 3)), (200, 299, at("seed", 4))];
        assert_eq!(topology.ranges, ranges);
        assert_eq!(topology.replicas, [at("10.0.0.2", 2)]);
    }

    #[test]
    fn anything_else_is_no_topology() {
        let row = |values| Value::Array(vec![Value::Array(values)]);
        let member = || Value::Array(vec![text("h"), Value::Int(1)]);
        for answer in [
            Value::Nil,
            text("OK"),
            row(vec![]),
            row(vec![Value::Int(0), Value::Int(16_384), member()]),
            row(vec![Value::Int(2), Value::Int(1), member()]),
            row(vec![Value::Int(-1), Value::Int(1), member()]),
            row(vec![Value::Int(0), Value::Int(1), text("h")]),
            row(vec![Value::Int(0), Value::Int(1), Value::Array(vec![text("h"), Value::Int(70_000)])]),
        ] {
            assert_eq!(Topology::read(answer.clone(), &at("seed", 9)), None, "{answer:?}");
        }
    }

    #[test]
    fn a_redirection_is_read_with_and_without_a_host() {
        let asked = at("seed", 9);
        let read = |words| Redirection::read(words, &asked);
        assert_eq!(read("MOVED 7 h:1"), Some(Redirection { once: false, slot: 7, to: at("h", 1) }));
        assert_eq!(read("ASK 7 :1"), Some(Redirection { once: true, slot: 7, to: at("seed", 1) }));
        for spelt in
            ["MOVED 7 ::1:1", "MOVED 7 [::1]:1", "moved 7 ::1:1@10001", "-MOVED 7 ::1:1@10001,a.test"]
        {
            assert_eq!(read(spelt), Some(Redirection { once: false, slot: 7, to: at("::1", 1) }), "{spelt}");
        }
        let named = Some(Redirection { once: false, slot: 7, to: at("a-1.test", 1) });
        for spelt in [
            "ERR Error running script (call to f_1): @user_script:12: -MOVED 7 a-1.test:1",
            "MOVED 7 a-1.test:1 script: 0e1f, on @user_script:5.",
            "ERR MOVED 7 a-1.test:1: command failed",
        ] {
            assert_eq!(read(spelt), named, "{spelt}");
        }
        for words in [
            "",
            "MOVED",
            "MOVED 7",
            "MOVED 16384 h:1",
            "MOVED 7 h",
            "ASK 7 h:x",
            "ASK 7 ?:1",
            "TRYAGAIN 7 h:1",
        ] {
            assert_eq!(read(words), None, "{words}");
        }
    }
}
