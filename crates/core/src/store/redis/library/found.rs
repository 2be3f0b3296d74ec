//! What a server was found to have and to allow of the library, and what is to be done until it has it.

use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};

use super::text::LIBRARY;
use super::way::Way;

/// What a server was found to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::redis) struct Found {
    pub(in crate::store::redis) way: Way,
    /// The server has the library already.
    loaded: bool,
    /// The way that was refused because of the state that the server was in, to be tried again.
    better: Option<Better>,
}

/// A way that may be allowed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Better {
    way: Way,
    /// After so many more calls that show the server in a better state it is tried.
    left: u32,
    /// As many will be waited for after the next refusal.
    next: u32,
}

/// Most calls between two trials of a better way.
const MOST_BETWEEN: u32 = 4_096;

impl Found {
    /// Of a server that isn't asked: what all have known for longest. If it hasn't the script, the first call says so.
    pub(in crate::store::redis) const UNASKED: Self = Self::having(Way::Script);

    /// Of a server that has the library.
    pub(in crate::store::redis) const fn having(way: Way) -> Self {
        Self { way, loaded: true, better: None }
    }

    const fn lacking(way: Way) -> Self {
        Self { way, loaded: false, better: None }
    }

    /// How many replies the questions get.
    pub(in crate::store::redis) const QUESTIONS: usize = 2;

    /// Adds the questions: calls without groups, which answer an empty list. (A server that wants a password hangs up
    /// on long commands.)
    pub(in crate::store::redis) fn ask(pipeline: &mut Pipeline) {
        pipeline.cmd("FCALL").arg(format!("{}_no_writes", LIBRARY.name)).arg(0);
        pipeline.cmd("EVALSHA").arg(&LIBRARY.hash).arg(0);
    }

    /// Reads the replies; an error says nothing about what the server allows.
    pub(in crate::store::redis) fn read(
        mut replies: impl Iterator<Item = RedisResult<Value>>,
    ) -> RedisResult<Self> {
        let replies = [replies.next(), replies.next()];
        for (way, reply) in [Way::Function, Way::Script].into_iter().zip(replies) {
            match reply {
                Some(Ok(_)) => return Ok(Self::having(way)),
                Some(Err(error)) if is_missing(&error) => return Ok(Self::lacking(way)),
                Some(Err(error)) if has_code(&error, &NOT_READY) => return Err(error),
                // It would be carried out at another time. What is missing then is loaded then.
                Some(Err(error)) if has_code(&error, &NOT_NOW) => return Ok(Self::having(way)),
                Some(Err(error)) if error.code().is_none() => return Err(error),
                _ => {}
            }
        }
        Ok(Self::having(Way::Text))
    }

    /// What is to be sent until all is there, and in which way the library can be run then.
    pub(in crate::store::redis) fn load(&mut self) -> Option<(Way, Cmd)> {
        let mut way = self.way;
        if self.loaded {
            let better = self.better.as_mut().filter(|better| better.left == 0)?;
            // No other pipeline tries it meanwhile.
            (better.left, better.next) = (better.next, MOST_BETWEEN.min(2 * better.next));
            way = better.way;
        }
        LIBRARY.load(way).map(|load| (way, load))
    }

    /// The reply to [`Self::load`]: where it is refused, the next way is tried. (`FUNCTION LOAD` is, when memory is
    /// full; `SCRIPT LOAD` isn't.)
    pub(in crate::store::redis) fn answered(
        &mut self,
        way: Way,
        reply: RedisResult<Value>,
    ) -> RedisResult<()> {
        match reply {
            Ok(_) => self.has(way),
            // Another client was quicker.
            Err(error) if error.detail().is_some_and(|detail| detail.contains("already exists")) => {
                self.has(way)
            }
            Err(error) if error.code().is_none() || has_code(&error, &NOT_READY) => return Err(error),
            Err(error) => {
                let not_now = has_code(&error, &NOT_NOW);
                if way > self.way && !not_now {
                    self.better = None;
                } else if way == self.way && !self.loaded {
                    self.step_down();
                    if not_now && self.better.is_none() {
                        self.better = Some(Better { way, left: 1, next: 2 });
                    }
                }
            }
        }
        Ok(())
    }

