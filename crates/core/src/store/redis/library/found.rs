//! What a server was found to have and to allow of the library, and what is to be done until it has it.

use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};

use super::text::LIBRARY;
use super::way::Way;

/// What a server was found to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::redis) struct Found {
    pub(in crate::store::redis) way: Way,
    /// The server has the library already.
    pub(in crate::store::redis) loaded: bool,
}

impl Found {
    /// Of a server that isn't asked: what all have known for longest. If it hasn't the script, the first call says so.
    pub(in crate::store::redis) const UNASKED: Self = Self { way: Way::Script, loaded: true };

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
                Some(Ok(_)) => return Ok(Self { way, loaded: true }),
                Some(Err(error)) if is_missing(&error) => return Ok(Self { way, loaded: false }),
                Some(Err(error)) if has_code(&error, &NOT_READY) => return Err(error),
                // It would be carried out at another time. What is missing then is loaded then.
                Some(Err(error)) if has_code(&error, &NOT_NOW) => return Ok(Self { way, loaded: true }),
                Some(Err(error)) if error.code().is_none() => return Err(error),
                _ => {}
            }
        }
        Ok(Self { way: Way::Text, loaded: true })
    }

    /// What is to be sent until all is there.
    pub(in crate::store::redis) fn load(self) -> Option<Cmd> {
        if self.loaded { None } else { LIBRARY.load(self.way) }
    }

    /// The reply to [`Self::load`]: where it is refused, the next way is tried. (`FUNCTION LOAD` is, when memory is
    /// full; `SCRIPT LOAD` isn't.)
    pub(in crate::store::redis) fn answered(&mut self, reply: RedisResult<Value>) -> RedisResult<()> {
        match reply {
            Ok(_) => self.loaded = true,
            // Another client was quicker.
            Err(error) if error.detail().is_some_and(|detail| detail.contains("already exists")) => {
                self.loaded = true;
            }
            Err(error) if error.code().is_none() || has_code(&error, &NOT_READY) => return Err(error),
            Err(_) => self.step_down(),
        }
        Ok(())
    }

    /// A call was refused: whether for the way in which it was asked, so that it can be asked again in another.
    pub(in crate::store::redis) fn is_told_by(&mut self, error: &RedisError) -> bool {
        let forbidden = error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
            && error.detail().is_some_and(|detail| detail.contains(self.way.command()));
        if forbidden && self.way == Way::Text {
            // Nothing is allowed. Once something is again, it shall be the best way.
            *self = Self { way: Way::Function, loaded: true };
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
        Self { way, loaded: self.way == other.way && self.loaded && other.loaded }
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
