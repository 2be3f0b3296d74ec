//! A session behind its lock. Callers take the lock on their own threads, the session's task on the core's thread. The
//! task also makes calls of what has gathered and sends them, reads what servers send, and wakes when something is due.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::alert::Alert;
use super::outbox::Outbox;
use super::state::DriverState;
use super::{Command, leave};
use crate::config::Options;
use crate::lease::SessionId;
use crate::moment::Moment;
use crate::session::ClientId;
use crate::sync::lock;

/// A session, as its clients and its task share it.
pub(super) struct Shared {
    pub(super) session: SessionId,
    pub(super) options: Options,
    state: Mutex<DriverState>,
    alert: Arc<Alert>,
    /// Wakes by `alert`.
    waker: Waker,
}

impl Shared {
    pub(super) fn new(session: SessionId, options: Options, state: DriverState) -> Arc<Self> {
        let alert = Alert::new();
        let waker = Waker::from(Arc::clone(&alert));
        Arc::new(Self { session, options, state: Mutex::new(state), alert, waker })
    }

    pub(super) fn join(&self, client: ClientId, outbox: Arc<Outbox>) {
        lock(&self.state).clients.join(client, outbox);
    }

    /// Ends the session, which has no clients any more.
    pub(super) fn end(&self) {
        drop(lock(&self.state).end());
        self.alert.call();
    }

    /// Carries out a client's commands. `commands` is called under the lock; it gives none if the client is closed.
    pub(super) fn take_in<C: IntoIterator<Item = Command>>(
        &self,
        client: ClientId,
        commands: impl FnOnce() -> Option<C>,
    ) -> bool {
        self.enter(|state, now| {
            let Some(commands) = commands() else { return false };
            state.beat(now, client);
            commands.into_iter().for_each(|command| state.take(now, client, command));
            state.act(now, false, &self.alert, &self.waker);
            true
        })
        .unwrap_or(false)
    }

    /// The task's turn; for how long its alarm is to be set, if it changes. None when the session is over.
    fn turn(&self, context: &mut Context<'_>, rung: bool) -> Option<Option<Duration>> {
        self.enter(|state, now| {
            if rung {
                state.rung();
            }
            state.handle_remote(now, context);
            state.act(now, true, &self.alert, &self.waker);
            state.send_remote();
            state.alarm(now)
        })
    }

    /// Does something under the lock, after the sessions were told the time; then what is to be done without the lock.
    /// Nothing happens when the session is over.
    fn enter<T>(&self, work: impl FnOnce(&mut DriverState, Moment) -> T) -> Option<T> {
        let mut state = lock(&self.state);
        if state.is_over() {
            return None;
        }
        // A panic must not reach the caller, who came here for something else, nor poison the lock.
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let now = state.tell_time();
            let came = work(&mut state, now);
            (came, state.owes(now))
        }));
        let (came, owes) = match worked {
            Ok(worked) => worked,
            Err(panic) => {
                self.break_up(state, &*panic);
                return None;
            }
        };
        let (outboxes, closed) = (state.clients.post(), state.take_closed());
        drop(state);
        if owes {
            self.alert.call();
        }
        self.tell(outboxes);
        if closed > 0 {
            leave(self, closed);
        }
        Some(came)
    }

    fn tell(&self, outboxes: Vec<Arc<Outbox>>) {
        let told = catch_unwind(AssertUnwindSafe(|| outboxes.iter().for_each(|outbox| outbox.tell())));
        if let Err(panic) = told {
            self.break_up(lock(&self.state), &*panic);
        }
    }

    /// The session ends by a bug in this program: its clients are told, so that they don't wait for ever.
    fn break_up(&self, mut state: MutexGuard<'_, DriverState>, panic: &(dyn Any + Send)) {
        if state.is_over() {
            return;
        }
        let message = words(panic);
        let mut outboxes = state.clients.post();
        let rest = state.end();
        rest.iter().for_each(|outbox| outbox.end(&message));
        outboxes.extend(rest);
        drop(state);
        leave(self, usize::MAX);
        self.alert.call();
        self.tell(outboxes);
    }
}

/// The session's task, on the core's thread.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut alarm = pin!(sleep(Duration::ZERO));
    let mut is_set = false;
    poll_fn(|context| {
        shared.alert.serve(context.waker());
        loop {
            let rung = is_set && alarm.as_mut().poll(context).is_ready();
            is_set &= !rung;
            match shared.turn(context, rung) {
                None => return Poll::Ready(()),
                Some(None) => return Poll::Pending,
                Some(Some(length)) => alarm.as_mut().reset(Instant::now() + length),
            }
            // Polled again: an alarm registers its waker only when it is polled after being set.
            is_set = true;
        }
    })
    .await;
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
}
