//! Attempts that overlap: while none has finished, new ones are begun at intervals, and the first that finishes is
//! used.
//!
//! A server that vanished and is back answers a new socket at once, and an old one only after the kernel's next
//! retransmission, which may be seconds later. On a slow network an attempt takes long. So a hanging attempt isn't
//! ended: it stays open beside the new one. What is attempted isn't known here.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::RedisError;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::Options;
use crate::store::ConnectError;

/// The bounds of the time from one attempt to the next.
const SHORTEST_PACE: Duration = Duration::from_millis(100);
const LONGEST_PACE: Duration = Duration::from_millis(500);

/// How many attempts may be open at once. The first stays open; of the others the oldest ends for a new one.
const MOST: usize = 8;

/// How many of several candidates are attempted at once.
const MOST_CANDIDATES: usize = 16;

/// Why an attempt failed.
pub(super) trait Refusal {
    /// Trying this one again won't help.
    fn is_fatal(&self) -> bool;
}

impl Refusal for ConnectError {
    fn is_fatal(&self) -> bool {
        self.fatal
    }
}

impl Refusal for RedisError {
    fn is_fatal(&self) -> bool {
        false
    }
}

/// How often attempts begin, and how many may be open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempts {
    pace: Duration,
    most: usize,
}

impl Attempts {
    /// By the options; `other`: how many other connections to the same server there are.
    pub(super) fn new(options: &Options, others: u32) -> Self {
        let pace = match options.settle / 4 {
            Duration::ZERO => LONGEST_PACE,
            pace => pace.clamp(SHORTEST_PACE, LONGEST_PACE),
        };
        let room = options.max_connections.map_or(MOST, |most| most.saturating_sub(others) as usize);
        Self { pace, most: room.clamp(1, MOST) }
    }

    /// How long after an attempt the next one begins while none is done.
    pub(super) fn pace(&self) -> Duration {
        self.pace
    }

    /// The first candidate that is done within `limit`, and what came of it. `begin` starts an attempt with the
    /// candidate of this number; they're taken in turn, the next one at once when one fails, and again from the first
    /// while any hangs. It ends early when all have failed and none hangs, or all fatally. The error is the fatal one
    /// if there was any, else the last; `None` if nobody said anything.
    pub(super) async fn first<T, E, A>(
        self,
        limit: Duration,
        candidates: usize,
        begin: impl FnMut(usize) -> A,
    ) -> Result<(usize, T), Option<E>>
    where
        E: Refusal,
        A: Future<Output = Result<T, E>>,
    {
        let mut race = Race::new(self, candidates, begin);
        let result = timeout(limit, race.run()).await;
        result.unwrap_or(Err(())).map_err(|()| race.error)
    }

    /// How long after the attempt of this number, counted from 1, the next may begin.
    fn patience(&self, begun: usize, candidates: usize) -> Duration {
        match begun {
            // Another candidate is asked sooner than the same one again.
            begun if begun < candidates => self.pace / 2,
            // There is no room beside it: the more time each of them gets the later it comes.
            begun if self.most == 1 => self.pace * 2u32.saturating_pow((begun - candidates).min(10) as u32),
            _ => self.pace,
        }
    }
}

/// The attempts at one thing.
struct Race<E, A, B> {
    attempts: Attempts,
    candidates: usize,
    begin: B,
    /// Candidates that may still be attempted.
    left: VecDeque<usize>,
    begun: usize,
    /// Those that run, the oldest first, each with its candidate.
    running: VecDeque<(usize, Pin<Box<A>>)>,
    error: Option<E>,
}

impl<T, E, A, B> Race<E, A, B>
where
    E: Refusal,
    A: Future<Output = Result<T, E>>,
    B: FnMut(usize) -> A,
{
    fn new(attempts: Attempts, candidates: usize, begin: B) -> Self {
        let most = attempts.most.max(candidates.min(MOST_CANDIDATES));
        Self {
            attempts: Attempts { most, ..attempts },
            candidates,
            begin,
            left: (0..candidates).collect(),
            begun: 0,
            running: VecDeque::new(),
            error: None,
        }
    }

    async fn run(&mut self) -> Result<(usize, T), ()> {
        let mut next_at = Some(Instant::now());
        loop {
            let due = async {
                match next_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                (candidate, result) = poll_fn(|context| self.poll_running(context)) => match result {
                    Ok(value) => return Ok((candidate, value)),
                    Err(error) => {
                        self.refused(candidate, error);
                        if self.begun < self.candidates {
                            next_at = Some(Instant::now());
                        }
                    }
                },
                () = due => next_at = self.begin_next(),
            }
            let all_failed = self.running.is_empty() && self.begun >= self.candidates;
            if all_failed || self.left.is_empty() {
                return Err(());
            }
        }
    }

    /// The first that is done.
    fn poll_running(&mut self, context: &mut Context<'_>) -> Poll<(usize, Result<T, E>)> {
        for at in 0..self.running.len() {
            let (candidate, attempt) = &mut self.running[at];
            if let Poll::Ready(result) = attempt.as_mut().poll(context) {
                let candidate = *candidate;
                self.running.remove(at);
                return Poll::Ready((candidate, result));
            }
        }
        Poll::Pending
    }

    fn refused(&mut self, candidate: usize, error: E) {
        if error.is_fatal() {
            self.left.retain(|other| *other != candidate);
        }
        if error.is_fatal() || !self.error.as_ref().is_some_and(Refusal::is_fatal) {
            self.error = Some(error);
        }
    }

    /// Begins an attempt with the next candidate; when the one after it may begin.
    fn begin_next(&mut self) -> Option<Instant> {
        let candidate = self.left.pop_front()?;
        self.left.push_back(candidate);
        if self.running.len() >= self.attempts.most {
            self.running.remove(usize::from(self.running.len() > 1));
        }
        self.running.push_back((candidate, Box::pin((self.begin)(candidate))));
        self.begun += 1;
        // Not at the same time as other processes that lost the same server.
        let share = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
        let patience = self.attempts.patience(self.begun, self.candidates);
        Some(Instant::now() + patience.mul_f64(0.9 + 0.1 * share))
    }
}

#[cfg(test)]
mod tests;
