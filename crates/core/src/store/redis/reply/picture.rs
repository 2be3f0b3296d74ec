//! Reads the answer to inspect.

use std::collections::HashMap;
use std::sync::Arc;

use super::words::Words;
use crate::lease::{FencingToken, Identity, LeaseId, SessionId, Ticket};
use crate::protocol::{HolderView, Page, Picture, WaiterView};

pub(super) fn picture(words: &mut Words<'_>) -> Option<Picture> {
    let holders = words.counted(holder_view)?;
    let (limit, held, waiting) = (words.parse()?, words.parse()?, words.parse()?);
    let waiters = words.counted(waiter_view)?;
    let (after_slot, waiters_shown) = (words.maybe()?, words.parse()?);
    let next = match after_slot {
        Some(after_slot) => Some(Page { after_slot: u32::try_from(after_slot).ok()?, waiters_shown }),
        None => None,
    };
    let identities: HashMap<_, _> = words.counted(identity)?.into_iter().collect();
    let identity_of = |id: LeaseId| identities.get(&id.session).cloned();
    let holders = holders.into_iter().map(|it| HolderView { identity: identity_of(it.id), ..it }).collect();
    let waiters = waiters.into_iter().map(|it| WaiterView { identity: identity_of(it.id), ..it }).collect();
    Some(Picture { limit, held, waiting, holders, waiters, next, now_ms: 0 })
}

fn identity(words: &mut Words<'_>) -> Option<(SessionId, Arc<Identity>)> {
    let (session, pid) = (words.parse()?, words.parse()?);
    let (host, program) = words.name_and_label()?;
    Some((session, Arc::new(Identity::new(host.as_deref(), pid, program.as_deref()))))
}

fn holder_view(words: &mut Words<'_>) -> Option<HolderView> {
    let (id, token, ends_in_ms) = (words.parse()?, FencingToken(words.parse()?), words.parse()?);
    let slots = words.slots()?;
    let (holder, label) = words.name_and_label()?;
    Some(HolderView { id, slots, token, ends_in_ms, holder, label, identity: None })
}

fn waiter_view(words: &mut Words<'_>) -> Option<WaiterView> {
    let (id, ticket, limit) = (words.parse()?, Ticket(words.parse()?), words.parse()?);
    let (weight, priority) = (words.parse()?, words.parse()?);
    let (holder, label) = words.name_and_label()?;
    Some(WaiterView { id, ticket, limit, weight, priority, holder, label, identity: None })
}
