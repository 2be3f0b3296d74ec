//! The library with the time and the receivers of publications given instead of asked for: for tests that replay a
//! history.

use std::fmt::Write as _;
use std::sync::LazyLock;

use redis::Cmd;

use super::arguments::{Layout, lay_out};
use super::text::Library;
use super::way::Way;
use crate::lease::{Epoch, SessionId};
use crate::protocol::{Call, Caller};

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    const CLOCK: &str = "local function clock(args) return tonumber(args[#args - 1]) end\n";
    const TELL: &str = "local function tell(channel, session, payload)
        redis.pcall('PUBLISH', channel .. session, payload)
        return tonumber(match(ARGS[#ARGS], session .. ':(%w+)') or 1)
    end\n";
    Library::new(CLOCK, TELL)
});

/// As [`super::load`].
#[doc(hidden)]
pub fn load(way: Way) -> Option<Cmd> {
    LIBRARY.load(way)
}

/// As [`super::command`], at this time; sessions that aren't among the receivers receive.
#[doc(hidden)]
pub fn command(
    layout: &Layout,
    caller: &Caller,
    calls: &[Call],
    fresh: Epoch,
    way: Way,
    now_us: u64,
    receivers: &[(SessionId, Option<u64>)],
) -> Cmd {
    let mut cmd = Cmd::new();
    LIBRARY.run(&mut cmd, way, calls);
    lay_out(&mut cmd, layout, caller, calls, fresh);
    let mut known = String::new();
    for (session, heard) in receivers {
        let heard = heard.map_or_else(|| "refused".to_owned(), |number| number.to_string());
        let _ = write!(known, "{session}:{heard} ");
    }
    cmd.arg(now_us).arg(known);
    cmd
}
