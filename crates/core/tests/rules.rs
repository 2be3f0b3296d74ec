//! Holds that every rule which the code cites by its number (R12) is defined in `docs/protocol.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Where rules are cited.
const FOLDERS: [&str; 5] =
    ["crates/core/src", "crates/core/lua", "crates/core/tests", "crates/node/src", "lib"];

/// The numbers of the rules that a text names: `R` and digits, as a word.
fn cited(text: &str) -> BTreeSet<u32> {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.filter_map(|word| word.strip_prefix('R')?.parse().ok()).collect()
}

fn read_all(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else {
            text.push_str(&fs::read_to_string(&path).unwrap());
            text.push('\n');
        }
    }
}

#[test]
fn every_rule_that_is_cited_is_defined() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let protocol = fs::read_to_string(root.join("docs/protocol.md")).unwrap();
    let defined = |line: &str| line.strip_prefix("- **R")?.split_once("**")?.0.parse::<u32>().ok();
    let defined: BTreeSet<u32> = protocol.lines().filter_map(defined).collect();
    let mut text = String::new();
    FOLDERS.iter().for_each(|folder| read_all(&root.join(folder), &mut text));
    let cited = cited(&text);
    assert!(cited.len() > 20, "hardly any rule is cited: {cited:?}");
    let unknown: Vec<u32> = cited.difference(&defined).copied().collect();
    assert!(unknown.is_empty(), "cited, but not defined in docs/protocol.md: {unknown:?}");
}

#[test]
fn a_rule_is_cited_as_a_word() {
    assert_eq!(cited("(R12, R3) `R30`. RESP3, PR7 and R2D2 are none"), BTreeSet::from([3, 12, 30]));
}
