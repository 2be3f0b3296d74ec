//! Calls, laid out as the arguments of a command: the layout of `docs/protocol.md`.
//!
//! What may hold any byte (names, labels) is length-prefixed.

use std::fmt::Write as _;
use std::sync::Arc;

use redis::{Cmd, RedisWrite as _};

use crate::lease::{Epoch, Identity, Slot};
use crate::protocol::{Ask, Call, Caller, Join, Keep, ReconcileItem, Renew, Target, Terms, Verb};
use crate::store::redis::keys::{GroupKeys, channel_prefix};

/// How the groups of one server are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What all names begin with.
    pub prefix: String,
    /// Whether the server is a cluster, where the number of receivers of a publication isn't known (R18).
    pub cluster: bool,
}

/// Lays out `calls`; those of one group stand one after the other.
pub(super) fn lay_out(cmd: &mut Cmd, layout: &Layout, caller: &Caller, calls: &[Call], fresh: Epoch) {
    let flags = u8::from(caller.listens) + 2 * u8::from(caller.settling) + 4 * u8::from(layout.cluster);
    let groups = || calls.chunk_by(|one, next| one.key == next.key);
    cmd.arg(4 * groups().count());
    for group in groups() {
        cmd.arg(&GroupKeys::new(&layout.prefix, &group[0].key).all()[..]);
    }
    let Caller { session, connection, keep_alive_ms, .. } = caller;
    let channel = channel_prefix(&layout.prefix);
    cmd.write_arg_fmt(format_args!("{session} {connection} {flags} {keep_alive_ms} {channel}"));
    cmd.write_arg_fmt(fresh);
    for group in groups() {
        cmd.arg(group.len());
        group.iter().for_each(|call| ask(cmd, call));
    }
}

fn ask(cmd: &mut Cmd, call: &Call) {
    let name = match call.verb {
        Verb::Acquire(_) => "acquire",
        Verb::Release(_) => "release",
        Verb::Renew(_) => "renew",
        Verb::Leave(_) => "leave",
        Verb::Reconcile { .. } => "reconcile",
        Verb::Inspect(_) => "inspect",
        Verb::Clean => "clean",
        Verb::Note(_) => "note",
        Verb::Join(_) => "join",
    };
    match &call.introduction {
        None => cmd.arg(name),
        Some(said) => cmd.arg(format!("{name}+")).arg(said.keep_ms).arg(identity_text(&said.identity)),
    };
    match &call.verb {
        Verb::Acquire(asks) => acquire(cmd, asks),
        Verb::Release(targets) => release(cmd, targets),
        Verb::Renew(renewal) => renew(cmd, renewal),
        Verb::Leave(ids) => {
            cmd.arg(ids.len());
            ids.iter().for_each(|id| cmd.write_arg_fmt(id));
        }
        Verb::Reconcile { items, own_from } => {
            maybe(cmd, *own_from);
            cmd.arg(items.len());
            items.iter().for_each(|item| reconcile_item(cmd, item));
        }
        Verb::Inspect(page) => {
            cmd.arg(page.after_slot).arg(page.waiters_shown);
        }
        Verb::Clean => {}
        Verb::Note(ask) => {
            maybe(cmd.arg(ask.limit), ask.number.map(|number| number.0));
            cmd.arg(u8::from(ask.keeps));
        }
        Verb::Join(line) => join(cmd, line),
    }
}

fn acquire(cmd: &mut Cmd, asks: &[Ask]) {
    // Requests one after the other on the same terms, as those of one call mostly are.
    let runs = || asks.chunk_by(|one, next| one.terms == next.terms && one.wait == next.wait);
    cmd.arg(runs().count());
    for run in runs() {
        let many = run.len() as i64;
        cmd.arg(if run[0].wait { many } else { -many }).arg(terms_text(&run[0].terms));
        run.iter().for_each(|ask| cmd.write_arg_fmt(ask.id));
    }
}

