//! One line for each event, for people.

use std::collections::HashMap;

use concurrency_limit::protocol::{Answers, Call, CallError, Grant, ReconcileItem, Reply, Verb};
use concurrency_limit::session::Event;

use crate::network::{Deed, LinkId, Message};

/// Who is concerned by the arrival of this message, and what it is; nothing for a mere passing of time.
pub(crate) fn describe(message: &Message, owner: &HashMap<LinkId, usize>) -> Option<(String, String)> {
    let process = |link: &LinkId| format!("process {}", owner[link]);
    let server = |what: String| Some(("server".to_owned(), what));
    match message {
        Message::Deed { deed: Deed::Wake, .. } => None,
        Message::Deed { process, deed } => Some((format!("process {process}"), format!("does {deed:?}"))),
        Message::Server(turn) => server(format!("{turn:?}")),
        Message::Knock { link, .. } => server(format!("is asked for link {link} by {}", process(link))),
        Message::Hangup { link } => server(format!("loses link {link} of {}", process(link))),
        Message::Call { link, id, call: what, caller } => {
            let settling = if caller.settling { ", settling" } else { "" };
            server(format!("carries out call {id} of {}{settling}: {}", process(link), call(what)))
        }
        Message::Welcome { link, listens, uptime } => {
            Some((process(link), format!("has link {link}, listens: {listens}, uptime: {uptime:?}")))
        }
        Message::Refusal { link } => Some((process(link), format!("doesn't get link {link}"))),
        Message::Reply { link, id, result } => {
            Some((process(link), format!("hears of call {id}: {}", reply(result))))
        }
        Message::Push { link, push } => {
            Some((process(link), format!("hears a push of {:?}: {}", push.key, grants(push.news.grants()))))
        }
        Message::PushLost { link } => Some((process(link), format!("hears no pushes on link {link}"))),
        Message::Down { link } => Some((process(link), format!("loses link {link}"))),
        Message::Cut { link } => Some((process(link), format!("loses link {link}, a part of the whole"))),
    }
}

/// What a client is told.
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Granted { tag, lease, .. } => {
            format!("{tag} is granted: {:?} {:?} {:?}", lease.id, lease.slots, lease.token)
        }
        Event::Renewed { tag, deadline, .. } => {
            format!("{tag} is good until {:.6}", deadline.since_start().as_secs_f64())
        }
        other => format!("{other:?}"),
    }
}

pub(crate) fn call(call: &Call) -> String {
    let what = match &call.verb {
        Verb::Acquire(asks) => {
            let ask = |ask: &concurrency_limit::protocol::Ask| {
                let terms = &ask.terms;
                let name = terms.holder.as_deref().map_or_else(String::new, |name| format!(" as {name}"));
                format!("{} ({} of {}, priority {}{name})", ask.id, terms.weight, terms.limit, terms.priority)
            };
            format!("acquire {}", list(asks.iter().map(ask)))
        }
        Verb::Release(targets) => format!("release {targets:?}"),
        Verb::Renew(renew) => {
            let leases = list(renew.leases.iter().map(|lease| lease.id.to_string()));
            format!("renew {leases}, look at {:?}", renew.waiters)
        }
        Verb::Leave(ids) => format!("leave {ids:?}"),
        Verb::Reconcile { items, .. } => {
            let item = |item: &ReconcileItem| match item {
                ReconcileItem::Keep(keep) => format!("keep {}", keep.id),
                ReconcileItem::Want { id, .. } => format!("want {id}"),
                ReconcileItem::Drop(id) => format!("drop {id}"),
            };
            format!("reconcile {}", list(items.iter().map(item)))
        }
        Verb::Inspect(_) => "inspect".into(),
        Verb::Clean => "clean".into(),
        Verb::Note(ask) => format!("note {ask:?}"),
        Verb::Join(join) => {
            format!("join {}", list(join.items.iter().map(|ask| format!("{} {:?}", ask.id, ask.ticket))))
        }
    };
    format!("{:?} {what}", call.key)
}

pub(crate) fn reply(result: &Result<Reply, CallError>) -> String {
    match result {
        Err(error) => format!("{error:?}"),
        Ok(reply) => {
            let answers = match &reply.answers {
                Answers::Inspect(picture) => format!("{} held, {} waiting", picture.held, picture.waiting),
                answers => format!("{answers:?}"),
            };
            let again = if reply.again { ", again" } else { "" };
            format!("{answers}, handed {}{again}", grants(&reply.handed))
        }
    }
}

fn grants(grants: &[Grant]) -> String {
    list(grants.iter().map(|grant| format!("{} {:?} for {} ms", grant.id, grant.slots, grant.ttl_ms)))
}

fn list(of: impl Iterator<Item = String>) -> String {
    format!("[{}]", of.collect::<Vec<_>>().join(", "))
}
