//! What a server tells about itself when a link opens: its uptime, its process, and whether it is suitable.
//!
//! It is asked once per connection, by `INFO` and a script. If that isn't permitted, nothing is known, which is no
//! error (R30).

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use redis::{ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};

use crate::moment::Moment;
use crate::sync::lock;

/// The oldest version that runs the scripts, and the oldest that they are tested on.
const LEAST: (u32, u32) = (6, 0);
const TESTED: (u32, u32) = (6, 2);

/// An integer that takes 64 bits, and a script that writes it as the others write theirs. A build for 32 bits can't,
/// nor can one for Windows.
const LONG: &str = "4503599627370496";
const WRITE_LONG: &str = "return string.format('lua_integer:%d', 4503599627370496)";

/// What is known of a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    /// Its uptime, at least.
    pub(super) uptime: Option<Duration>,
    /// Which process it is.
    pub(super) run_id: Option<String>,
    /// Warnings for the operator.
    pub(super) warnings: Vec<String>,
    /// Its version, if that is a Redis too old for the scripts.
    pub(super) doubted: Option<String>,
}

impl About {
    /// How many replies the questions get.
    pub(super) const QUESTIONS: usize = 3;

    /// Adds the questions.
    pub(super) fn ask(pipeline: &mut Pipeline) {
        // Before 7.0 it takes one section at a time.
        pipeline.cmd("INFO").arg("server");
        pipeline.cmd("INFO").arg("memory");
        pipeline.cmd("EVAL").arg(WRITE_LONG).arg(0);
    }

    /// Reads the replies; the error says that the server can't be used.
    pub(super) fn read(replies: impl Iterator<Item = RedisResult<Value>>) -> Result<Self, String> {
        let texts = replies.filter_map(|reply| redis::from_redis_value::<String>(reply.ok()?).ok());
        Self::from_info(&texts.collect::<Vec<_>>().join("\n"))
    }

    fn from_info(info: &str) -> Result<Self, String> {
        let field = |name: &str| {
            let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
            info.lines().find_map(value)
        };
        let seconds = field("uptime_in_seconds").and_then(|seconds| seconds.parse().ok());
        let clock = field("server_time_usec").and_then(|micros| micros.parse().ok());
        let (mut warnings, mut doubted) = (Vec::new(), None);
        if let Some(version) = field("redis_version") {
            match parts(&version) {
                Some(parts) if parts < TESTED => {
                    warnings.push(format!("Redis {version} isn't tested: use 6.2 or newer"));
                    doubted = Some(version).filter(|_| parts < LEAST);
                }
                _ => {}
            }
        }
        if field("lua_integer").is_some_and(|written| written != LONG) {
            return Err("its scripts can't write integers of 64 bits".to_owned());
        }
        let bound = field("maxmemory").is_some_and(|bytes| bytes != "0");
        if let Some(policy) = field("maxmemory_policy").filter(|policy| bound && policy != "noeviction") {
            warnings.push(format!(
                "maxmemory-policy is {policy}: Redis may evict the state of a group, and others get in beside those who \
                 hold. Set it to noeviction"
            ));
        }
        Ok(Self {
            uptime: seconds.map(|seconds| least_uptime(seconds, clock)),
            run_id: field("run_id"),
            warnings,
            doubted,
        })
    }
}

/// Whether the server was loading its data when a link was to be opened, and since when it has finished.
#[derive(Default)]
pub(super) struct Loading(Mutex<Loaded>);

#[derive(Default, Clone, Copy)]
enum Loaded {
    #[default]
    AsFarAsIsKnown,
    NotYet,
    Since(Moment),
}

impl Loading {
    /// Notes why a link couldn't be opened.
    pub(super) fn note(&self, error: &RedisError) {
        if error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading) {
            *self.state() = Loaded::NotYet;
        }
    }

    /// How long the server, with which a link is open now, has been up with its data at least; `uptime` is what it
    /// says.
    pub(super) fn bound(&self, now: Moment, uptime: Option<Duration>) -> Option<Duration> {
        let mut state = self.state();
        let since = match *state {
            Loaded::AsFarAsIsKnown => return uptime,
            Loaded::NotYet => now,
            Loaded::Since(since) => since,
        };
        *state = Loaded::Since(since);
        uptime.map(|uptime| uptime.min(now.saturating_since(since)))
    }

    fn state(&self) -> MutexGuard<'_, Loaded> {
        lock(&self.0)
    }
}

