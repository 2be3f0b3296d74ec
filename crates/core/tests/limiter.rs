//! The async Rust API, on the embedded store and on a real Redis: the same claims on both.

mod common;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use common::BOUND;
use common::server::RedisServer;
use concurrency_limit::config::{LimitConfig, Options};
use concurrency_limit::error::{Error, Loss};
use concurrency_limit::limiter::{Lease, Limiter};
use concurrency_limit::protocol::Target;

/// The claim holds on both stores, each new and with nobody else in it.
async fn on_both<F: Future<Output = ()>>(name: &str, claim: impl Fn(Limiter) -> F) {
    let memory = Limiter::new(format!("memory:{name}")).expect("the embedded store");
    within(claim(memory)).await;
    let server = RedisServer::start(&[]);
    let options = Options { settle: Duration::ZERO, ..Options::new(server.url("")) };
    within(claim(Limiter::with_options(&options).expect("a good address"))).await;
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, what).await.expect("within the bound")
}

fn one() -> LimitConfig {
    LimitConfig::new("k", 1)
}

/// Acquires the only slot.
async fn first(limiter: &Limiter) -> Lease {
    limiter.acquire(&one()).await.expect("the only slot")
}

/// Waits until so many are in line.
async fn in_line(limiter: &Limiter, many: u64) {
    while limiter.status("k").await.expect("a picture").waiting != many {
        tokio::task::yield_now().await;
    }
}

/// Starts the future, so that its request is under way.
fn start<F: Future>(future: std::pin::Pin<&mut F>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test]
async fn waiters_are_granted_in_the_order_in_which_they_came() {
    on_both("order", |limiter| async move {
        let mut holder = first(&limiter).await;
        let mut waiters = Vec::new();
        for many in 1..=3 {
            let limiter = limiter.clone();
            waiters.push(tokio::spawn({
                let limiter = limiter.clone();
                async move { limiter.acquire(&one()).await }
            }));
            in_line(&limiter, many).await;
        }
        for waiter in waiters {
            assert!(!waiter.is_finished(), "nobody is granted before the slot is free");
            let before = holder.fencing_token();
            assert!(holder.release().await);
            holder = waiter.await.expect("no panic").expect("its turn");
            assert!(holder.fencing_token() > before);
        }
    })
    .await;
}

#[tokio::test]
async fn a_dropped_lease_is_given_back() {
    on_both("drop", |limiter| async move {
        drop(first(&limiter).await);
        assert!(first(&limiter).await.release().await);
    })
    .await;
}

#[tokio::test]
async fn a_dropped_future_leaves_the_line() {
    on_both("future", |limiter| async move {
        let holder = first(&limiter).await;
        {
            let config = one();
            let mut waiter = pin!(limiter.acquire(&config));
            start(waiter.as_mut());
            in_line(&limiter, 1).await;
        }
        in_line(&limiter, 0).await;
        assert!(holder.release().await);
        assert_eq!(limiter.status("k").await.expect("a picture").held, 0);
    })
    .await;
}

#[tokio::test]
async fn try_acquire_has_none_when_full() {
    on_both("try", |limiter| async move {
        let holder = limiter.try_acquire(&one()).await.expect("an answer").expect("the only slot");
        assert!(limiter.try_acquire(&one()).await.expect("an answer").is_none());
        assert!(holder.release().await);
        assert!(limiter.try_acquire(&one()).await.expect("an answer").is_some());
    })
    .await;
}

#[tokio::test]
async fn a_wait_that_is_over_says_how_full_it_was() {
    on_both("timeout", |limiter| async move {
        let _holder = first(&limiter).await;
        let hurry = LimitConfig { limit_timeout: Some(Duration::from_millis(50)), ..one() };
        match limiter.acquire(&hurry).await.err() {
            Some(Error::LimitExceeded { held: 1, waiting: 0, limit: 1, retry_after: Some(_), .. }) => {}
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_is_released_by_force_is_told_lost() {
    on_both("lost", |limiter| async move {
        let short = LimitConfig { limit_expire: Duration::from_millis(300), ..one() };
        let holder = limiter.acquire(&short).await.expect("the only slot");
        assert!(limiter.release("k", Target::Lease(holder.id())).await.expect("an answer"));
        assert_eq!(holder.lost().await, Loss::Gone);
        assert!(holder.is_lost());
        assert!(!holder.release().await, "it was gone already");
    })
    .await;
}

#[tokio::test]
async fn status_clean_and_release_by_holder_do_as_they_say() {
    on_both("operator", |limiter| async move {
        let named = LimitConfig { holder: Some("anna".into()), label: Some("night".into()), ..one() };
        let lease = limiter.acquire(&named).await.expect("the only slot");
        let picture = limiter.status("k").await.expect("a picture");
        assert_eq!((picture.limit, picture.held, picture.waiting), (1, 1, 0));
        assert_eq!(picture.holders[0].id, lease.id());
        assert_eq!(picture.holders[0].holder.as_deref(), Some("anna"));
        assert_eq!(picture.holders[0].label.as_deref(), Some("night"));
        assert_eq!(limiter.clean("k").await.expect("an answer"), 0);
        assert!(limiter.release("k", Target::Holder("anna".into())).await.expect("an answer"));
        assert!(!limiter.release("k", Target::Holder("anna".into())).await.expect("an answer"));
        assert!(!lease.release().await);
    })
    .await;
}

#[tokio::test]
async fn closing_fails_what_waits_and_gives_back_what_is_held() {
    on_both("close", |limiter| async move {
        let holder = first(&limiter).await;
        let waiter = tokio::spawn({
            let limiter = limiter.clone();
            async move { limiter.acquire(&one()).await.err() }
        });
        in_line(&limiter, 1).await;
        limiter.close().await;
        assert_eq!(waiter.await.expect("no panic"), Some(Error::Closed));
        assert_eq!(limiter.acquire(&one()).await.err(), Some(Error::Closed), "it stays closed");
        assert_eq!(limiter.status("k").await.err(), Some(Error::Closed));
        holder.lost().await;
        assert!(holder.is_lost(), "it was given back");
        assert!(!holder.release().await);
    })
    .await;
}

#[tokio::test]
async fn a_kept_slot_serves_the_next_request_and_goes_back_with_the_limiter() {
    on_both("kept", |limiter| async move {
        let kept = LimitConfig { limit_keep: Duration::from_secs(10), ..one() };
        while limiter.stats().await.expect("the counters").kept.reused < 10 {
            let lease = limiter.acquire(&kept).await.expect("the only slot");
            assert!(lease.release().await);
        }
        let stats = limiter.stats().await.expect("the counters");
        assert_eq!((stats.held, stats.kept.now), (0, 1));
        assert_eq!(limiter.status("k").await.expect("a picture").held, 0);
        limiter.close().await;
    })
    .await;
}
