//! What a process's fallback has for a store: groups of its own, asked and answered at once.

use std::collections::HashMap;
use std::time::Duration;

use concurrency_limit::fallback::Side;
use concurrency_limit::group::{Group, Receivers};
use concurrency_limit::lease::{Epoch, Key};
use concurrency_limit::protocol::{News, Outgoing};
use concurrency_limit::session::Output;

use crate::trace;
use crate::world::World;

#[derive(Debug, Default)]
pub(crate) struct LocalStore {
    pub(crate) groups: HashMap<Key, Group>,
}

impl World {
    /// The fallback's session asks its store.
    pub(crate) fn serve_locally(&mut self, process: usize, output: Output) {
        let (now, now_us) = (self.now, self.server_us());
        let fresh = Epoch(self.dice.any());
        let it = &mut self.processes[process];
        match output {
            Output::Connect => {
                it.sessions.side(Side::Local).handle_connected(now, true, Some(Duration::MAX));
            }
            Output::Send(Outgoing::Call { id, caller, call }) => {
                let group = it.local.groups.entry(call.key.clone()).or_default();
                // It has no other session to tell.
                let nobody = &mut |_, _, _: News| Receivers::Nobody;
                let result = group.call(now_us, fresh, &caller, &call.verb, nobody);
                if self.traced {
                    let asked =
                        format!("asks its fallback {id}: {}, {}", trace::call(&call), trace::reply(&result));
                    crate::world::say(now, &format!("process {process}"), &asked);
                }
                it.sessions.side(Side::Local).handle_reply(now, id, result);
            }
            output => unreachable!("an embedded store isn't asked this: {output:?}"),
        }
    }

    /// Nothing is left in any fallback's store.
    pub(crate) fn local_stores_are_empty(&self) {
        let now_us = self.server_us();
        for process in self.processes.iter().filter(|process| process.alive) {
            for (key, group) in &process.local.groups {
                let snapshot = group.snapshot(now_us);
                let live = snapshot.leases.iter().filter(|lease| lease.end_at_ms > now_us / 1_000).count();
                let all_gone = live == 0 && snapshot.waiters.is_empty();
                assert!(all_gone, "something is left of {key:?} in a fallback: {snapshot:#?}");
            }
        }
    }
}
