//! The Lua scripts, joined from their pieces when the program is built, and calls laid out as their arguments.
//!
//! Sends nothing and reads no reply. The layout of arguments is that of `docs/protocol.md`; a field of the wire that
//! may hold any byte (names, labels) is length-prefixed.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use redis::{Cmd, RedisWrite as _};

use super::keys::{GroupKeys, channel_prefix};
use crate::lease::{Epoch, SessionId, Slot};
use crate::protocol::{Ask, Call, Caller, Keep, Renew, Settle, Target, Terms, Verb};

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
        Verb::Reconcile(_) => 4,
        Verb::Inspect(_) => 5,
        Verb::Clean => 6,
    }
}

fn lay_out(cmd: &mut Cmd, layout: &Layout, caller: &Caller, calls: &[Call], fresh: Epoch) {
    let flags = u8::from(caller.listens) + 2 * u8::from(caller.settling) + 4 * u8::from(layout.cluster);
    cmd.arg(4 * calls.len());
    for call in calls {
        cmd.arg(&GroupKeys::new(&layout.prefix, &call.key).all()[..]);
    }
    cmd.write_arg_fmt(caller.session);
    cmd.arg(caller.connection).arg(flags).arg(caller.keep_alive_ms);
    cmd.write_arg_fmt(fresh);
    cmd.arg(channel_prefix(&layout.prefix));
    for call in calls {
        if calls.len() > 1 {
            cmd.arg(arguments(&call.verb));
        }
        ask(cmd, &call.verb);
    }
}

/// How many arguments [`ask`] writes for a verb that may be asked of several groups.
fn arguments(verb: &Verb) -> usize {
    match verb {
        Verb::Acquire(asks) => 1 + asks.len() + 2 * runs_of(asks).count(),
        Verb::Release(targets) => 1 + targets.len(),
        Verb::Renew(renew) => 2 + 3 * renew.leases.len() + renew.waiters.len(),
        _ => 0,
    }
}

fn ask(cmd: &mut Cmd, verb: &Verb) {
    match verb {
        Verb::Acquire(asks) => acquire(cmd, asks),
        Verb::Release(targets) => release(cmd, targets),
        Verb::Renew(renewal) => renew(cmd, renewal),
        Verb::Leave(ids) => {
            cmd.arg(ids.len());
            ids.iter().for_each(|id| cmd.write_arg_fmt(id));
        }
        Verb::Reconcile(items) => {
            cmd.arg(items.len());
            items.iter().for_each(|item| settle(cmd, item));
        }
        Verb::Inspect(page) => {
            cmd.arg(page.after_slot).arg(page.waiters_shown);
        }
        Verb::Clean => {}
    }
}

fn acquire(cmd: &mut Cmd, asks: &[Ask]) {
    cmd.arg(asks.len());
    asks.iter().for_each(|ask| cmd.write_arg_fmt(ask.id));
    for run in runs_of(asks) {
        let many = run.len() as i64;
        cmd.arg(if run[0].wait { many } else { -many }).arg(terms_text(&run[0].terms));
    }
}

/// Requests one after the other on the same terms, as those of one call mostly are.
fn runs_of(asks: &[Ask]) -> impl Iterator<Item = &[Ask]> {
    asks.chunk_by(|one, next| one.terms == next.terms && one.wait == next.wait)
}

fn release(cmd: &mut Cmd, targets: &[Target]) {
    cmd.arg(targets.len());
    for target in targets {
        match target {
            Target::Lease(id) => cmd.write_arg_fmt(format_args!("i{id}")),
            Target::Holder(name) => cmd.write_arg_fmt(format_args!("n{name}")),
        }
    }
}

fn renew(cmd: &mut Cmd, renewal: &Renew) {
    cmd.arg(renewal.leases.len());
    for lease in &renewal.leases {
        cmd.write_arg_fmt(lease.id);
        cmd.arg(lease.lease_ms);
        match &lease.holder {
            Some(name) => cmd.write_arg_fmt(format_args!("n{name}")),
            None => cmd.write_arg(b""),
        }
    }
    cmd.arg(renewal.waiters.len());
    renewal.waiters.iter().for_each(|id| cmd.write_arg_fmt(id));
}

fn settle(cmd: &mut Cmd, item: &Settle) {
    match item {
        Settle::Keep(keep) => {
            let Keep { id, terms, epoch, token, slots, end_at_ms } = keep;
            cmd.arg("keep").arg(id.to_string()).arg(terms_text(terms)).arg(epoch.to_string());
            cmd.arg(token.0).arg(runs(slots)).arg(*end_at_ms);
        }
        Settle::Want { id, terms, ticket } => {
            let ticket = ticket.map(|ticket| ticket.0.to_string()).unwrap_or_default();
            cmd.arg("want").arg(id.to_string()).arg(terms_text(terms)).arg(ticket);
        }
        Settle::Drop(id) => {
            cmd.arg("drop").arg(id.to_string());
        }
    }
}

fn terms_text(terms: &Terms) -> Vec<u8> {
    let Terms { limit, weight, priority, lease_ms, claim_ms, .. } = terms;
    let max = terms.max_waiting.map_or_else(|| "-1".to_owned(), |max| max.to_string());
    let length =
        |text: &Option<Arc<str>>| text.as_ref().map_or_else(|| "-1".to_owned(), |t| t.len().to_string());
    let (holder, label) = (length(&terms.holder), length(&terms.label));
    let mut text =
        format!("{limit} {weight} {priority} {lease_ms} {claim_ms} {max} {holder} {label} ").into_bytes();
    for any in [&terms.holder, &terms.label].into_iter().flatten() {
        text.extend_from_slice(any.as_bytes());
    }
    text
}

/// Ascending slots as runs: `1-3,7`.
fn runs(slots: &[Slot]) -> String {
    let mut text = String::new();
    for run in slots.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = match run {
            [one] => write!(text, "{comma}{one}"),
            [first, .., last] => write!(text, "{comma}{first}-{last}"),
            [] => Ok(()),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_written_as_runs() {
        assert_eq!(runs(&[1, 2, 3, 7, 9, 10, u32::MAX]), "1-3,7,9-10,4294967295");
        assert_eq!(runs(&[]), "");
    }

    #[test]
    fn a_script_holds_each_piece_once() {
        for text in texts() {
            assert_eq!(text.matches("redis.call('TIME')").count(), 1);
            assert_eq!(text.matches("'PUBLISH'").count(), 1);
        }
    }
}
