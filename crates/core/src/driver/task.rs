//! A session behind its lock: who takes the lock, and what happens then. Callers take it on their own threads, the
//! session's task on the core's thread. The task also does what only it can: it sends what callers don't send
//! themselves, reads what servers say, and wakes when something is due.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::desk::Desk;
use super::outbox::Outbox;
use super::{Command, leave, lock};
use crate::alert::Alert;
use crate::config::Options;
use crate::lease::SessionId;
use crate::moment::Moment;
use crate::session::ClientId;

/// A session, as its clients and its task share it.
pub(super) struct Shared {
    pub(super) session: SessionId,
    pub(super) options: Options,
    desk: Mutex<Desk>,
    alert: Arc<Alert>,
    /// Wakes by `alert`.
    waker: Waker,
}

impl Shared {
    pub(super) fn new(session: SessionId, options: Options, desk: Desk) -> Arc<Self> {
        let alert = Alert::new();
        let waker = Waker::from(Arc::clone(&alert));
        Arc::new(Self { session, options, desk: Mutex::new(desk), alert, waker })
    }

    pub(super) fn join(&self, client: ClientId, outbox: Arc<Outbox>) {
        lock(&self.desk).join(client, outbox);
    }

    /// Ends the session, which has no clients any more.
    pub(super) fn end(&self) {
        drop(lock(&self.desk).end());
        self.alert.call();
    }

    /// Takes in what a client wants, if it still may want something: `commands` is asked under the lock.
    pub(super) fn take_in<C: IntoIterator<Item = Command>>(
        &self,
        client: ClientId,
        commands: impl FnOnce() -> Option<C>,
    ) -> bool {
        self.enter(|desk, now| {
            let Some(commands) = commands() else { return false };
            desk.beat(now, client);
            commands.into_iter().for_each(|command| desk.take(now, client, command));
            desk.act(now, &self.alert, &self.waker);
            desk.send_here();
            true
        })
        .unwrap_or(false)
    }

    /// The task's turn; for how long its alarm is to be set, if anew. None when the session is over.
    fn turn(&self, context: &mut Context<'_>, rung: bool) -> Option<Option<Duration>> {
        self.enter(|desk, now| {
            if rung {
                desk.rung();
            }
            desk.hear_far(now, context);
            desk.act(now, &self.alert, &self.waker);
            desk.send_far();
            desk.alarm(now)
        })
    }

    /// Does something under the lock, at a time that has been told, and what is to be done without it then. A session
    /// that is over does nothing.
    fn enter<T>(&self, work: impl FnOnce(&mut Desk, Moment) -> T) -> Option<T> {
        let mut desk = lock(&self.desk);
        if desk.is_over() {
            return None;
        }
        // A panic must not get as far as the lock: it would end whoever came here for their own thing.
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let now = desk.tell_time();
            let came = work(&mut desk, now);
            (came, desk.owes(now))
        }));
        let (came, owes) = match worked {
            Ok(worked) => worked,
            Err(panic) => {
                self.break_up(desk, &*panic);
                return None;
            }
        };
        let (outboxes, closed) = (desk.post(), desk.take_closed());
        drop(desk);
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
            self.break_up(lock(&self.desk), &*panic);
        }
    }

    /// The session ends by a fault of ours: its clients hear of it instead of waiting for ever.
    fn break_up(&self, mut desk: MutexGuard<'_, Desk>, panic: &(dyn Any + Send)) {
        if desk.is_over() {
            return;
        }
        let message = words(panic);
        let mut outboxes = desk.post();
        let rest = desk.end();
        rest.iter().for_each(|outbox| outbox.end(&message));
        outboxes.extend(rest);
        drop(desk);
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
            // Again, since an alarm that was set knows whom to wake only when it has been asked.
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
