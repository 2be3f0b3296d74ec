//! The session's side of one group: which of its requests stand where, and what has to be asked next.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::{Session, Timer};
use crate::error::Error;
use crate::lease::Key;
use crate::moment::Moment;

#[derive(Debug)]
pub(super) struct Line {
    pub(super) key: Key,
    /// How many acquisitions stand here, in whatever state.
    pub(super) members: u64,
    /// To be asked for, oldest first.
    pub(super) pending: BTreeSet<u64>,
    /// New requests and releases without a timer, some of which have been sent: their calls' own time-outs cover them.
    pub(super) unarmed: Vec<u64>,
    /// To be given back; a number without an acquisition is a stray grant.
    pub(super) releases: Vec<u64>,
    /// To leave the line.
    pub(super) leaves: Vec<u64>,
    /// Held and not lost.
    pub(super) held: HashSet<u64>,
    /// None of them is due before; so a line of many isn't gone through for a look.
    pub(super) held_due_at: Option<Moment>,
    /// In line as far as Redis knows: `InLine` and `Leaving`.
    pub(super) waiting: HashSet<u64>,
    /// To be settled by reconcile before anything else is asked (R12).
    pub(super) unsettled: Vec<u64>,
    /// Waiters to be asked about one by one, because the counts differed (R21).
    pub(super) doubtful: Vec<u64>,
    /// The look under way asks about them.
    pub(super) doubted: bool,
    /// Calls under way; they keep the line alive.
    pub(super) flights: u32,
    /// Those of them that the window counts.
    pub(super) under_way: u32,
    /// Reconcile calls under way.
    pub(super) settling_calls: u32,
    /// A look is under way.
    pub(super) looking: bool,
    pub(super) look_at: Option<Moment>,
    /// The shortest `limitInterval` of those who wait.
    pub(super) interval: Option<Duration>,
    /// The last look that found everyone still waiting left then.
    pub(super) all_waiting_at: Moment,
    /// Redis's clock, as the last reply said it.
    pub(super) heard_ms: u64,
    /// Clean has to be called: a bounded step stopped half-way (R17).
    pub(super) again: bool,
    /// Not asked before: the server refused for now (R29).
    pub(super) not_before: Moment,
    /// How often in a row, and the error with its words of the last time.
    pub(super) refusals: u32,
    pub(super) refusal: Option<Error>,
    pub(super) timer: Option<Moment>,
    pub(super) dirty: bool,
    /// The rank from which on the group is asked for ids of this session that it doesn't know.
    pub(super) own_from: Option<u64>,
    /// Since when nothing stands here.
    idle_since: Option<Moment>,
    /// It's among the idle lines, or was when it was last looked at.
    listed_as_idle: bool,
}

/// How many groups are remembered in which nothing is left, and for how long. A replica that is promoted without the
/// last writes may still show leases and waiters of this session there.
const IDLE_LINES: usize = 256;
pub(super) const IDLE_FOR: Duration = Duration::from_secs(10);

impl Line {
    fn new(key: Key) -> Self {
        Self {
            key,
            members: 0,
            pending: BTreeSet::new(),
            unarmed: Vec::new(),
            releases: Vec::new(),
            leaves: Vec::new(),
            held: HashSet::new(),
            held_due_at: None,
            waiting: HashSet::new(),
            unsettled: Vec::new(),
            doubtful: Vec::new(),
            doubted: false,
            flights: 0,
            under_way: 0,
            settling_calls: 0,
            looking: false,
            look_at: None,
            interval: None,
            all_waiting_at: Moment::default(),
            heard_ms: 0,
            again: false,
            not_before: Moment::default(),
            refusals: 0,
            refusal: None,
            timer: None,
            dirty: false,
            own_from: None,
            idle_since: None,
            listed_as_idle: false,
        }
    }

    /// The connection is gone: nothing that is under way will be answered, and what is to leave is settled as unwanted.
    pub(super) fn lose_flights(&mut self) {
        self.flights = 0;
        self.under_way = 0;
        self.settling_calls = 0;
        self.looking = false;
        self.again = false;
        self.leaves.clear();
        self.doubtful.clear();
        self.doubted = false;
    }

