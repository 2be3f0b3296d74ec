//! What people and operators ask: who holds and waits, which groups exist, clean up, release by name.
//!
//! Questions stand beside the requests: they wait for no line and stand in nobody's way.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::ask::{About, Flight};
use super::link::said_before;
use super::{ClientId, Event, Output, Session, Stats, Tag};
use crate::error::Error;
use crate::lease::Key;
use crate::moment::Moment;
use crate::protocol::{Answers, Call, CallError, CallId, Outgoing, Page, Picture, Reply, Target, Verb};

/// How long after a refusal questions are asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Who holds and who waits, all pages.
    Status(Key),
    /// Reap now; how many leases were reaped.
    Clean(Key),
    /// Release a lease by its id or its holder's name, whoever holds it.
    Release(Key, Target),
    /// The counters.
    Stats,
    /// One page of the groups that exist.
    Keys {
        /// A glob over the keys.
        pattern: String,
        /// `"0"` to begin with.
        cursor: String,
    },
}

/// Its answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Picture),
    /// To [`Question::Clean`].
    Cleaned(u64),
    /// To [`Question::Release`].
    Released(bool),
    /// To [`Question::Stats`].
    Stats(Box<Stats>),
    /// To [`Question::Keys`].
    Keys {
        /// This page.
        keys: Vec<Key>,
        /// Where the next begins; `"0"` after the last.
        cursor: String,
    },
}

#[derive(Debug, Default)]
pub(super) struct Questions {
    open: HashMap<u64, Open>,
    unasked: VecDeque<u64>,
    /// The server refused for now: nothing is asked before this moment (R29).
    not_before: Moment,
    next: u64,
}

#[derive(Debug)]
struct Open {
    client: ClientId,
    tag: Tag,
    question: Question,
    until: Moment,
    page: Page,
    picture: Picture,
    cleaned: u64,
    /// With what it was refused for now the last time.
    refusal: Option<Error>,
}

impl Questions {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The group that a question is about.
    pub(super) fn key_of(&self, number: u64) -> Option<&Key> {
        match &self.open.get(&number)?.question {
            Question::Status(key) | Question::Clean(key) | Question::Release(key, _) => Some(key),
            Question::Keys { .. } | Question::Stats => None,
        }
    }

    pub(super) fn deadline(&self, link_up: bool) -> Option<Moment> {
        let next = (link_up && !self.unasked.is_empty()).then_some(self.not_before);
        self.open.values().map(|open| open.until).chain(next).min()
    }

    /// The client's questions end unanswered.
    pub(super) fn close(&mut self, client: ClientId) -> Vec<(Tag, Error)> {
        let closed = self.open.extract_if(|_, open| open.client == client);
        let mut closed: Vec<_> = closed.map(|(_, open)| (open.tag, Error::Closed)).collect();
        closed.sort_by_key(|(tag, _)| *tag);
        closed
    }
}

impl Session {
    /// Asks a question.
    pub fn ask(&mut self, now: Moment, client: ClientId, tag: Tag, question: Question) {
        if question == Question::Stats {
            let answer = Ok(Answer::Stats(Box::new(self.stats())));
            return self.tell(Event::Answered { client, tag, answer });
        }
        let until = now + self.settings.connect_timeout + self.settings.command_timeout;
        let number = self.questions.next;
        self.questions.next += 1;
        let open = Open {
            client,
            tag,
            question,
            until,
            page: Page::default(),
            picture: Picture::default(),
            cleaned: 0,
            refusal: None,
        };
        self.questions.open.insert(number, open);
        self.questions.unasked.push_back(number);
    }

    pub(super) fn ask_questions(&mut self, now: Moment) {
        if !self.link.up() || now < self.questions.not_before {
            return;
        }
        while let Some(number) = self.questions.unasked.pop_front() {
            let Some(open) = self.questions.open.get(&number) else { continue };
            let (key, verb) = match &open.question {
                Question::Status(key) => (key.clone(), Verb::Inspect(open.page)),
                Question::Clean(key) => (key.clone(), Verb::Clean),
                Question::Stats => continue,
                Question::Release(key, target) => (key.clone(), Verb::Release(vec![target.clone()])),
                Question::Keys { pattern, cursor } => {
                    let (pattern, cursor) = (pattern.clone(), cursor.clone());
                    let id = self.take_off(now, About::Question(number));
                    self.outputs.push_back(Output::Send(Outgoing::Keys { id, pattern, cursor }));
                    continue;
                }
            };
            self.send_call(now, Duration::ZERO, Call { key, verb }, About::Question(number));
        }
    }

    /// A page of keys came.
    pub fn handle_keys(&mut self, now: Moment, id: CallId, result: Result<(Vec<Key>, String), CallError>) {
        self.hear();
        let Some(at) = self.flights.iter().position(|flight| flight.id == id) else { return };
        let Some(Flight { about: About::Question(number), .. }) = self.flights.remove(at) else { return };
        match result {
            Ok((keys, cursor)) => self.finish_question(number, Ok(Answer::Keys { keys, cursor })),
            Err(error) => self.refuse_question(now, number, error),
        }
    }

