//! The group's note, as this session has it (R32, R33): whether it's good, when it's asked for and confirmed, and the
//! tokens that it brings (R37). What waits inside, and which slots are idle, is `members`'.

use std::time::Duration;

use crate::lease::{Epoch, FencingToken, Ticket};
use crate::moment::Moment;
use crate::protocol::{NoteAsk, Noted};
use crate::session::calls::NoteTerms;

/// For how long a note is good from the sending of the last call that confirmed it (R33).
const GOOD_FOR: Duration = Duration::from_secs(2);

/// How often it's confirmed while it's used, and how soon it's asked for again where it wasn't to be had.
const EVERY: Duration = Duration::from_secs(1);

/// It isn't confirmed more often: so much time brings a thousand tokens.
const LEAST: Duration = Duration::from_millis(1);

/// How soon after a call that failed it's confirmed.
const AGAIN: Duration = Duration::from_millis(300);

/// After the session's own request on other terms has ended it, it isn't asked for.
const OTHER_TERMS: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy)]
struct Note {
    number: FencingToken,
    terms: NoteTerms,
    epoch: Epoch,
    begun: Ticket,
    good_until: Moment,
    confirm_at: Moment,
    /// When a call was sent last that was to confirm it.
    asked_at: Moment,
    /// Something was passed since it was last confirmed.
    used: bool,
    /// Redis knows that slots may be kept under it (R39).
    keeps: bool,
    /// The next token of its block, and the last; the block is used up when they have met.
    next: u64,
    last: u64,
    /// At this one it's confirmed early.
    early: u64,
}

/// How the places of those that waited inside are found (R38).
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval {
    pub(super) number: FencingToken,
    pub(super) begun: Ticket,
    pub(super) ended_by: Ticket,
}

#[derive(Debug, Default)]
pub(super) struct Sole {
    note: Option<Note>,
    /// The highest number that somebody else has ended: a reply that it overtook means nothing.
    wanted: FencingToken,
    /// Calls about it that have no reply.
    pending: u32,
    /// Before this it isn't asked for.
    not_before: Moment,
    /// The terms on which slots are to be kept after their release.
    keep_for: Option<NoteTerms>,
    /// Where those that waited inside join, once all that was asked before is answered.
    interval: Option<Interval>,
}

impl Sole {
    pub(super) fn terms(&self) -> Option<NoteTerms> {
        self.note.map(|note| note.terms)
    }

    /// It was confirmed lately enough.
    pub(super) fn is_good(&self, now: Moment) -> bool {
        self.note.is_some_and(|note| now < note.good_until)
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.note.map(|note| note.epoch)
    }

    /// Whether it may be asked for.
    pub(super) fn may_ask(&self, now: Moment) -> bool {
        self.note.is_none() && self.pending == 0 && self.interval.is_none() && now >= self.not_before
    }

    /// A request on these terms has come; its slot is to be kept, or not.
    pub(super) fn expect(&mut self, now: Moment, terms: Option<NoteTerms>, kept: bool) {
        if kept {
            self.keep_for = terms;
        } else if self.keep_for != terms {
            self.keep_for = None;
        }
        if self.keep_for.is_some()
            && let Some(note) = self.note.as_mut().filter(|note| !note.keeps)
        {
            note.confirm_early(now);
        }
    }

    /// The terms on which slots are to be kept.
    pub(super) fn keep_for(&self) -> Option<NoteTerms> {
        self.keep_for
    }

    /// Whether slots may be kept under it.
    pub(super) fn keeps(&self) -> bool {
        self.note.is_some_and(|note| note.keeps)
    }

    /// What asks for it on these terms, or confirms it.
    pub(super) fn ask(&self, terms: NoteTerms) -> NoteAsk {
        let number = self.note.map(|note| note.number);
        NoteAsk { limit: terms.limit, number, keeps: self.keep_for == Some(terms) }
    }

    /// Whether it is to be confirmed now; `used`: somebody waits inside, or a slot is idle.
    pub(super) fn is_due(&self, now: Moment, used: bool) -> bool {
        self.pending == 0 && self.note.is_some_and(|note| (used || note.used) && note.confirm_at <= now)
    }

    /// When something is to be done about it.
    pub(super) fn due_at(&self, used: bool) -> Option<Moment> {
        let note = self.note.filter(|note| used || note.used)?;
        Some(if self.pending == 0 { note.confirm_at.min(note.good_until) } else { note.good_until })
    }

