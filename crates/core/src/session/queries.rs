//! Admin queries that have no answer yet. They don't wait in line, and no request waits for them.

use std::time::Duration;

use std::collections::{HashMap, VecDeque};

use super::connection::said_before;
use super::context::Context;
use super::ids::QueryId;
use super::input::{AdminQuery, ClientId, Tag};
use super::output::{AdminAnswer, Event};
use crate::error::Error;
use crate::lease::Key;
use crate::moment::Moment;
use crate::protocol::{Answers, CallError, Page, Picture, Verb};

/// How long after a refusal a query is sent again.
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Queries {
    open: HashMap<QueryId, Open>,
    unsent: VecDeque<QueryId>,
    /// The server refused for now: nothing is sent before this moment (R29).
    not_before: Moment,
    next: u64,
}

#[derive(Debug)]
struct Open {
    client: ClientId,
    tag: Tag,
    query: AdminQuery,
    until: Moment,
    page: Page,
    picture: Picture,
    cleaned: u64,
    /// With what it was refused for now the last time.
    refusal: Option<Error>,
}

impl Queries {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A new query, to be answered until then.
    pub(super) fn add(&mut self, client: ClientId, tag: Tag, query: AdminQuery, until: Moment) {
        let id = QueryId(self.next);
        self.next += 1;
        let (page, picture) = (Page::default(), Picture::default());
        self.open.insert(id, Open { client, tag, query, until, page, picture, cleaned: 0, refusal: None });
        self.unsent.push_back(id);
    }

    pub(super) fn get(&self, id: QueryId) -> Option<&AdminQuery> {
        self.open.get(&id).map(|open| &open.query)
    }

    pub(super) fn deadline(&self, up: bool) -> Option<Moment> {
        let next = (up && !self.unsent.is_empty()).then_some(self.not_before);
        self.open.values().map(|open| open.until).chain(next).min()
    }

    /// The next query to send, with the verb for its group if it is about one.
    pub(super) fn next_unsent(&mut self, now: Moment) -> Option<(QueryId, &AdminQuery, Option<Verb>)> {
        if now < self.not_before {
            return None;
        }
        let id = loop {
            let id = self.unsent.pop_front()?;
            if self.open.contains_key(&id) {
                break id;
            }
        };
        let open = self.open.get(&id)?;
        let verb = match &open.query {
            AdminQuery::Status(_) => Some(Verb::Inspect(open.page)),
            AdminQuery::Clean(_) => Some(Verb::Clean),
            AdminQuery::Release(_, target) => Some(Verb::Release(vec![target.clone()])),
            AdminQuery::Keys { .. } | AdminQuery::Stats => None,
        };
        Some((id, &open.query, verb))
    }

    /// A call of the query was carried out: its answer, or it's sent again for the rest. `again` when there is more to
    /// clean; `now_ms` is Redis's clock.
    pub(super) fn take(
        &mut self,
        id: QueryId,
        answers: Answers,
        again: bool,
        now_ms: u64,
    ) -> Option<AdminAnswer> {
        let open = self.open.get_mut(&id)?;
        match answers {
            Answers::Inspect(page) => {
                let next = page.next;
                append(&mut open.picture, Picture { now_ms, ..page });
                match next {
                    Some(next) => open.page = next,
                    None => return Some(AdminAnswer::Status(std::mem::take(&mut open.picture))),
                }
            }
            Answers::Clean(reaped) => {
                open.cleaned += reaped;
                if !again {
                    return Some(AdminAnswer::Cleaned(open.cleaned));
                }
            }
            Answers::Release(released) => {
                return Some(AdminAnswer::Released(released.first() == Some(&true)));
            }
            Answers::Acquire(_)
            | Answers::Renew { .. }
            | Answers::Leave { .. }
            | Answers::Reconcile { .. }
            | Answers::Note(_) => return None,
        }
        self.unsent.push_back(id);
        None
    }

