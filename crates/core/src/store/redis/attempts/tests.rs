//! Overlapping attempts in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::sleep;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn attempts(most: Option<u32>) -> Attempts {
    Attempts::new(&Options { max_connections: most, ..Options::new("redis://h") }, 0)
}

fn refusal(fatal: bool) -> ConnectError {
    ConnectError { fatal, ..ConnectError::refused(format!("fatal: {fatal}")) }
}

/// How many are open, and the most that were.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Guard(Arc<Open>);

impl Guard {
    fn new(open: &Arc<Open>) -> Self {
        let now = open.now.fetch_add(1, Ordering::Relaxed) + 1;
        open.most.fetch_max(now, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Attempts of which only those that begin from `good_from` on are answered, after `takes`: how long it was until one
/// was, and how many were open at most.
async fn time_to(
    attempts: Attempts,
    good_from: Duration,
    takes: Duration,
) -> (Result<Duration, Option<ConnectError>>, usize) {
    let (start, open) = (Instant::now(), Arc::new(Open::default()));
    let first = attempts.first(LIMIT, 1, |_| {
        let guard = Guard::new(&open);
        async move {
            let _guard = guard;
            if start.elapsed() < good_from {
                pending::<()>().await;
            }
            sleep(takes).await;
            Ok::<_, ConnectError>(())
        }
    });
    let result = first.await.map(|_| start.elapsed());
    (result, open.most.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn what_answers_a_fresh_socket_is_found_within_the_pace() {
    for good_from in [0, 10, 700, 4_321, 9_000].map(Duration::from_millis) {
        let (found, open) = time_to(attempts(None), good_from, Duration::from_millis(10)).await;
        let found = found.expect("an answer");
        assert!(found <= good_from + LONGEST_PACE + Duration::from_millis(11), "{good_from:?}: {found:?}");
        assert!(open <= MOST);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_but_works_is_waited_for_to_the_limit() {
    for takes in [2_100, 4_000, 9_900].map(Duration::from_millis) {
        let (found, open) = time_to(attempts(None), Duration::ZERO, takes).await;
        assert!(found.expect("an answer") <= takes + Duration::from_millis(1));
        assert!(open <= MOST);
    }
    let (found, _) = time_to(attempts(None), Duration::ZERO, 2 * LIMIT).await;
    assert_eq!(found, Err(None));
}

#[tokio::test(start_paused = true)]
async fn where_one_connection_is_allowed_there_is_never_a_second() {
    let (found, open) =
        time_to(attempts(Some(1)), Duration::from_millis(1_200), Duration::from_millis(600)).await;
    assert_eq!(open, 1);
    assert!(found.expect("an answer") < LIMIT / 2);
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_fails_is_followed_by_the_next_at_once() {
    let start = Instant::now();
    let first = attempts(None).first(LIMIT, 3, |candidate| async move {
        if candidate < 2 { Err(refusal(candidate == 0)) } else { Ok(candidate) }
    });
    assert_eq!(first.await, Ok((2, 2)));
    assert!(start.elapsed() < Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn when_all_have_failed_the_error_is_the_one_that_says_most() {
    for fatal in 0..3 {
        let first = attempts(None)
            .first(LIMIT, 3, |candidate| async move { Err::<(), _>(refusal(candidate == fatal)) });
        assert_eq!(first.await, Err(Some(refusal(true))));
    }
    let first = attempts(None).first(LIMIT, 2, |_| async { Err::<(), _>(refusal(false)) });
    assert_eq!(first.await, Err(Some(refusal(false))));
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_doesnt_end_those_that_still_hang() {
    let mut begun = 0;
    let first = attempts(None).first(LIMIT, 1, |_| {
        begun += 1;
        let number = begun;
        async move {
            sleep(if number == 1 { LIMIT / 2 } else { Duration::ZERO }).await;
            if number == 1 { Ok(number) } else { Err(refusal(false)) }
        }
    });
    assert_eq!(first.await, Ok((0, 1)));
}
