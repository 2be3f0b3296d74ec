//! The Lua library: its text (`text`), the ways in which a server runs it (`way`), what a server was found to allow
//! (`found`), and the command that carries out calls (`arguments` is what it says).
//!
//! Sends nothing and reads no reply but whether the library is there.

mod arguments;
mod found;
pub mod rehearsal;
mod text;
mod way;

use redis::Cmd;

pub use self::arguments::Layout;
use self::arguments::lay_out;
pub(super) use self::found::Found;
use self::text::LIBRARY;
pub use self::way::Way;
use crate::lease::Epoch;
use crate::protocol::{Call, Caller};

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