    /// Nothing new is asked before something else has come to its end.
    pub(super) fn is_held_up(&self, now: Moment) -> bool {
        !self.unsettled.is_empty() || self.settling_calls > 0 || now < self.not_before
    }

    /// Something is still to be done here, or heard.
    fn in_use(&self) -> bool {
        self.members > 0
            || self.dirty
            || self.again
            || self.flights > 0
            || self.own_from.is_some()
            || !(self.releases.is_empty() && self.unsettled.is_empty())
    }
}

impl Session {
    pub(super) fn line_for(&mut self, key: &Key) -> usize {
        if let Some(line) = self.line_of.get(key) {
            return *line;
        }
        let fresh = Some(Line::new(key.clone()));
        let line = match self.free_lines.pop() {
            Some(line) => {
                self.lines[line] = fresh;
                line
            }
            None => {
                self.lines.push(fresh);
                self.lines.len() - 1
            }
        };
        self.line_of.insert(key.clone(), line);
        line
    }

    /// The line of an acquisition or a call under way: both keep it alive.
    pub(super) fn line_mut(&mut self, line: usize) -> &mut Line {
        self.lines[line].as_mut().expect("a line lives as long as somebody stands in it")
    }

    pub(super) fn line(&self, line: usize) -> &Line {
        self.lines[line].as_ref().expect("a line lives as long as somebody stands in it")
    }

    pub(super) fn key_of(&self, number: u64) -> Key {
        self.line(self.acquisitions[&number].line).key.clone()
    }

    /// The line has something new to ask.
    pub(super) fn soil(&mut self, line: usize) {
        let side = self.line_mut(line);
        if !std::mem::replace(&mut side.dirty, true) {
            self.dirty.push_back(line);
        }
    }

    /// Notes whether anything stands in the line, and drops those that have been idle for long.
    pub(super) fn sweep(&mut self, now: Moment, line: usize) {
        let Some(side) = self.lines[line].as_mut() else { return };
        if side.in_use() {
            side.idle_since = None;
            return;
        }
        side.idle_since = Some(now);
        if let Some(at) = side.timer.take() {
            self.timers.remove(&(at, Timer::Line(line)));
        }
        if !std::mem::replace(&mut side.listed_as_idle, true) {
            self.idle_lines.push_back(line);
        }
        self.drop_idle_lines(now);
    }

    /// A group is in use, or was until just now.
    pub(super) fn has_recent_lines(&self, now: Moment) -> bool {
        let recent = |side: &Line| side.idle_since.is_none_or(|since| now < since + IDLE_FOR);
        self.lines.iter().flatten().any(recent)
    }

    fn drop_idle_lines(&mut self, now: Moment) {
        while let Some(line) = self.idle_lines.front().copied() {
            let side = self.line_mut(line);
            let over = |since: Moment| since + IDLE_FOR <= now;
            let idle_since = side.idle_since;
            if self.idle_lines.len() <= IDLE_LINES && idle_since.is_some_and(|since| !over(since)) {
                return;
            }
            self.idle_lines.pop_front();
            let side = self.line_mut(line);
            side.listed_as_idle = false;
            if idle_since.is_some() && !side.in_use() {
                let key = side.key.clone();
                self.line_of.remove(&key);
                self.lines[line] = None;
                self.free_lines.push(line);
            }
        }
    }

    /// A lease of the line is due at `at`.
    pub(super) fn wake_for_lease(&mut self, line: usize, at: Moment) {
        let side = self.line_mut(line);
        side.held_due_at = Some(side.held_due_at.map_or(at, |planned| planned.min(at)));
        self.wake(line, at);
    }

    /// Wakes the line at `at` at the latest.
    pub(super) fn wake(&mut self, line: usize, at: Moment) {
        let side = self.line_mut(line);
        if side.timer.is_some_and(|timer| timer <= at) {
            return;
        }
        if let Some(old) = side.timer.replace(at) {
            self.timers.remove(&(old, Timer::Line(line)));
        }
        self.timers.insert((at, Timer::Line(line)));
    }
}
