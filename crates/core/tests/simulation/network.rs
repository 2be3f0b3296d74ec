//! The network: what is under way, in the order in which it arrives, first in first out on each link and way.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use concurrency_limit::moment::Moment;
use concurrency_limit::protocol::{Call, CallError, CallId, Caller, Push, Reply};
use concurrency_limit::session::{Check, Tag};

/// A number for each connection that was ever opened.
pub(crate) type LinkId = u64;

#[derive(Debug)]
pub(crate) enum Message {
    /// A process asks to be connected.
    Knock {
        link: LinkId,
        part: usize,
    },
    /// The connection stands, or doesn't.
    Welcome {
        link: LinkId,
        listens: bool,
        uptime: Option<Duration>,
    },
    Refusal {
        link: LinkId,
    },
    Call {
        link: LinkId,
        id: CallId,
        caller: Caller,
        call: Call,
    },
    Reply {
        link: LinkId,
        id: CallId,
        result: Result<Reply, CallError>,
    },
    Push {
        link: LinkId,
        push: Push,
    },
    /// The process finds its connection dead.
    Down {
        link: LinkId,
    },
    /// The process finds this strand of its connection dead.
    Cut {
        link: LinkId,
    },
    /// The server finds the connection dead: what was sent before it has been carried out by then.
    Hangup {
        link: LinkId,
    },
    /// Something that happens at a process or to it.
    Deed {
        process: usize,
        deed: Deed,
    },
    /// Pushes don't come over this connection any more.
    PushLost {
        link: LinkId,
    },
    /// Something that happens to the server.
    Server(Turn),
}

/// What a process does, or what is done to it.
#[derive(Debug)]
pub(crate) enum Deed {
    Acquire,
    Release { tag: Tag },
    Cancel { tag: Tag },
    Checked { check: Check, result: Result<(), String> },
    Ask,
    Close,
    Wake,
    Crash,
    Cut,
    CutPart,
    Deafen,
    Suspend { length: Duration },
    Resume,
}

/// A turn in the server's life.
#[derive(Debug)]
pub(crate) enum Turn {
    Stops {
        empty: bool,
    },
    Starts,
    Refuses {
        length: Duration,
    },
    Obeys,
    IsFull {
        length: Duration,
    },
    HasRoom,
    /// Nobody reaches it, and it keeps what it has.
    Hides {
        length: Duration,
    },
    Appears,
    /// A replica has what it has now, and nothing more until it's promoted.
    IsCopied {
        length: Duration,
    },
    GoesBack,
}

/// A way of a connection; what goes one way arrives in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    ToServer,
    ToProcess,
    /// Where pushes have a connection of their own.
    Aside,
}

#[derive(Debug)]
struct Entry {
    at: Moment,
    order: u64,
    message: Message,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    entries: BinaryHeap<Reverse<Entry>>,
    order: u64,
    /// The last arrival on each link and way.
    last: HashMap<(LinkId, Way), Moment>,
}

impl Network {
    /// Lets a message arrive at `at`.
    pub(crate) fn post(&mut self, at: Moment, message: Message) {
        self.order += 1;
        self.entries.push(Reverse(Entry { at, order: self.order, message }));
    }

    /// Lets a message arrive at `at`, but not before those that went the same way of the same link earlier.
    pub(crate) fn post_in_order(&mut self, link: LinkId, way: Way, at: Moment, message: Message) {
        self.hold(link, way, at);
        self.post(self.last[&(link, way)], message);
    }

    /// What goes this way of the link from now on arrives at `at` at the earliest.
    pub(crate) fn hold(&mut self, link: LinkId, way: Way, at: Moment) {
        let last = self.last.entry((link, way)).or_default();
        *last = at.max(*last);
    }

    pub(crate) fn next_at(&self) -> Option<Moment> {
        self.entries.peek().map(|Reverse(entry)| entry.at)
    }

    pub(crate) fn take(&mut self) -> Option<Message> {
        self.entries.pop().map(|Reverse(entry)| entry.message)
    }
}
