//! Finds out for one session whether replicas have its grants (`min_replicas`). The session decides what follows.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use crate::session::Check;
use crate::store::{Replicas, Store};

/// How many grants one check may serve.
const MOST: usize = 10_000;

/// The wait after a failed check, so that a lost connection isn't asked all the time.
const PAUSE: Duration = Duration::from_millis(100);

/// What one check has found, for all grants that were made before it began.
pub(super) type Checked = (Vec<Check>, Result<(), String>);

/// Where checks are asked for, and where their results come.
pub(super) struct Checks {
    asked: UnboundedSender<Check>,
    results: UnboundedReceiver<Checked>,
}

impl Checks {
    /// For a session whose store has replicas to ask.
    pub(super) fn start(store: &dyn Store) -> Option<Self> {
        let replicas = store.replicas()?;
        let (asked, waiting) = unbounded_channel();
        let (sender, results) = unbounded_channel();
        super::runtime().spawn(check(replicas, waiting, sender));
        Some(Self { asked, results })
    }

    /// Asks for a check.
    pub(super) fn ask(&self, check: Check) {
        // The task lives as long as this does.
        let _ = self.asked.send(check);
    }

    /// The next result.
    pub(super) fn poll_result(&mut self, context: &mut Context<'_>) -> Poll<Checked> {
        match self.results.poll_recv(context) {
            Poll::Ready(Some(checked)) => Poll::Ready(checked),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Checks until nobody asks any more.
async fn check(
    mut replicas: Box<dyn Replicas>,
    mut asked: UnboundedReceiver<Check>,
    results: UnboundedSender<Checked>,
) {
    let mut batch = Vec::new();
    while asked.recv_many(&mut batch, MOST).await > 0 {
        let result = replicas.have_all().await;
        if result.is_err() {
            sleep(PAUSE).await;
        }
        if results.send((std::mem::take(&mut batch), result)).is_err() {
            return;
        }
    }
}