    pub(super) fn handle_answer(
        &mut self,
        now: Moment,
        sent_at: Moment,
        number: u64,
        result: Result<Reply, CallError>,
    ) {
        let reply = match result {
            Ok(reply) => reply,
            Err(error) => return self.refuse_question(now, number, error),
        };
        let Some(open) = self.questions.open.get_mut(&number) else { return };
        let answer = match reply.answers {
            Answers::Inspect(page) => {
                let next = page.next;
                open.picture.append(Picture { now_ms: reply.now_ms, ..page });
                if let Some(next) = next {
                    open.page = next;
                    return self.questions.unasked.push_back(number);
                }
                Answer::Status(std::mem::take(&mut open.picture))
            }
            Answers::Clean(reaped) => {
                open.cleaned += reaped;
                if reply.again {
                    return self.questions.unasked.push_back(number);
                }
                Answer::Cleaned(open.cleaned)
            }
            Answers::Release(released) => Answer::Released(released.first() == Some(&true)),
            Answers::Acquire(_)
            | Answers::Renew { .. }
            | Answers::Leave { .. }
            | Answers::Reconcile { .. } => {
                return;
            }
        };
        // Who released by name may have made room for this session's own waiters, or have more to hand off.
        if let Question::Release(key, _) | Question::Clean(key) = &open.question
            && let Some(line) = self.line_of.get(key).copied()
        {
            self.line_mut(line).again |= reply.again;
            self.soil(line);
            self.take_handed(now, line, reply.handed, reply.epoch, sent_at);
        }
        self.finish_question(number, Ok(answer));
    }

    fn refuse_question(&mut self, now: Moment, number: u64, error: CallError) {
        let refusal = match &error {
            CallError::NotExecuted(text) => Some(self.refused(text.as_str())),
            CallError::NotExecutedThere { why, answered } => {
                Some(self.failure(why.as_str(), true, *answered))
            }
            _ => None,
        };
        let Some(open) = self.questions.open.get_mut(&number) else { return };
        if refusal.is_some() {
            open.refusal = refusal;
            self.questions.not_before = now + self.jitter(AGAIN);
            return self.questions.unasked.push_back(number);
        }
        let Some(open) = self.questions.open.get(&number) else { return };
        let error = match (error, &open.question) {
            (CallError::Unusable(message) | CallError::Garbage(message), question) => {
                let key = match question {
                    Question::Status(key) | Question::Clean(key) | Question::Release(key, _) => {
                        Some(key.clone())
                    }
                    Question::Keys { .. } | Question::Stats => None,
                };
                key.map_or_else(
                    || self.refused(message.clone()),
                    |key| Error::Protocol { key, message: message.clone() },
                )
            }
            (CallError::Stale, _) => self.refused("a newer connection of this session exists"),
            (
                CallError::OutOfMemory(text)
                | CallError::Denied(text)
                | CallError::NotExecuted(text)
                | CallError::NotExecutedThere { why: text, .. },
                _,
            ) => self.refused(text),
        };
        self.finish_question(number, Err(error));
    }

    /// The connection died under a question. A release by name may have been carried out, and to repeat it could hit
    /// the next one of that name; everything else is asked again.
    pub(super) fn ask_question_again(&mut self, number: u64) {
        match self.questions.open.get(&number).map(|open| &open.question) {
            Some(Question::Release(..)) => {
                let error = self.unavailable("the connection was lost before the answer came");
                self.finish_question(number, Err(error));
            }
            Some(_) => self.questions.unasked.push_back(number),
            None => {}
        }
    }

    pub(super) fn fail_questions(&mut self, error: &Error) {
        let mut open: Vec<u64> = self.questions.open.keys().copied().collect();
        open.sort_unstable();
        for number in open {
            self.finish_question(number, Err(error.clone()));
        }
    }

    pub(super) fn handle_question_timeouts(&mut self, now: Moment) {
        let due = |open: &Open| open.until <= now;
        let mut late: Vec<u64> =
            self.questions.open.iter().filter(|(_, o)| due(o)).map(|(n, _)| *n).collect();
        late.sort_unstable();
        for number in late {
            let refusal = self.questions.open.get(&number).and_then(|open| open.refusal.clone());
            let error = match (refusal, self.link.up()) {
                (Some(refusal), true) => refusal,
                (Some(refusal), false) => said_before(self.why_not_available(now), &refusal),
                (None, _) => self.why_not_available(now),
            };
            self.finish_question(number, Err(error));
        }
    }

    fn finish_question(&mut self, number: u64, answer: Result<Answer, Error>) {
        if let Some(Open { client, tag, .. }) = self.questions.open.remove(&number) {
            self.tell(Event::Answered { client, tag, answer });
        }
    }
}

impl Picture {
    /// The next page follows; the figures are the newest.
    fn append(&mut self, page: Self) {
        let (mut holders, mut waiters) =
            (std::mem::take(&mut self.holders), std::mem::take(&mut self.waiters));
        holders.extend(page.holders);
        waiters.extend(page.waiters);
        *self = Self { holders, waiters, ..page };
    }
}
