//! The Lua scripts, joined from their pieces when the program is built, and the commands that call them.
//!
//! Sends nothing and reads no reply; `arguments` is what a command says.

mod arguments;

use std::fmt::Write as _;
use std::sync::LazyLock;

use redis::Cmd;

use self::arguments::lay_out;
use crate::lease::{Epoch, SessionId};
use crate::protocol::{Call, Caller, Verb};

macro_rules! piece {
    ($($name:literal),+) => {
        concat!(include_str!(concat!("../../../lua/", $($name,)+ ".lua")), "\n")
    };
}

macro_rules! script {
    ($verb:literal $(, $before:literal $(, $after:literal)?)?) => {
        Script {
            before_tell: concat!(
                piece!("shared/call"),
                piece!("wants/", $verb),
                piece!("shared/group"),
                $(piece!($before),)?
            ),
            after_tell: concat!(
                $($(piece!($after),)?)?
                piece!("shared/groundwork"),
                piece!("shared/storey"),
                piece!("shared/records"),
                piece!("shared/write"),
                piece!("shared/slots"),
                piece!("shared/crowd"),
                piece!("shared/line"),
                piece!("shared/mend"),
                piece!("shared/reap"),
                piece!("shared/hand_off"),
                piece!("shared/crowd_end"),
                piece!("shared/close"),
                piece!($verb),
                piece!("shared/storey_end")
            ),
        }
    };
}

/// What is carried out for a group, before and after the place where a lone call makes its first function.
struct Script {
    before_tell: &'static str,
    after_tell: &'static str,
}

const SCRIPTS: [Script; 7] = [
    script!("acquire", "at_once/acquire", "at_once/no_room"),
    script!("release", "at_once/release", "at_once/pass_on"),
    script!("renew", "at_once/renew"),
    script!("leave"),
    script!("reconcile"),
    script!("inspect"),
    script!("clean"),
];

/// So many of the verbs, from the first, can be asked of several groups together.
const TOGETHER: usize = 3;

/// The texts of all scripts and their hashes: a lone call of each verb, then those of several groups.
static TEXTS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let (clock, tell) = (piece!("shared/clock"), piece!("shared/tell"));
    let alone = SCRIPTS.iter().map(|script| script.alone(clock, tell));
    let together = SCRIPTS[..TOGETHER].iter().map(|script| script.together(clock, tell));
    let hashed = |text: String| {
        let hash = redis::Script::new(&text).get_hash().to_owned();
        (text, hash)
    };
    alone.chain(together).map(hashed).collect()
});

impl Script {
    fn alone(&self, clock: &str, tell: &str) -> String {
        let (open, alone) = (piece!("shared/open"), piece!("shared/alone"));
        [clock, open, alone, self.before_tell, tell, self.after_tell].concat()
    }

    fn together(&self, clock: &str, tell: &str) -> String {
        let (open, begin, end) =
            (piece!("shared/open"), piece!("shared/together"), piece!("shared/together_end"));
        [clock, open, tell, begin, self.before_tell, self.after_tell, end].concat()
    }
}

/// How the groups of one server are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What all names begin with.
    pub prefix: String,
    /// Whether the server is a cluster, where the number of receivers of a publication isn't known (R18).
    pub cluster: bool,
}

/// The texts of all scripts, for `SCRIPT LOAD`.
pub fn texts() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|(text, _)| text.as_str())
}

/// The hashes that tell whether a server has all of them: a verb's script for several groups is made of its other one's
/// pieces, and loaded after it. (A server that wants a password hangs up on a command of more than ten words.)
pub fn telling_hashes() -> impl Iterator<Item = &'static str> {
    TEXTS[TOGETHER..].iter().map(|(_, hash)| hash.as_str())
}

/// Whether one command can carry out both for the same caller, if the server has the keys of all groups in one place.
pub fn go_together(one: &Verb, other: &Verb) -> bool {
    place_of(one) < TOGETHER && place_of(one) == place_of(other)
}

/// The command that carries out `calls`, which [`go_together`] if they are several; `fresh` becomes the epoch of each
/// group whose state it makes.
pub fn command(layout: &Layout, caller: &Caller, calls: &[Call], fresh: Epoch) -> Cmd {
    // Room for all that is usual, so that it's laid out in one piece of memory.
    let items: usize = calls.iter().map(|call| call.verb.items()).sum();
    let named: usize = calls.iter().map(|call| layout.prefix.len() + call.key.as_str().len()).sum();
    let many = calls.len();
    let mut cmd = Cmd::with_capacity(12 + 5 * many + 3 * items, 120 + 40 * many + 4 * named + 80 * items);
    cmd.arg("EVALSHA").arg(&TEXTS[script_of(calls)].1);
    lay_out(&mut cmd, layout, caller, calls, fresh);
    cmd
}

/// As [`command`], with the time and the receivers of publications given instead of asked for; sessions that aren't
/// named receive. For tests that replay a history.
#[doc(hidden)]
pub fn rehearsal(
    layout: &Layout,
    caller: &Caller,
    calls: &[Call],
    fresh: Epoch,
    now_us: u64,
    receivers: &[(SessionId, Option<u64>)],
) -> Cmd {
    const CLOCK: &str = "local now_us = tonumber(ARGV[#ARGV - 1])\nlocal now = math.floor(now_us / 1000)\n";
    const TELL: &str = "local function tell(session, payload)
        redis.pcall('PUBLISH', ARGV[6] .. session, payload)
        local heard = string.match(ARGV[#ARGV], session .. ':(%w+)') or 1
        return tonumber(heard)
    end\n";
    let script = &SCRIPTS[place_of(&calls[0].verb)];
    let text = if calls.len() == 1 { script.alone(CLOCK, TELL) } else { script.together(CLOCK, TELL) };
    let mut cmd = Cmd::new();
    cmd.arg("EVAL").arg(text);
    lay_out(&mut cmd, layout, caller, calls, fresh);
    let mut known = String::new();
    for (session, heard) in receivers {
        let heard = heard.map_or_else(|| "refused".to_owned(), |number| number.to_string());
        let _ = write!(known, "{session}:{heard} ");
    }
    cmd.arg(now_us).arg(known);
    cmd
}

fn script_of(calls: &[Call]) -> usize {
    place_of(&calls[0].verb) + if calls.len() == 1 { 0 } else { SCRIPTS.len() }
}

fn place_of(verb: &Verb) -> usize {
    match verb {
        Verb::Acquire(_) => 0,
        Verb::Release(_) => 1,
        Verb::Renew(_) => 2,
        Verb::Leave(_) => 3,
        Verb::Reconcile { .. } => 4,
        Verb::Inspect(_) => 5,
        Verb::Clean => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_holds_each_piece_once() {
        for text in texts() {
            assert_eq!(text.matches("redis.call('TIME')").count(), 1);
            assert_eq!(text.matches("'PUBLISH'").count(), 1);
        }
    }
}
