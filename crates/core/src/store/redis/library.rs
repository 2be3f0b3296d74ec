//! The Lua library, joined from its pieces when the program is built: its text, the ways in which a server runs it, and
//! the command that carries out calls.
//!
//! Sends nothing and reads no reply but whether the library is there; `arguments` is what a command says.

mod arguments;
pub mod rehearsal;
mod way;

use std::sync::LazyLock;

use redis::Cmd;

use self::arguments::lay_out;
pub(super) use self::way::Found;
pub use self::way::Way;
use crate::lease::Epoch;
use crate::protocol::{Call, Caller, Verb};

macro_rules! pieces {
    ($($name:literal),+) => {
        concat!($(include_str!(concat!("../../../lua/", $name, ".lua")), "\n"),+)
    };
}

/// What the library is called, before the hash of its text.
const NAME: &str = "concurrency_limit_";

/// What stands for the name in the text, which can't hold its own hash.
const NAME_IN_TEXT: &str = "$NAME";

/// What each server has.
static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::new(pieces!("clock"), pieces!("tell")));

/// One text, run as a library of functions or as a script.
struct Library {
    name: String,
    /// The text with its name; a script as it is.
    text: String,
    /// The hash of that script.
    hash: String,
}

impl Library {
    /// Joins the pieces. Tests bring a clock and receivers of their own.
    fn new(clock: &str, tell: &str) -> Self {
        // All but the head stands in a function of its own: what the head has is there for each piece then, without
        // being handed to it from as deep as that, which is a good part of what a script costs.
        let text = [
            pieces!("head"),
            "return piece(function()\n",
            pieces!("layouts"),
            clock,
            pieces!("caller"),
            tell,
            pieces!(
                "group",
                "changes",
                "records",
                "gaps",
                "mend",
                "leases",
                "line",
                "reap",
                "hand_off",
                "reply",
                "note",
                "introduce"
            ),
            pieces!("acquire", "join", "release", "renew", "leave", "reconcile", "inspect", "clean", "entry"),
            "end)\n",
        ]
        .concat();
        let name = format!("{NAME}{}", &redis::Script::new(&text).get_hash()[..16]);
        let text = text.replace(NAME_IN_TEXT, &name);
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { name, text, hash }
    }

    /// The command that makes it known to a server which runs it in this way, if one is needed.
    fn load(&self, way: Way) -> Option<Cmd> {
        let mut cmd = Cmd::new();
        match way {
            Way::Function => {
                cmd.arg("FUNCTION").arg("LOAD").arg(format!("#!lua name={}\n{}", self.name, self.text))
            }
            Way::Script => cmd.arg("SCRIPT").arg("LOAD").arg(&self.text),
            Way::Text => return None,
        };
        Some(cmd)
    }

    fn run(&self, cmd: &mut Cmd, way: Way, calls: &[Call]) {
        match way {
            Way::Function => cmd.arg("FCALL").arg(format_args!("{}{}", self.name, flags(calls)).to_string()),
            Way::Script => cmd.arg("EVALSHA").arg(&self.hash),
            Way::Text => cmd.arg("EVAL").arg(&self.text),
        };
    }
}

/// Which of the library's functions: what asks for something new is refused as a whole when memory is full, what must
/// go on isn't (R25), and what only reads may run where nothing may be written.
fn flags(calls: &[Call]) -> &'static str {
    if calls.iter().any(|call| call.verb.asks_for_more()) {
        ""
    } else if calls.iter().all(|call| matches!(call.verb, Verb::Inspect(_))) {
        "_no_writes"
    } else {
        "_allow_oom"
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

/// The library's name.
pub fn name() -> &'static str {
    &LIBRARY.name
}

/// The command that makes the library known to a server which runs it in this way, if one is needed.
pub fn load(way: Way) -> Option<Cmd> {
    LIBRARY.load(way)
}

/// The command that carries out `calls`, those of one group one after the other; `fresh` becomes the epoch of each
/// group whose state it makes.
pub fn command(layout: &Layout, caller: &Caller, calls: &[Call], fresh: Epoch, way: Way) -> Cmd {
    // Room for all that is usual, so that it's laid out in one piece of memory.
    let items: usize = calls.iter().map(|call| call.verb.items()).sum();
    let named: usize = calls.iter().map(|call| layout.prefix.len() + call.key.as_str().len()).sum();
    let many = calls.len();
    let mut cmd = Cmd::with_capacity(12 + 8 * many + 3 * items, 130 + 60 * many + 4 * named + 80 * items);
    LIBRARY.run(&mut cmd, way, calls);
    lay_out(&mut cmd, layout, caller, calls, fresh);
    cmd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_and_a_publication_made_in_one_place() {
        for command in ["call('TIME')", "'PUBLISH'"] {
            assert_eq!(LIBRARY.text.matches(command).count(), 1, "{command}");
        }
    }

    #[test]
    fn its_name_is_in_the_names_of_its_functions_and_tells_its_text() {
        assert_eq!(LIBRARY.text.matches(&LIBRARY.name).count(), 3);
        assert!(!LIBRARY.text.contains(NAME_IN_TEXT));
        let changed = Library::new("-- another clock\n", "");
        assert_ne!(changed.name, LIBRARY.name);
    }
}