    /// A call of the query came back with an error: it's sent again where that is worth while, or fails.
    pub(super) fn refuse(&mut self, cx: &mut Context, now: Moment, id: QueryId, error: CallError) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let refusal = match error {
            CallError::NotExecuted(text) => cx.settings.refused(text),
            CallError::NotExecutedThere { why, answered } => cx.settings.failure(why, true, answered),
            error => {
                let error = final_error(cx, open.query.key(), error);
                return self.finish(cx, id, Err(error));
            }
        };
        open.refusal = Some(refusal);
        self.not_before = now + cx.jitter.around(AGAIN);
        self.unsent.push_back(id);
    }

    /// The connection was lost with a call of the query pending. A release by name may have been carried out, and to
    /// repeat it could hit the next lease of that name; everything else is sent again.
    pub(super) fn lose(&mut self, cx: &mut Context, id: QueryId) {
        match self.get(id) {
            Some(AdminQuery::Release(..)) => {
                let error = cx.settings.unavailable("the connection was lost before the answer came");
                self.finish(cx, id, Err(error));
            }
            Some(_) => self.unsent.push_back(id),
            None => {}
        }
    }

    /// All queries fail.
    pub(super) fn fail_all(&mut self, cx: &mut Context, error: &Error) {
        for id in self.sorted(|_| true) {
            self.finish(cx, id, Err(error.clone()));
        }
    }

    /// The client's queries end unanswered.
    pub(super) fn close(&mut self, cx: &mut Context, client: ClientId) {
        let closed = self.open.extract_if(|_, open| open.client == client);
        let mut tags: Vec<Tag> = closed.map(|(_, open)| open.tag).collect();
        tags.sort_unstable();
        for tag in tags {
            cx.tell(Event::Answered { client, tag, answer: Err(Error::Closed) });
        }
    }

    /// The queries whose time is over fail.
    pub(super) fn handle_timeouts(&mut self, cx: &mut Context, now: Moment) {
        for id in self.sorted(|open| open.until <= now) {
            let unavailable = cx.connection.why_unavailable(now, &cx.settings);
            let refusal = self.open.get(&id).and_then(|open| open.refusal.clone());
            let error = match (refusal, cx.connection.up()) {
                (Some(refusal), true) => refusal,
                (Some(refusal), false) => said_before(unavailable, &refusal),
                (None, _) => unavailable,
            };
            self.finish(cx, id, Err(error));
        }
    }

    pub(super) fn finish(&mut self, cx: &mut Context, id: QueryId, answer: Result<AdminAnswer, Error>) {
        if let Some(Open { client, tag, .. }) = self.open.remove(&id) {
            cx.tell(Event::Answered { client, tag, answer });
        }
    }

    fn sorted(&self, of: impl Fn(&Open) -> bool) -> Vec<QueryId> {
        let mut ids: Vec<QueryId> =
            self.open.iter().filter(|(_, open)| of(open)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}

/// The error of a query that isn't sent again.
fn final_error(cx: &Context, key: Option<&Key>, error: CallError) -> Error {
    match (error, key) {
        (CallError::Unusable(message) | CallError::Garbage(message), Some(key)) => {
            Error::Protocol { key: key.clone(), message }
        }
        (CallError::Stale, _) => cx.settings.refused("a newer connection of this session exists"),
        (
            CallError::Unusable(text)
            | CallError::Garbage(text)
            | CallError::OutOfMemory(text)
            | CallError::Denied(text)
            | CallError::NotExecuted(text)
            | CallError::NotExecutedThere { why: text, .. },
            _,
        ) => cx.settings.refused(text),
    }
}

/// The next page follows; the figures are the newest.
fn append(picture: &mut Picture, page: Picture) {
    let (mut holders, mut waiters) =
        (std::mem::take(&mut picture.holders), std::mem::take(&mut picture.waiters));
    holders.extend(page.holders);
    waiters.extend(page.waiters);
    *picture = Picture { holders, waiters, ..page };
}