/// How long a server runs at least that counts `seconds`: it counts how often a second of its wall clock has begun
/// since its start, which may be a whole second more. How far into the present second its `clock` is (in µs, where it's
/// told), it has run beyond that in any case.
fn least_uptime(seconds: u64, clock: Option<u64>) -> Duration {
    let begun = Duration::from_micros(clock.unwrap_or_default() % 1_000_000);
    seconds.checked_sub(1).map_or(Duration::ZERO, |whole| Duration::from_secs(whole) + begun)
}

fn parts(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(lines: &[&str]) -> Result<About, String> {
        About::from_info(&lines.join("\r\n"))
    }

    #[test]
    fn a_version_that_may_not_work_is_doubted_and_one_that_is_not_tested_is_warned_of() {
        assert_eq!(about(&["redis_version:5.0.14"]).unwrap().doubted.as_deref(), Some("5.0.14"));
        assert!(about(&["redis_version:6.0.20"]).unwrap().warnings[0].contains("6.0.20"));
        for good in ["6.2.5", "7.0.15", "8.2.3", "255.255.255", "unstable"] {
            assert_eq!(about(&[&format!("redis_version:{good}")]), Ok(About::default()));
        }
    }

    #[test]
    fn a_server_whose_scripts_write_no_long_integers_is_refused() {
        assert!(about(&["redis_version:7.0.15", "lua_integer:0"]).unwrap_err().contains("64 bits"));
        assert_eq!(about(&["lua_integer:4503599627370496"]), Ok(About::default()));
    }

    #[test]
    fn a_server_that_may_evict_is_warned_of_once_it_has_a_bound() {
        let policy = "maxmemory_policy:volatile-lru";
        assert!(about(&["maxmemory:100", policy]).unwrap().warnings[0].contains("volatile-lru"));
        assert_eq!(about(&["maxmemory:0", policy]), Ok(About::default()));
        assert_eq!(about(&["maxmemory:100", "maxmemory_policy:noeviction"]), Ok(About::default()));
    }

    #[test]
    fn a_server_that_was_found_loading_is_up_from_when_it_no_longer_is() {
        let (loading, at) = (Loading::default(), |seconds| Moment::default() + Duration::from_secs(seconds));
        let said = Some(Duration::from_secs(60));
        let refused = |code: ServerErrorKind| RedisError::from((ErrorKind::Server(code), "refused"));
        loading.note(&refused(ServerErrorKind::MasterDown));
        assert_eq!(loading.bound(at(1), said), said);
        loading.note(&refused(ServerErrorKind::BusyLoading));
        assert_eq!(loading.bound(at(5), said), Some(Duration::ZERO));
        assert_eq!(loading.bound(at(7), said), Some(Duration::from_secs(2)));
        assert_eq!(loading.bound(at(7), None), None);
        assert_eq!(loading.bound(at(90), said), said);
    }

    #[test]
    fn what_is_not_said_is_not_known() {
        assert_eq!(about(&[]), Ok(About::default()));
        let known = about(&["run_id:abc", "uptime_in_seconds:7"]).unwrap();
        assert_eq!((known.uptime, known.run_id.as_deref()), (Some(Duration::from_secs(6)), Some("abc")));
    }

    #[test]
    fn the_uptime_is_never_longer_than_the_server_runs() {
        // What a server says that was started and is asked at these moments of its clock, in µs.
        for started in [1_000_000_u64, 1_000_001, 1_400_000, 1_999_999] {
            for ran in [0_u64, 1, 600_000, 999_999, 1_000_000, 1_061_000, 2_000_000, 7_300_000] {
                let now = started + ran;
                let seconds = format!("uptime_in_seconds:{}", now / 1_000_000 - started / 1_000_000);
                let clock = format!("server_time_usec:{now}");
                let coarse = about(&[&seconds]).unwrap().uptime.unwrap();
                let fine = about(&[&seconds, &clock]).unwrap().uptime.unwrap();
                let true_uptime = Duration::from_micros(ran);
                assert!(coarse <= fine && fine <= true_uptime, "{started} {ran}: {coarse:?} {fine:?}");
                // Nor is it much shorter: nobody waits longer than a second more than he must.
                assert!(fine + Duration::from_secs(1) >= true_uptime, "{started} {ran}: {fine:?}");
                assert!(coarse + Duration::from_secs(2) >= true_uptime, "{started} {ran}: {coarse:?}");
            }
        }
    }
}