fn join(cmd: &mut Cmd, join: &Join) {
    let runs = || join.items.chunk_by(|one, next| one.terms == next.terms);
    cmd.arg(join.number.0).arg(runs().count());
    for run in runs() {
        cmd.arg(run.len()).arg(terms_text(&run[0].terms));
        for ask in run {
            cmd.write_arg_fmt(ask.id);
            cmd.arg(ask.ticket.0);
        }
    }
}

fn release(cmd: &mut Cmd, targets: &[Target]) {
    cmd.arg(targets.len());
    for target in targets {
        match target {
            Target::Lease(id) => cmd.write_arg_fmt(format_args!("l{id}")),
            Target::Grant(id, token) => cmd.write_arg_fmt(format_args!("t{id} {}", token.0)),
            Target::Holder(name) => cmd.write_arg_fmt(format_args!("n{name}")),
        }
    }
}

fn renew(cmd: &mut Cmd, renewal: &Renew) {
    cmd.arg(renewal.leases.len());
    for lease in &renewal.leases {
        cmd.write_arg_fmt(lease.id);
        cmd.arg(lease.lease_ms);
        match (&lease.holder, &lease.passed) {
            (Some(name), _) => cmd.write_arg_fmt(format_args!("n{name}")),
            (None, Some(passed)) => {
                let label = name_and_label(&None, &passed.label);
                cmd.write_arg_fmt(format_args!("t{} {label}", passed.token.0));
            }
            (None, None) => cmd.write_arg(b""),
        }
    }
    cmd.arg(renewal.waiters.len());
    renewal.waiters.iter().for_each(|id| cmd.write_arg_fmt(id));
}

fn reconcile_item(cmd: &mut Cmd, item: &ReconcileItem) {
    match item {
        ReconcileItem::Keep(keep) => {
            let Keep { id, terms, epoch, token, current, slots, end_at_ms, extend_ms } = keep;
            cmd.arg("keep").arg(id.to_string()).arg(terms_text(terms)).arg(epoch.to_string());
            cmd.arg(token.0).arg(runs(slots)).arg(*end_at_ms);
            maybe(cmd, *extend_ms);
            cmd.arg(current.0);
        }
        ReconcileItem::Want { id, terms, ticket } => {
            cmd.arg("want").arg(id.to_string()).arg(terms_text(terms));
            maybe(cmd, ticket.map(|ticket| ticket.0));
        }
        ReconcileItem::Drop(id) => {
            cmd.arg("drop").arg(id.to_string());
        }
    }
}

/// A number, or nothing.
fn maybe(cmd: &mut Cmd, number: Option<u64>) {
    match number {
        Some(number) => cmd.arg(number),
        None => cmd.arg(""),
    };
}

fn terms_text(terms: &Terms) -> Vec<u8> {
    let Terms { limit, weight, priority, lease_ms, claim_ms, .. } = terms;
    let max = terms.max_waiting.map_or_else(|| "-1".to_owned(), |max| max.to_string());
    format!(
        "{limit} {weight} {priority} {lease_ms} {claim_ms} {max} {}",
        name_and_label(&terms.holder, &terms.label)
    )
    .into_bytes()
}

fn name_and_label(holder: &Option<Arc<str>>, label: &Option<Arc<str>>) -> String {
    two_texts(holder.as_ref(), label.as_ref())
}

fn identity_text(identity: &Identity) -> Vec<u8> {
    format!("{} {}", identity.pid(), two_texts(identity.host(), identity.program())).into_bytes()
}

/// Two texts of any bytes, as NAME-AND-LABEL.
fn two_texts(one: Option<&Arc<str>>, other: Option<&Arc<str>>) -> String {
    let length =
        |text: Option<&Arc<str>>| text.map_or_else(|| "-1".to_owned(), |text| text.len().to_string());
    let bytes = [one, other].map(|text| text.map_or("", |text| &**text)).concat();
    format!("{} {} {bytes}", length(one), length(other))
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
}
