//! What writes and reads on a connection: a task, and in its place whoever has just sent something.
//!
//! The client library puts what is sent into a queue, which its driver takes to the socket. Waking the driver's task
//! for that costs more than the writing. So a thread that sends a little on an idle connection polls the driver itself,
//! and the task isn't woken.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::{Context, Poll, Waker};

use crate::alert::Alert;
use crate::store::redis::task::Task;
use crate::sync::lock;

/// The driver of one connection, which ends with it.
pub(in crate::store::redis) struct Driver {
    shared: Arc<Shared>,
    _task: Task,
}

struct Shared {
    /// None when the connection has ended.
    work: Mutex<Option<Work>>,
    alert: Arc<Alert>,
    /// Wakes by `alert`.
    waker: Waker,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Driver {
    /// Sets a driver of the client library going.
    pub(in crate::store::redis) fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        let alert = Alert::new();
        let waker = Waker::from(Arc::clone(&alert));
        let shared = Arc::new(Shared { work: Mutex::new(Some(Box::pin(work))), alert, waker });
        let task = Task::spawn({
            let shared = Arc::clone(&shared);
            poll_fn(move |context| {
                shared.alert.serve(context.waker());
                let mut work = lock(&shared.work);
                shared.poll(&mut work)
            })
        });
        Self { shared, _task: task }
    }

    /// Takes what `send` sends to the socket before this returns, as far as the socket takes it. While the task is at
    /// work, that is left to it.
    pub(super) fn carry_out(&self, send: impl FnOnce()) {
        let Shared { work, alert, .. } = &*self.shared;
        let mut work = match work.try_lock() {
            Ok(work) => work,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return send(),
        };
        alert.look();
        send();
        alert.look();
        let ended = self.shared.poll(&mut work).is_ready();
        drop(work);
        if alert.leave() || ended {
            alert.call();
        }
    }
}

impl Shared {
    fn poll(&self, work: &mut MutexGuard<'_, Option<Work>>) -> Poll<()> {
        let Some(driver) = work.as_mut() else { return Poll::Ready(()) };
        let polled = driver.as_mut().poll(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            **work = None;
        }
        polled
    }
}