    pub(super) fn sent(&mut self, now: Moment) {
        self.pending += 1;
        if let Some(note) = &mut self.note {
            note.asked_at = now;
        }
    }

    pub(super) fn answered(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// A call about it was refused.
    pub(super) fn refused(&mut self, now: Moment) {
        self.not_before = now + EVERY;
        if let Some(note) = &mut self.note {
            note.confirm_at = now + AGAIN;
        }
    }

    /// A call that was sent at `sent_at` is answered; what has ended, and where those inside join then.
    pub(super) fn take(
        &mut self,
        now: Moment,
        sent_at: Moment,
        epoch: Epoch,
        (terms, asked): (NoteTerms, NoteAsk),
        noted: Noted,
    ) -> Option<Option<Interval>> {
        let mine = self.note.filter(|note| Some(note.number) == asked.number);
        match noted {
            Noted::Sole { number, .. } if number <= self.wanted => None,
            Noted::Sole { number, after, last, .. } if asked.number.is_some() => {
                let note = self.note.as_mut().filter(|note| note.number == number)?;
                if note.epoch != epoch {
                    return self.end(None);
                }
                note.good_until = note.good_until.max(sent_at + GOOD_FOR);
                note.confirm_at = sent_at + EVERY;
                note.used = false;
                note.keeps = asked.keeps;
                if last > after {
                    note.next = note.next.max(after.0 + 1);
                    note.last = last.0;
                    note.early = note.next + (note.last.saturating_sub(note.next)) / 4 * 3;
                }
                None
            }
            Noted::Sole { number, begun, last, .. } => {
                self.note = Some(Note {
                    number,
                    terms,
                    epoch,
                    begun,
                    good_until: sent_at + GOOD_FOR,
                    // It brings no tokens; the first confirmation does.
                    confirm_at: now,
                    asked_at: sent_at,
                    used: true,
                    keeps: asked.keeps,
                    next: last.0 + 1,
                    last: last.0,
                    early: 0,
                });
                None
            }
            Noted::Wanted { ticket } => mine.and_then(|note| self.want(note.number, ticket)),
            Noted::No { again_in_ms } => {
                self.not_before = now + EVERY.max(Duration::from_millis(again_in_ms));
                mine.and_then(|_| self.end(None))
            }
        }
    }

    /// Somebody else has asked; as [`Sole::take`].
    pub(super) fn want(&mut self, number: FencingToken, ticket: Ticket) -> Option<Option<Interval>> {
        self.wanted = self.wanted.max(number);
        let note = self.note.filter(|note| note.number <= number)?;
        let interval = Interval { number, begun: note.begun, ended_by: ticket };
        self.end(Some(interval).filter(|_| note.number == number))
    }

    /// It ends; as [`Sole::take`].
    pub(super) fn end(&mut self, interval: Option<Interval>) -> Option<Option<Interval>> {
        self.note.take().map(|_| interval)
    }

    /// The session's own request on other terms ends it.
    pub(super) fn is_given_up(&mut self, now: Moment) {
        self.not_before = now + OTHER_TERMS;
    }

    /// Those that waited inside join there.
    pub(super) fn join_in(&mut self, interval: Interval) {
        self.interval = Some(interval);
    }

    pub(super) fn interval(&self) -> Option<Interval> {
        self.interval
    }

    /// All have their places.
    pub(super) fn placed(&mut self) {
        self.interval = None;
    }

    /// The connection is lost, and the calls about it.
    pub(super) fn lose(&mut self) {
        self.pending = 0;
        self.interval = None;
    }

    /// Whether there is a token above this one; if not, there'll soon be.
    pub(super) fn has_token(&mut self, now: Moment, above: FencingToken) -> bool {
        let Some(note) = &mut self.note else { return false };
        let has = note.next <= note.last && note.next > above.0;
        if !has {
            note.confirm_early(now);
        }
        has
    }

    /// A token above this one, if there is one left; soon there'll be more, where few are left.
    pub(super) fn take_token(&mut self, now: Moment, above: FencingToken) -> Option<FencingToken> {
        if !self.has_token(now, above) {
            return None;
        }
        let note = self.note.as_mut()?;
        let token = FencingToken(note.next);
        note.next += 1;
        note.used = true;
        if note.next > note.early {
            note.confirm_early(now);
        }
        Some(token)
    }
}

impl Note {
    fn confirm_early(&mut self, now: Moment) {
        self.used = true;
        self.confirm_at = self.confirm_at.min(now.max(self.asked_at + LEAST));
    }
}
