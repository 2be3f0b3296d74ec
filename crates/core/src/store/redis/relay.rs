//! Groups in a Redis that is reached through a client of the embedder's: the same commands as `link` sends, handed to a
//! `Carrier` instead of to a socket.
//!
//! No byte of the protocol is laid out or read here: `names`, `list` and `reply` do that. `opening` is how a link
//! begins, `desk` what it keeps of the calls that are under way. A subscription that ends takes the link down with it:
//! the next link has one again, if one is to be had.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use self::desk::Desk;
use self::errands::{read, tell};
use super::about::Loading;
use super::task::Task;
use crate::carrier::{Carriage, Carried, Word};
use crate::config::Options;
use crate::lease::SessionId;
use crate::protocol::Outgoing;
use crate::store::{Connecting, Link, LinkEvent, Store};

mod desk;
mod errands;
mod opening;

/// Groups in the Redis that a carrier leads to.
pub struct RelayStore {
    carried: Carried,
    options: Arc<Options>,
    loading: Arc<Loading>,
}

impl RelayStore {
    /// A store over this carrier; asks nothing of it yet. The options' place isn't looked at.
    pub fn new(carried: Carried, options: Options) -> Self {
        Self { carried, options: Arc::new(options), loading: Arc::default() }
    }
}

impl Store for RelayStore {
    fn connect(&self, session: SessionId, events: UnboundedSender<LinkEvent>) -> Connecting {
        let (carried, options) = (self.carried.clone(), Arc::clone(&self.options));
        let loading = Arc::clone(&self.loading);
        Box::pin(async move {
            let (link, info) = opening::open(&carried, &options, &loading, session, events).await?;
            Ok((Box::new(link) as Box<dyn Link>, info))
        })
    }

    fn address(&self) -> String {
        self.carried.address()
    }
}

/// The [`Link`] over a carriage.
struct RelayLink {
    carriage: Box<dyn Carriage>,
    desk: Arc<Mutex<Desk>>,
    _pump: Task,
}

impl RelayLink {
    /// Sets an opened link going; `listens` says whether its subscription is confirmed.
    fn start(
        carriage: Box<dyn Carriage>,
        words: UnboundedReceiver<Word>,
        desk: Desk,
        listens: bool,
        events: UnboundedSender<LinkEvent>,
    ) -> Self {
        let desk = Arc::new(Mutex::new(desk));
        let pump = Task::spawn(pump(Arc::clone(&desk), words, listens, events));
        Self { carriage, desk, _pump: pump }
    }
}

impl Link for RelayLink {
    fn send(&mut self, requests: Vec<Outgoing>) {
        let errands = lock(&self.desk).errands(requests);
        self.carriage.carry(errands);
    }
}

async fn pump(
    desk: Arc<Mutex<Desk>>,
    mut words: UnboundedReceiver<Word>,
    listens: bool,
    events: UnboundedSender<LinkEvent>,
) {
    let down = loop {
        match words.recv().await {
            Some(Word::Answers(bytes)) => match read(&bytes) {
                Ok(answers) => lock(&desk).answer(answers, &events),
                Err(error) => break error.to_string(),
            },
            Some(Word::Push(payload)) => lock(&desk).hear(&payload, &events),
            Some(Word::Deaf(why)) if listens => break format!("the subscription has ended: {why}"),
            // A subscription that took too long: the session looks, and pushes are welcome all the same.
            Some(Word::Ready | Word::Listens | Word::Deaf(_)) => {}
            Some(Word::Down(why) | Word::Ended(why)) => break why,
            None => break "the client's thread has ended".into(),
        }
    };
    tell(&events, LinkEvent::Down(down));
}

/// Whoever dropped the receiver drops the link next.
/// A panic elsewhere leaves a desk whole: it is changed by single calls.
fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}
