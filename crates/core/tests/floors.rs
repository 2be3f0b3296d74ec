//! Holds the floors of the core: a module imports only from floors below its own, never up and never from beside.
//!
//! It reads the sources as text (`crate::…` and `super::…` paths, unit tests left out), so it needs no compiler and
//! names the offending file. It doesn't judge what other crates a module uses. The table below is the one place
//! where the floors are written down for the machine; `ARCHITECTURE.md` tells people why. Inside `config` and `store`,
//! which list no files, none may import another in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first. A file that isn't listed belongs to the nearest module above it in the tree,
/// and what is inside a module may be arranged as that module likes: inside `session`, all files are listed.
const FLOORS: &[&[&str]] = &[
    &["lease", "moment", "transport", "sync"],
    &["error"],
    &["config"],
    &["protocol"],
    &["session/ids", "session/input", "session/histogram", "session/jitter"],
    &["session/output", "session/timers", "session/calls", "session/connection"],
    &["session/registry", "session/clients"],
    &["session/context"],
    &["session/group_state/members/held"],
    &["session/group_state/members/acquisition"],
    &[
        "session/group_state/members",
        "session/group_state/flow",
        "session/group_state/poll",
        "session/group_state/introduced",
    ],
    &["session/group_state/sole"],
    &["session/group_state/state"],
    &["session/group_state/requests"],
    &["session/group_state/leases"],
    &["session/group_state/slots"],
    &["session/group_state/passing"],
    &["session/group_state/send"],
    &["session/group_state/failure"],
    &["session/group_state/outcomes"],
    &["session/group_state/answer"],
    &["session/group_state/upkeep", "session/group_state/recover"],
    &["session/group_state"],
    &["session/groups", "session/queries"],
    &["session/state"],
    &["session/link"],
    &["session/requests", "session/replies"],
    &["group", "session"],
    &["fallback"],
    &["store"],
    &["store/memory", "store/redis"],
    &["driver"],
    &["limiter/completions"],
    &["limiter"],
];

/// The longest listed module that `path` names, with its floor.
fn listed(path: &[String]) -> Option<(usize, String)> {
    (1..=path.len()).rev().find_map(|length| {
        let name = path[..length].join("/");
        let floor = FLOORS.iter().position(|row| row.contains(&name.as_str()))?;
        Some((floor, name))
    })
}

/// The source without comments and without its unit tests, which may look wherever they like.
fn code(source: &str) -> String {
    // Tests in files of their own are passed over below; those at the end of a file end what counts of it.
    let source = source.replace("#[cfg(test)]\nmod tests;\n", "");
    let shipped = source.split("\n#[cfg(test)]").next().unwrap_or_default();
    let lines = shipped.lines().map(|line| line.split("//").next().unwrap_or_default());
    // `pub(in crate::…)` says who may see a thing, and imports nothing.
    lines.map(|line| line.replace("pub(in crate::", "pub(in ")).collect::<Vec<_>>().join("\n")
}

/// Where the names after `crate::` or `super::` lead; braces are opened.
fn follow(rest: &str, base: &[String], found: &mut Vec<Vec<String>>) {
    let rest = rest.trim_start();
    if let Some(list) = rest.strip_prefix('{') {
        let (mut depth, mut start) = (0, 0);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' | ',' if depth == 0 => {
                    if !list[start..at].trim().is_empty() {
                        follow(&list[start..at], base, found);
                    }
                    if letter == '}' {
                        return;
                    }
                    start = at + 1;
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    let mut path = base.to_vec();
    match &rest[..end] {
        "super" => drop(path.pop()),
        "" | "self" => {}
        name => path.push(name.to_owned()),
    }
    match rest[end..].strip_prefix("::") {
        Some(more) => follow(more, &path, found),
        None => found.push(path),
    }
}

/// Every path inside this crate that the source of `module` names.
fn imports(module: &[String], source: &str) -> Vec<Vec<String>> {
    let code = code(source);
    let mut found = Vec::new();
    for (word, base) in [("crate::", &[][..]), ("super::", &module[..module.len() - 1])] {
        for (at, _) in code.match_indices(word) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if !before.is_alphanumeric() && before != '_' && before != ':' {
                follow(&code[at + word.len()..], base, &mut found);
            }
        }
    }
    found
}