    fn has(&mut self, way: Way) {
        match way > self.way {
            true => *self = Self::having(way),
            false => self.loaded |= way == self.way,
        }
    }

    /// A call was carried out that a server refuses as long as it has no memory or takes no writes: what was refused
    /// for that may be taken now.
    pub(in crate::store::redis) fn has_written(&mut self) {
        if let Some(better) = &mut self.better {
            better.left = better.left.saturating_sub(1);
        }
    }

    /// A call was refused: whether for the way in which it was asked, so that it can be asked again in another.
    pub(in crate::store::redis) fn is_told_by(&mut self, error: &RedisError) -> bool {
        let forbidden = error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
            && error.detail().is_some_and(|detail| detail.contains(self.way.command()));
        if forbidden && self.way == Way::Text {
            // Nothing is allowed. Once something is again, it shall be the best way.
            *self = Self::having(Way::Function);
            return false;
        }
        if forbidden {
            self.step_down();
            return true;
        }
        let missing = is_missing(error);
        self.loaded &= !missing;
        missing
    }

    fn step_down(&mut self) {
        self.way = self.way.below();
        self.loaded = self.way == Way::Text;
    }

    /// Of several servers that are all to be asked in one way.
    pub(in crate::store::redis) fn both(self, other: Self) -> Self {
        let way = self.way.min(other.way);
        Self { way, loaded: self.way == other.way && self.loaded && other.loaded, better: None }
    }
}

/// Whether a server says that it doesn't have the library.
fn is_missing(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        || error.detail().is_some_and(|detail| detail.starts_with("Function not found"))
}

/// The server answers nothing yet, or nothing to this client.
const NOT_READY: [&str; 3] = ["LOADING", "NOAUTH", "BUSY"];

/// The server knows the command and allows it, but not in the state that it's in.
const NOT_NOW: [&str; 7] =
    ["MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "MISCONF", "NOREPLICAS", "OOM"];

fn has_code(error: &RedisError, codes: &[&str]) -> bool {
    error.code().is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> RedisResult<Value> {
        Err(redis::make_extension_error(code.to_owned(), Some("as it says".to_owned())))
    }

    /// A server that took a script, and no functions for this reason.
    fn stepped_down(code: &str) -> Found {
        let mut found = Found::lacking(Way::Function);
        for reply in [refused(code), Ok(Value::Okay)] {
            let (way, _) = found.load().expect("something to load");
            found.answered(way, reply).expect("another way");
        }
        assert_eq!((found.way, found.load().is_some()), (Way::Script, false));
        found
    }

    /// How often functions are tried while so many calls show that the server takes writes.
    fn trials(found: &mut Found, calls: u32, code: &str) -> u32 {
        (0..calls).fold(0, |trials, _| {
            found.has_written();
            let Some((way, _)) = found.load() else { return trials };
            assert!(way == Way::Function && found.load().is_none(), "one pipeline tries");
            found.answered(way, refused(code)).expect("the way that it has");
            trials + 1
        })
    }

    #[test]
    fn what_the_state_of_a_server_refuses_is_tried_again_ever_more_seldom() {
        for code in ["OOM", "READONLY"] {
            let mut found = stepped_down(code);
            assert_eq!(trials(&mut found, 1_000, code), 9);
            assert_eq!(trials(&mut found, 100_000, code), 3 + 23, "512 and so on, then each 4,096");
            assert_eq!(found.way, Way::Script);
        }
    }

    #[test]
    fn what_a_server_does_not_know_or_allow_is_not_tried_again() {
        assert_eq!(trials(&mut stepped_down("NOPERM"), 1_000, "NOPERM"), 0);
        assert_eq!(trials(&mut stepped_down("OOM"), 1_000, "NOPERM"), 1);
    }

    #[test]
    fn once_it_is_taken_it_is_the_way() {
        let mut found = stepped_down("OOM");
        found.has_written();
        let (way, _) = found.load().expect("a trial");
        found.answered(way, Ok(Value::Okay)).expect("taken");
        assert_eq!(found, Found::having(Way::Function));
    }
}
