//! The futures of the API need no runtime: an executor of ten lines drives them.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use concurrency_limit::{LimitConfig, Limiter};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_lease_is_waited_for_and_handed_over_without_a_runtime() {
    let limiter = Limiter::new("memory:any-runtime").expect("the embedded store");
    let config = LimitConfig::new("k", 1);
    let first = block_on(limiter.acquire(&config)).expect("the only slot");
    let next = thread::spawn({
        let (limiter, config) = (limiter.clone(), config.clone());
        move || block_on(limiter.acquire(&config)).expect("the slot of the first")
    });
    while block_on(limiter.status("k")).expect("a picture").waiting == 0 {
        thread::yield_now();
    }
    assert!(block_on(first.release()));
    let second = next.join().expect("it doesn't panic");
    assert_eq!(second.slot(), 1);
    assert!(block_on(second.release()));
    block_on(limiter.close());
}
