//! What calls cost Redis: which commands the library runs, and how long they take, by Redis's own count.

use std::collections::BTreeMap;

use super::server::Server;

/// Calls and microseconds of each command since the last reset.
pub(crate) fn stats(server: &mut Server) -> BTreeMap<String, (u64, u64)> {
    let text: String = server.ask(&["INFO", "commandstats"]);
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let mut fields = rest.split(',').filter_map(|field| field.split_once('='));
        let mut number = |name: &str| fields.find(|(field, _)| *field == name)?.1.parse::<u64>().ok();
        Some((name.to_owned(), (number("calls")?, number("usec")?)))
    };
    text.lines().filter_map(line).collect()
}

pub(crate) fn reset(server: &mut Server) {
    server.ask::<redis::Value>(&["CONFIG", "RESETSTAT"]);
}

/// The microseconds of all commands that ran the library.
pub(crate) fn of_library(stats: &BTreeMap<String, (u64, u64)>) -> u64 {
    LIBRARY.iter().filter_map(|name| stats.get(*name)).map(|(_, usec)| usec).sum()
}

const LIBRARY: [&str; 3] = ["fcall", "evalsha", "eval"];

/// The commands that the library ran, without those of the test itself.
pub(crate) fn commands(stats: &BTreeMap<String, (u64, u64)>) -> BTreeMap<&str, u64> {
    let own = ["info", "config", "config|resetstat"];
    stats
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()) && !LIBRARY.contains(&name.as_str()))
        .map(|(name, one)| (name.as_str(), one.0))
        .collect()
}
