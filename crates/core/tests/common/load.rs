//! A load on a few groups, and an observer who counts what is inside each: the limiter isn't asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use concurrency_limit::config::LimitConfig;
use concurrency_limit::lease::Key;
use concurrency_limit::limiter::Limiter;
use tokio::task::JoinSet;

use super::{BOUND, until};

/// Tasks of several limiters that acquire and release in a few groups, and what they saw.
pub struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Vec<Seen>>,
    tasks: JoinSet<Ended>,
}

/// What was seen of one group.
#[derive(Default)]
struct Seen {
    inside: AtomicU32,
    most: AtomicU32,
    done: AtomicU32,
}

/// What came of a load.
#[derive(Debug, Default)]
pub struct Ended {
    pub errors: Vec<String>,
    pub lost: u32,
    /// The most that were inside each group at once.
    pub most: Vec<u32>,
}

impl Load {
    /// How many may be inside a group.
    pub const LIMIT: u32 = 2;

    /// Four tasks of each limiter in each group.
    pub fn start(limiters: &[Limiter], groups: &[(Key, usize)]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen: Arc<Vec<Seen>> = Arc::new(groups.iter().map(|_| Seen::default()).collect());
        let mut tasks = JoinSet::new();
        for (limiter, (place, (key, _))) in
            limiters.iter().flat_map(|limiter| groups.iter().enumerate().map(move |group| (limiter, group)))
        {
            for _ in 0..4 {
                let config = LimitConfig {
                    limit_expire: Duration::from_secs(6),
                    limit_timeout: Some(2 * BOUND),
                    ..LimitConfig::new(key.as_str(), Self::LIMIT)
                };
                tasks.spawn(work(limiter.clone(), config, place, Arc::clone(&seen), Arc::clone(&stop)));
            }
        }
        Self { stop, seen, tasks }
    }

    fn done(&self, group: usize) -> u32 {
        self.seen[group].done.load(Ordering::Relaxed)
    }

    /// Waits until so much more is done in one group.
    pub async fn until_done_at(&self, group: usize, more: u32) {
        let goal = self.done(group) + more;
        let waiting = async {
            while self.done(group) < goal {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(2 * BOUND, waiting)
            .await
            .unwrap_or_else(|_| panic!("{} of {goal} done in group {group}", self.done(group)));
    }

    /// Waits until so much more is done in some group.
    pub async fn until_done(&self, more: u32) {
        let done = || (0..self.seen.len()).map(|group| self.done(group)).sum::<u32>();
        let goal = done() + more;
        until("more is done", || done() >= goal).await;
    }

    /// Waits until so much more is done in every group.
    pub async fn until_done_everywhere(&self, more: u32) {
        for group in 0..self.seen.len() {
            self.until_done_at(group, more).await;
        }
    }

    /// Lets everybody finish.
    pub async fn end(mut self) -> Ended {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Ended::default();
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.expect("no panic");
            all.errors.extend(ended.errors);
            all.lost += ended.lost;
        }
        all.most = self.seen.iter().map(|seen| seen.most.load(Ordering::Relaxed)).collect();
        all
    }

    /// Waits until nobody holds or waits in any of the groups.
    pub async fn nothing_is_left(limiter: &Limiter, groups: &[(Key, usize)]) {
        for (key, _) in groups {
            let empty = async {
                loop {
                    let picture = limiter.status(key.as_str()).await.expect("a picture");
                    if (picture.held, picture.waiting) == (0, 0) {
                        return;
                    }
                    limiter.clean(key.as_str()).await.expect("an answer");
                }
            };
            tokio::time::timeout(BOUND, empty).await.unwrap_or_else(|_| panic!("{key:?} isn't empty"));
        }
    }
}

async fn work(
    limiter: Limiter,
    config: LimitConfig,
    group: usize,
    seen: Arc<Vec<Seen>>,
    stop: Arc<AtomicBool>,
) -> Ended {
    let mut ended = Ended::default();
    let seen = &seen[group];
    while !stop.load(Ordering::Relaxed) {
        match limiter.acquire(&config).await {
            Ok(lease) => {
                let inside = seen.inside.fetch_add(1, Ordering::SeqCst) + 1;
                seen.most.fetch_max(inside, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
                seen.inside.fetch_sub(1, Ordering::SeqCst);
                ended.lost += u32::from(lease.is_lost());
                lease.release().await;
                seen.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => ended.errors.push(error.to_string()),
        }
    }
    ended
}
