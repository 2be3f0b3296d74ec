//! One call each, with its answer.

use std::sync::Arc;

use concurrency_limit::lease::Slot;
use concurrency_limit::protocol::{Acquired, Answers, Ask, Grant, Page, Picture, Push, Target, Terms, Verb};

use crate::common::peer::{Peer, key, limit};

pub(super) fn weighing(weight: u32, most: u32) -> Arc<Terms> {
    Arc::new(Terms { weight, ..limit(most) })
}

pub(super) fn named(holder: &str, terms: Terms) -> Arc<Terms> {
    Arc::new(Terms { holder: Some(holder.into()), ..terms })
}

pub(super) fn ask(peer: &Peer, number: u64, terms: &Arc<Terms>, wait: bool) -> Ask {
    Ask { id: peer.id(number), terms: Arc::clone(terms), wait }
}

pub(super) async fn ask_for(peer: &mut Peer, number: u64, terms: &Arc<Terms>, wait: bool) -> Acquired {
    let asked = Verb::Acquire(vec![ask(peer, number, terms, wait)]);
    match peer.answer(&key("group"), asked).await.answers {
        Answers::Acquire(mut acquired) if acquired.len() == 1 => acquired.remove(0),
        other => panic!("not the answer to one acquire: {other:?}"),
    }
}

pub(super) async fn queued(peer: &mut Peer, number: u64, terms: &Arc<Terms>) -> u64 {
    match ask_for(peer, number, terms, true).await {
        Acquired::Queued { ahead, .. } => ahead,
        other => panic!("not in line: {other:?}"),
    }
}

pub(super) async fn release(peer: &mut Peer, number: u64) -> (bool, Vec<Grant>) {
    let reply = peer.answer(&key("group"), Verb::Release(vec![Target::Lease(peer.id(number))])).await;
    match reply.answers {
        Answers::Release(released) => (released == [true], reply.handed),
        other => panic!("not the answer to a release: {other:?}"),
    }
}

pub(super) async fn inspect(peer: &mut Peer) -> Picture {
    match peer.answer(&key("group"), Verb::Inspect(Page::default())).await.answers {
        Answers::Inspect(picture) => picture,
        other => panic!("not a picture: {other:?}"),
    }
}

pub(super) fn slots(grant: &Grant) -> &[Slot] {
    &grant.slots
}

pub(super) fn only_grant(push: Push) -> Grant {
    assert_eq!(push.key, key("group"));
    assert_eq!(push.news.grants().len(), 1, "{push:?}");
    push.news.grants().first().cloned().expect("one grant")
}
