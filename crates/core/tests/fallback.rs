//! While Redis can't be reached, `on_unavailable` says what becomes of requests; "full" and "not available" are never
//! confused. Against a port that nobody listens on.

use std::time::Duration;

use concurrency_limit::config::{LimitConfig, OnUnavailable, Options};
use concurrency_limit::error::Error;
use concurrency_limit::limiter::Limiter;

const LONG: Duration = Duration::from_secs(60);

/// A limiter whose Redis isn't there.
fn limiter(on_unavailable: OnUnavailable) -> Limiter {
    // Bound and given back at once: nobody listens there.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let options = Options { on_unavailable, ..Options::new(format!("redis://127.0.0.1:{port}")) };
    Limiter::with_options(&options).expect("usable options")
}

fn config(limit: u32) -> LimitConfig {
    LimitConfig { limit_timeout: Some(Duration::from_millis(300)), ..LimitConfig::new("k", limit) }
}

#[tokio::test]
async fn rejecting_is_the_default_and_says_not_available() {
    let limiter = limiter(OnUnavailable::Reject);
    assert!(matches!(limiter.acquire(&config(1)).await, Err(Error::Unavailable { .. })));
    assert!(matches!(limiter.try_acquire(&config(1)).await, Err(Error::Unavailable { .. })));
}

#[tokio::test]
async fn allowing_lets_everyone_in_and_says_so() {
    let limiter = limiter(OnUnavailable::Allow(LONG));
    let first = limiter.acquire(&config(1)).await.expect("let in");
    let second = limiter.acquire(&config(1)).await.expect("let in");
    assert!(first.stood_in() && second.stood_in());
    assert!(first.release().await && second.release().await);
}

#[tokio::test]
async fn local_limits_this_process_and_full_is_full() {
    let limiter = limiter(OnUnavailable::Local(LONG));
    let lease = limiter.acquire(&config(1)).await.expect("let in");
    assert!(lease.stood_in());
    assert!(matches!(limiter.acquire(&config(1)).await, Err(Error::LimitExceeded { held: 1, .. })));
    assert!(limiter.try_acquire(&config(1)).await.expect("an answer").is_none());
    assert!(lease.release().await);
    assert!(limiter.try_acquire(&config(1)).await.expect("an answer").is_some());
}

#[tokio::test]
async fn a_waiter_of_the_fallback_is_served_in_its_turn_and_a_dropped_one_leaves() {
    let limiter = limiter(OnUnavailable::Local(LONG));
    let patient = LimitConfig { limit_timeout: None, ..config(1) };
    let lease = limiter.acquire(&patient).await.expect("let in");
    let gone = tokio::time::timeout(Duration::from_millis(50), limiter.acquire(&patient)).await;
    assert!(gone.is_err(), "it waits");
    let next = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire(&patient).await.map(|lease| lease.slot()) }
    });
    lease.release().await;
    assert_eq!(next.await.expect("no panic").expect("granted"), 1);
}

#[tokio::test]
async fn after_the_bound_requests_are_rejected_again() {
    let limiter = limiter(OnUnavailable::Allow(Duration::from_millis(200)));
    limiter.acquire(&config(1)).await.expect("let in").release().await;
    let until_rejected = async {
        while let Ok(lease) = limiter.acquire(&config(1)).await {
            lease.release().await;
        }
    };
    tokio::time::timeout(LONG, until_rejected).await.expect("rejected at last");
    assert!(matches!(limiter.acquire(&config(1)).await, Err(Error::Unavailable { .. })));
}
