//! The flag that wakes JS, through every interleaving: no completion is ever left without a wake.
//!
//! It is the flag that the binding uses, compiled here against atomics that know all schedules; the outbox and the
//! queue of wakes, which Node keeps, are a number and a flag under a lock.

#[path = "../src/wake_flag.rs"]
mod wake_flag;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
}

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use wake_flag::WakeFlag;

/// What the threads share: completions that lie ready, and wakes that JS has not seen yet.
struct Bridge {
    wake_flag: WakeFlag,
    outbox: Mutex<u32>,
    wakes: Mutex<u32>,
    woken: Condvar,
}

impl Bridge {
    fn tell(&self) {
        *self.outbox.lock().expect("no panic") += 1;
        if self.wake_flag.set() {
            *self.wakes.lock().expect("no panic") += 1;
            self.woken.notify_one();
        }
    }

    /// JS sleeps until it's woken, then reads until nothing is left; how much it read. A wake that never comes is a
    /// deadlock, which fails the model.
    fn sleep_and_read(&self) -> u32 {
        self.sleep();
        let mut read = 0;
        loop {
            let drained = self.read();
            if drained == 0 {
                return read;
            }
            read += drained;
        }
    }

    /// JS is woken while it can't read, and reads when it asks for something the next time.
    fn sleep_and_read_once(&self) -> u32 {
        self.sleep();
        self.read()
    }

    fn sleep(&self) {
        let mut wakes = self.wakes.lock().expect("no panic");
        while *wakes == 0 {
            wakes = self.woken.wait(wakes).expect("no panic");
        }
        *wakes -= 1;
    }

    fn read(&self) -> u32 {
        self.wake_flag.clear();
        std::mem::take(&mut *self.outbox.lock().expect("no panic"))
    }
}

fn every_interleaving(tellers: u32, each: u32, hear: fn(&Bridge) -> u32) {
    loom::model(move || {
        let bridge = Arc::new(Bridge {
            wake_flag: WakeFlag::new(),
            outbox: Mutex::new(0),
            wakes: Mutex::new(0),
            woken: Condvar::new(),
        });
        let threads: Vec<_> = (0..tellers)
            .map(|_| {
                let bridge = Arc::clone(&bridge);
                thread::spawn(move || (0..each).for_each(|_| bridge.tell()))
            })
            .collect();
        let mut read = 0;
        while read < tellers * each {
            read += hear(&bridge);
        }
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}

#[test]
fn a_completion_is_never_left_without_a_wake() {
    every_interleaving(1, 2, Bridge::sleep_and_read);
}

#[test]
fn nor_when_two_threads_tell_at_once() {
    every_interleaving(2, 1, Bridge::sleep_and_read);
}

#[test]
fn nor_when_it_is_read_along_with_a_request() {
    every_interleaving(1, 2, Bridge::sleep_and_read_once);
    every_interleaving(2, 1, Bridge::sleep_and_read_once);
}
