//! What goes wrong, by name, and when it does.
//!
//! Faults strike at random moments until the world calms down; each plans its own next strike.

use std::time::Duration;

use crate::network::{Deed, Message, Turn};
use crate::world::World;

/// One kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Connections break; what was sent may still be carried out.
    Cuts,
    /// One of several parts of a connection breaks, as a cluster's does with one of its masters; the others go on.
    PartCuts,
    /// Pushes vanish.
    LostPushes,
    /// Pushes have a way of their own and come later than replies, as over a second connection.
    LatePushes,
    /// Pushes come twice.
    DoublePushes,
    /// Sessions that can't subscribe, or lose their subscription.
    Deafness,
    /// Processes end without a word; another one starts.
    Crashes,
    /// Processes stand still, and their clocks go on.
    Suspends,
    /// The server restarts empty.
    Restarts,
    /// The server stands still and keeps its state.
    Stalls,
    /// The server surely doesn't execute what it's asked for a while (LOADING).
    Refusals,
    /// The server has no memory left for a while.
    FullMemory,
    /// Grants are told only when replicas have them, and often they haven't.
    FewReplicas,
    /// Nobody reaches the server for a while, which keeps its state; processes have a fallback.
    Outages,
    /// A replica is promoted that lacks what was written last.
    Rollbacks,
}

impl Fault {
    pub(crate) const ALL: [Self; 15] = [
        Self::Cuts,
        Self::PartCuts,
        Self::LostPushes,
        Self::LatePushes,
        Self::DoublePushes,
        Self::Deafness,
        Self::Crashes,
        Self::Suspends,
        Self::Restarts,
        Self::Stalls,
        Self::Refusals,
        Self::FullMemory,
        Self::FewReplicas,
        Self::Outages,
        Self::Rollbacks,
    ];

    /// How it's called on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cuts => "cuts",
            Self::PartCuts => "part-cuts",
            Self::LostPushes => "lost-pushes",
            Self::LatePushes => "late-pushes",
            Self::DoublePushes => "double-pushes",
            Self::Deafness => "deafness",
            Self::Crashes => "crashes",
            Self::Suspends => "suspends",
            Self::Restarts => "restarts",
            Self::Stalls => "stalls",
            Self::Refusals => "refusals",
            Self::FullMemory => "full-memory",
            Self::FewReplicas => "few-replicas",
            Self::Outages => "outages",
            Self::Rollbacks => "rollbacks",
        }
    }
}

/// Those that strike in one world.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn of(faults: &[Fault]) -> Self {
        Self(faults.to_vec())
    }

    /// All but these.
    pub(crate) fn all_but(left_out: &[Fault]) -> Self {
        Self(Fault::ALL.into_iter().filter(|fault| !left_out.contains(fault)).collect())
    }

    /// Those that a comma-separated list names.
    pub(crate) fn named(list: &str) -> Self {
        let find = |name: &str| {
            let found = Fault::ALL.into_iter().find(|fault| fault.name() == name);
            found.unwrap_or_else(|| {
                panic!("no fault is called {name:?}; there are {:?}", Fault::ALL.map(Fault::name))
            })
        };
        Self(list.split(',').filter(|name| !name.is_empty()).map(find).collect())
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// Whether order among equals is promised: nothing but pushes that come twice.
    pub(crate) fn leave_order(&self) -> bool {
        self.0.iter().all(|fault| *fault == Fault::DoublePushes)
    }
}

impl World {
    fn strike(&mut self, fault: Fault, from: u64, to: u64, message: Message) {
        if self.faults.has(fault) && !self.calm {
            let at = self.now + self.dice.ms(from, to);
            self.network.post(at, message);
        }
    }

    pub(crate) fn plan_process_faults(&mut self, process: usize) {
        self.plan_cut(process);
        self.plan_part_cut(process);
        self.plan_suspend(process);
        self.plan_deafness(process);
        self.strike(Fault::Crashes, 2_000, 60_000, Message::Deed { process, deed: Deed::Crash });
    }

    pub(crate) fn plan_cut(&mut self, process: usize) {
        self.strike(Fault::Cuts, 300, 8_000, Message::Deed { process, deed: Deed::Cut });
    }

    pub(crate) fn plan_part_cut(&mut self, process: usize) {
        self.strike(Fault::PartCuts, 300, 5_000, Message::Deed { process, deed: Deed::CutPart });
    }

    pub(crate) fn plan_suspend(&mut self, process: usize) {
        let length = self.dice.ms(100, 12_000);
        self.strike(
            Fault::Suspends,
            1_000,
            20_000,
            Message::Deed { process, deed: Deed::Suspend { length } },
        );
    }

    pub(crate) fn plan_deafness(&mut self, process: usize) {
        self.strike(Fault::Deafness, 1_000, 15_000, Message::Deed { process, deed: Deed::Deafen });
    }

    pub(crate) fn plan_server_faults(&mut self) {
        self.plan_stop();
        self.plan_refusals();
        self.plan_full_memory();
        self.plan_outage();
        self.plan_rollback();
    }

    pub(crate) fn plan_stop(&mut self) {
        let both = self.faults.has(Fault::Restarts) && self.faults.has(Fault::Stalls);
        let empty = if both { self.dice.one_in(2) } else { self.faults.has(Fault::Restarts) };
        let fault = if empty { Fault::Restarts } else { Fault::Stalls };
        self.strike(fault, 5_000, 20_000, Message::Server(Turn::Stops { empty }));
    }

    pub(crate) fn plan_refusals(&mut self) {
        let length = self.dice.ms(50, 3_000);
        self.strike(Fault::Refusals, 2_000, 15_000, Message::Server(Turn::Refuses { length }));
    }

    pub(crate) fn plan_full_memory(&mut self) {
        let length = self.dice.ms(50, 5_000);
        self.strike(Fault::FullMemory, 2_000, 15_000, Message::Server(Turn::IsFull { length }));
    }

    pub(crate) fn plan_outage(&mut self) {
        let length = self.dice.ms(50, 8_000);
        self.strike(Fault::Outages, 2_000, 15_000, Message::Server(Turn::Hides { length }));
    }

    /// What is remembered is what will be left after the rollback.
    pub(crate) fn plan_rollback(&mut self) {
        let length = self.dice.ms(1, 2_000);
        self.strike(Fault::Rollbacks, 1_000, 8_000, Message::Server(Turn::IsCopied { length }));
    }

    /// How much later than its call's reply a push may come.
    pub(crate) fn push_delay(&mut self) -> Duration {
        let to = if self.faults.has(Fault::LatePushes) && !self.calm { 300 } else { 3 };
        self.dice.ms(0, to)
    }
}