/// What is wrong with the imports of one module, in words.
fn offences(module: &str, source: &str) -> Vec<String> {
    let path: Vec<String> = module.split('/').map(str::to_owned).collect();
    let Some((floor, own)) = listed(&path) else {
        return vec![format!("{module} stands on no floor")];
    };
    let judge = |target: Vec<String>| match listed(&target) {
        None => Some(format!("{module} imports crate::{}, which is on no floor", target.join("::"))),
        Some((_, other)) if other == own => None,
        Some((below, _)) if below < floor => None,
        Some((other_floor, other)) => {
            let place = if other_floor == floor { "beside" } else { "above" };
            Some(format!("{module} imports from {other}, which stands {place} it"))
        }
    };
    imports(&path, source).into_iter().filter_map(judge).collect()
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                rust_files(&path, files);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// All modules with their sources.
fn modules() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    assert!(files.len() > 5, "the sources were not found in {}", root.display());
    let name = |file: &Path| {
        file.strip_prefix(&root).unwrap().with_extension("").to_str().unwrap().replace('\\', "/")
    };
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

/// The modules that are left when those which import only from modules that are gone go, again and again: each is in a
/// circle, or imports from one.
fn in_circles(sources: &BTreeMap<String, String>) -> Vec<String> {
    let file = |target: Vec<String>| {
        let names = (1..=target.len()).rev().map(|length| target[..length].join("/"));
        names.into_iter().find(|name| sources.contains_key(name))
    };
    let targets = |(module, source): (&String, &String)| {
        let path: Vec<String> = module.split('/').map(str::to_owned).collect();
        let found = imports(&path, source).into_iter().filter_map(file).filter(|name| name != module);
        (module.clone(), found.collect::<BTreeSet<_>>())
    };
    let mut left: BTreeMap<_, _> = sources.iter().map(targets).collect();
    loop {
        let before = left.len();
        let names: BTreeSet<_> = left.keys().cloned().collect();
        left.retain(|_, targets| !targets.is_disjoint(&names));
        if left.len() == before {
            return left.into_keys().collect();
        }
    }
}

#[test]
fn every_module_imports_only_from_floors_below_its_own() {
    let modules = modules();
    let wrong: Vec<_> = modules
        .iter()
        .filter(|(module, _)| *module != "lib")
        .flat_map(|(module, source)| offences(module, source))
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn inside_a_module_files_import_in_no_circle() {
    for area in ["config", "session", "store"] {
        let mut inside = modules();
        inside.retain(|module, _| module.split('/').next() == Some(area));
        assert!(inside.len() > 5, "{area}");
        assert_eq!(in_circles(&inside), Vec::<String>::new(), "{area}");
    }
}

#[test]
fn a_circle_is_seen_however_long_it_is() {
    let sources = [
        ("store", ""),
        ("store/a", "use super::b::B;"),
        ("store/b", "use crate::store::c::{self, C};"),
        ("store/c", "use super::a::A;\nuse super::d;"),
        ("store/d", "use super::Store;"),
    ];
    let sources = sources.map(|(name, source)| (name.to_owned(), source.to_owned()));
    assert_eq!(in_circles(&sources.into()), ["store/a", "store/b", "store/c"]);
}

#[test]
fn imports_up_and_sideways_are_seen_however_they_are_written() {
    for (module, source) in [
        ("protocol", "use crate::group::Group;"),
        ("group", "use crate::{lease::Key, session::Session};"),
        ("group", "use crate::{\n    lease::{Key, Slot},\n    store,\n};"),
        ("session/batch", "fn f() { crate::driver::start() }"),
        ("store/redis/keys", "use crate::store::memory::MemoryStore;"),
        ("store/memory", "pub(crate) use super::redis::RedisStore;"),
        ("group", "use crate::Limiter;"),
        ("plan", "use std::fmt;"),
        ("session/timers", "use super::Session;"),
        ("session/group_state/leases", "use super::send::KEEP_ALIVE;"),
        ("session/context", "use super::calls::About;\nuse super::groups::Groups;"),
    ] {
        assert_eq!(offences(module, source).len(), 1, "{module}: {source}");
    }
}

#[test]
fn imports_from_below_from_inside_and_in_unit_tests_are_let_through() {
    for (module, source) in [
        ("group", "use crate::{lease::{Key, Slot}, protocol::Call};"),
        ("group/queue", "use super::Group; use crate::group::reap;"),
        ("store/memory", "use super::Store;\nuse crate::group::Group;"),
        ("store/redis/keys", "use super::reply::parse; use super::super::Store;"),
        ("limiter", "// crate::anything\nuse crate::store::redis::RedisStore; pub(crate) fn f() {}"),
        ("session/timers", "pub(in crate::session) struct Timer;"),
        ("session/group_state/send", "use super::state::GroupState; use crate::session::context::Context;"),
        ("group", "use crate::lease::Key;\n#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n}"),
    ] {
        assert_eq!(offences(module, source), Vec::<String>::new(), "{module}: {source}");
    }
}
