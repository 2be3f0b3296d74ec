//! What callers' threads and the core's share, through every interleaving: clients are told everything, in the order in
//! which it happened, and the task is woken for all that nobody has taken in.
//!
//! The outbox and the alert are those of the driver, compiled here against locks and atomics that know all schedules. A
//! session's lock, and the queue of what an embedded store brings, are as the driver and tokio have them, in small.

#[path = "../src/driver/alert.rs"]
mod alert;
#[path = "../src/driver/outbox.rs"]
mod outbox;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU8, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
    pub(crate) use std::sync::PoisonError;
}

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Wake, Waker};

use alert::Alert;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use outbox::Outbox;

type Event = u32;

trait Sink: Send + Sync + 'static {
    fn tell(&self, events: &mut Vec<Event>);
    fn broken(&self, message: &str);
}

/// What a client has heard; 0 is the end.
struct Heard(Mutex<Vec<Event>>);

impl Sink for Heard {
    fn tell(&self, events: &mut Vec<Event>) {
        self.0.lock().expect("no panic").append(events);
    }

    fn broken(&self, _message: &str) {
        self.0.lock().expect("no panic").push(0);
    }
}

/// Threads that each let something happen under the session's lock, so often, and tell it then; what was heard.
fn told(threads: u32, each: u32, then: fn(&Outbox)) -> Vec<Event> {
    let heard = Arc::new(Heard(Mutex::new(Vec::new())));
    let outbox = Arc::new(Outbox::new(Arc::clone(&heard) as Arc<dyn Sink>));
    let session = Arc::new(Mutex::new(0));
    let happen = move |outbox: &Outbox, session: &Mutex<u32>| {
        for _ in 0..each {
            let mut last = session.lock().expect("no panic");
            *last += 1;
            outbox.put(&mut vec![*last]);
            if *last == threads * each {
                then(outbox);
            }
            drop(last);
            outbox.tell();
        }
    };
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let (outbox, session) = (Arc::clone(&outbox), Arc::clone(&session));
            thread::spawn(move || happen(&outbox, &session))
        })
        .collect();
    happen(&outbox, &session);
    others.into_iter().for_each(|other| other.join().expect("no panic"));
    heard.0.lock().expect("no panic").clone()
}

#[test]
fn events_are_told_in_the_order_in_which_they_happened_and_none_is_left() {
    loom::model(|| assert_eq!(told(2, 2, |_| {}), [1, 2, 3, 4]));
}

#[test]
fn nor_is_any_when_three_threads_tell() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| assert_eq!(told(3, 1, |_| {}), [1, 2, 3]));
}

#[test]
fn the_end_is_told_last() {
    loom::model(|| assert_eq!(told(2, 1, |outbox| outbox.end("over")), [1, 2, 0]));
}

/// A task that sleeps until it's woken.
struct Task {
    wakes: Mutex<u32>,
    woken: Condvar,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.wakes.lock().expect("no panic") += 1;
        self.woken.notify_one();
    }
}

/// What an embedded store brings to a session: as in tokio's channels, a waker is used once and then left anew by
/// whoever finds nothing.
#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    waker: Option<Waker>,
}

struct Session {
    /// How many events were taken in.
    state: Mutex<u32>,
    queue: Mutex<Queue>,
    alert: Arc<Alert>,
    waker: Waker,
}

impl Session {
    fn send(&self, event: Event) {
        let mut queue = self.queue.lock().expect("no panic");
        queue.events.push_back(event);
        let waker = queue.waker.take();
        drop(queue);
        waker.into_iter().for_each(Waker::wake);
    }

    fn receive(&self) -> Option<Event> {
        let mut queue = self.queue.lock().expect("no panic");
        let event = queue.events.pop_front();
        if event.is_none() {
            queue.waker = Some(self.waker.clone());
        }
        event
    }

    /// Somebody enters, asks the store for something if it's a caller, and takes in what the store brings.
    fn enter(&self, asks: bool) {
        let mut state = self.state.lock().expect("no panic");
        self.alert.look();
        if asks {
            self.send(1);
        }
        loop {
            self.alert.look();
            let mut heard = 0;
            while self.receive().is_some() {
                heard += 1;
            }
            if heard == 0 {
                break;
            }
            *state += heard;
        }
        let owes = self.alert.leave();
        drop(state);
        if owes {
            self.alert.call();
        }
    }
}

fn session() -> (Arc<Session>, Arc<Task>) {
    let task = Arc::new(Task { wakes: Mutex::new(0), woken: Condvar::new() });
    let alert = Alert::new();
    alert.serve(&Waker::from(Arc::clone(&task)));
    let waker = Waker::from(Arc::clone(&alert));
    (Arc::new(Session { state: Mutex::new(0), queue: Mutex::default(), alert, waker }), task)
}

#[test]
fn what_another_session_brings_is_taken_in_by_a_caller_or_by_the_task() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (session, task) = session();
        session.enter(false);
        let caller = thread::spawn({
            let session = Arc::clone(&session);
            move || session.enter(true)
        });
        let other = thread::spawn({
            let session = Arc::clone(&session);
            move || session.send(2)
        });
        // The task: a wake that never comes is a deadlock, which fails the model. The caller's own event needs none.
        session.enter(false);
        caller.join().expect("no panic");
        other.join().expect("no panic");
        while *session.state.lock().expect("no panic") < 2 {
            let mut wakes = task.wakes.lock().expect("no panic");
            while *wakes == 0 {
                wakes = task.woken.wait(wakes).expect("no panic");
            }
            *wakes -= 1;
            drop(wakes);
            session.enter(false);
        }
    });
}

#[test]
fn what_a_caller_brings_about_itself_wakes_nobody() {
    loom::model(|| {
        let (session, task) = session();
        session.enter(false);
        let other = thread::spawn({
            let session = Arc::clone(&session);
            move || session.enter(true)
        });
        session.enter(true);
        other.join().expect("no panic");
        assert_eq!((*session.state.lock().expect("no panic"), *task.wakes.lock().expect("no panic")), (2, 0));
    });
}
