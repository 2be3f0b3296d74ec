//! The list of groups in a cluster: the pages of one master after the other, by address.
//!
//! A cursor is `0` before the first page and after the last, else the master's address, `/` and that master's own
//! cursor. A group that moves to another master meanwhile may be listed twice or not at all.

use super::member::Member;
use crate::config::Node;

/// Whether the cursor is before the first page.
pub(super) fn is_first(cursor: &str) -> bool {
    cursor == "0"
}

/// The master to ask for the page: the one that the cursor names, or the next one if that isn't a master any more;
/// `None` after the last.
pub(super) fn owner(cursor: &str, members: &[Member], is_master: impl Fn(usize) -> bool) -> Option<usize> {
    let from = cursor.rsplit_once('/').map_or("", |(at, _)| at);
    masters(members, is_master).into_iter().find(|(at, _)| at.as_str() >= from).map(|(_, member)| member)
}

/// The cursor that this member is given.
pub(super) fn of_member(cursor: &str, at: &Node) -> String {
    match cursor.rsplit_once('/') {
        Some((named, own)) if named == at.to_string() => own.to_owned(),
        _ => "0".to_owned(),
    }
}

/// The cursor that comes after this member said `cursor`.
pub(super) fn next(cursor: &str, of: usize, members: &[Member], is_master: impl Fn(usize) -> bool) -> String {
    let at = members[of].at.to_string();
    if cursor != "0" {
        return format!("{at}/{cursor}");
    }
    let next = masters(members, is_master).into_iter().find(|(other, _)| *other > at);
    next.map_or_else(|| "0".to_owned(), |(other, _)| format!("{other}/0"))
}

fn masters(members: &[Member], is_master: impl Fn(usize) -> bool) -> Vec<(String, usize)> {
    let numbered = members.iter().enumerate().filter(|(member, _)| is_master(*member));
    let mut masters: Vec<_> = numbered.map(|(member, one)| (one.at.to_string(), member)).collect();
    masters.sort();
    masters
}
