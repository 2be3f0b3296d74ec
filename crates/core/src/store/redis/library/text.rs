//! The text of the library, joined from its files when the program is built, and how it's loaded and called.

use std::sync::LazyLock;

use redis::Cmd;

use super::way::Way;
use crate::protocol::{Call, Verb};

macro_rules! pieces {
    ($($name:literal),+) => {
        concat!($(include_str!(concat!("../../../../lua/", $name, ".lua")), "\n"),+)
    };
}

/// The library's name, without the hash of its text.
const NAME: &str = "concurrency_limit_";

/// The placeholder for the name in the text, which can't have its own hash in it.
const NAME_IN_TEXT: &str = "$NAME";

/// What each server has.
pub(super) static LIBRARY: LazyLock<Library> =
    LazyLock::new(|| Library::new(pieces!("clock"), pieces!("tell")));

/// One text, run as a library of functions or as a script.
pub(super) struct Library {
    pub(super) name: String,
    /// The text with its name; a script as it is.
    text: String,
    /// The hash of that script.
    pub(super) hash: String,
}

impl Library {
    /// Joins the pieces. Tests bring a clock and receivers of their own.
    pub(super) fn new(clock: &str, tell: &str) -> Self {
        // All but head and command stand in a function of their own: what those two declare is there for each piece
        // then, without being looked for each time, which is a good part of what a script costs.
        let text = [
            pieces!("head", "command"),
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
    pub(super) fn load(&self, way: Way) -> Option<Cmd> {
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

    pub(super) fn run(&self, cmd: &mut Cmd, way: Way, calls: &[Call]) {
        match way {
            Way::Function => cmd.arg("FCALL").arg(format_args!("{}{}", self.name, flags(calls)).to_string()),
            Way::Script => cmd.arg("EVALSHA").arg(&self.hash),
            Way::Text => cmd.arg("EVAL").arg(&self.text),
        };
    }
}

/// The library's functions. With full memory Redis refuses the one for new requests, and runs the one for all else
/// (R25). The one that only reads may run on a replica.
fn flags(calls: &[Call]) -> &'static str {
    if calls.iter().any(|call| call.verb.asks_for_more()) {
        ""
    } else if calls.iter().all(|call| matches!(call.verb, Verb::Inspect(_))) {
        "_no_writes"
    } else {
        "_allow_oom"
    }
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
