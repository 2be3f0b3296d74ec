//! A process's connection: one strand, or one to each part of a cluster that groups are divided over.
//!
//! A lost strand of several is a cut, the last one takes the whole with it; another is knocked for at once, and what is
//! asked meanwhile waits behind the knock. Not here: a part that restarts by itself, whose settling is the cluster
//! link's own (`store/redis/cluster`).

use concurrency_limit::lease::Key;

use crate::faults::Fault;
use crate::network::{LinkId, Message, Way};
use crate::world::World;

/// The parts of a cluster.
const PARTS: usize = 2;

/// Where a group lives: the first part has one, the second the others.
fn part_of(key: &Key) -> usize {
    usize::from(key.as_str() != "plain")
}

#[derive(Debug, Default)]
pub(crate) struct Link {
    /// One for each part.
    strands: Vec<Strand>,
}

#[derive(Debug, Clone, Copy)]
struct Strand {
    id: LinkId,
    /// It's known to stand.
    stands: bool,
}

impl Link {
    /// It stands, or is being opened.
    pub(crate) fn is_there(&self) -> bool {
        !self.strands.is_empty()
    }

    pub(crate) fn has(&self, link: LinkId) -> bool {
        self.strands.iter().any(|strand| strand.id == link)
    }

    pub(crate) fn stands(&self) -> bool {
        self.strands.iter().any(|strand| strand.stands)
    }

    pub(crate) fn first(&self) -> Option<LinkId> {
        self.strands.first().map(|strand| strand.id)
    }

    /// The strand that calls to this group take.
    pub(crate) fn strand_to(&self, key: &Key) -> Option<LinkId> {
        let part = if self.strands.len() > 1 { part_of(key) } else { 0 };
        self.strands.get(part).map(|strand| strand.id)
    }

    /// A strand stands; whether it's the first, so that the whole counts as connected.
    pub(crate) fn welcome(&mut self, link: LinkId) -> bool {
        let first = !self.stands();
        self.strands.iter_mut().filter(|strand| strand.id == link).for_each(|strand| strand.stands = true);
        first
    }
}

impl World {
    /// Groups are divided over several parts, and nobody knows how many heard a publication.
    pub(crate) fn is_cluster(&self) -> bool {
        self.faults.has(Fault::PartCuts)
    }

    /// The part that has the group.
    pub(crate) fn part(&self, key: &Key) -> usize {
        if self.is_cluster() { part_of(key) } else { 0 }
    }

    pub(crate) fn connect(&mut self, process: usize) {
        let parts = if self.is_cluster() { PARTS } else { 1 };
        self.processes[process].link.strands = (0..parts).map(|part| self.knock(process, part)).collect();
    }

    fn knock(&mut self, process: usize, part: usize) -> Strand {
        let link = self.next_link;
        self.next_link += 1;
        self.owner.insert(link, process);
        let at = self.now + self.dice.ms(0, 3);
        self.network.post_in_order(link, Way::ToServer, at, Message::Knock { link, part });
        Strand { id: link, stands: false }
    }

    /// The connection is no more, whoever saw it first: `gone` needs no farewell.
    pub(crate) fn hang_up(&mut self, process: usize, gone: Option<LinkId>) {
        for strand in std::mem::take(&mut self.processes[process].link).strands {
            if Some(strand.id) != gone {
                self.say_farewell(strand.id);
            }
        }
    }

    fn say_farewell(&mut self, link: LinkId) {
        let at = self.now + self.dice.ms(0, 30);
        self.network.post_in_order(link, Way::ToServer, at, Message::Hangup { link });
    }

    /// Its connection breaks: what it sent may still be carried out, what comes is lost.
    pub(crate) fn cut(&mut self, process: usize) {
        let strands = self.processes[process].link.strands.clone();
        for Strand { id: link, .. } in strands {
            if self.server.serves(link) {
                let (down, hangup) = (self.now + self.dice.ms(0, 5), self.now + self.dice.ms(0, 30));
                self.network.post_in_order(link, Way::ToProcess, down, Message::Down { link });
                self.network.post_in_order(link, Way::ToServer, hangup, Message::Hangup { link });
            }
        }
    }

    /// A strand breaks. What is sent until the process finds out is lost, or carried out so late that the next strand
    /// may have been reconciled; what comes is lost.
    pub(crate) fn cut_part(&mut self, process: usize) {
        let strands = &self.processes[process].link.strands;
        let link = strands.get(self.dice.below(PARTS as u64) as usize).map(|strand| strand.id);
        let Some(link) = link.filter(|link| self.server.serves(*link)) else { return };
        // Found out before a server that stops could be back: all strands to it are known to be lost by then.
        let found = self.now + self.dice.ms(10, 45);
        self.network.post_in_order(link, Way::ToProcess, found, Message::Cut { link });
        if self.dice.one_in(3) {
            self.say_farewell(link);
        } else {
            let late = self.now + self.dice.ms(0, 400);
            self.network.hold(link, Way::ToServer, late);
        }
    }

    /// The process finds a strand dead: another one takes its place, if the whole still stands without it.
    pub(crate) fn replace_strand(&mut self, process: usize, link: LinkId) {
        let strands = &self.processes[process].link.strands;
        let part = strands.iter().position(|strand| strand.id == link).expect("it's one of them");
        let whole = strands.iter().any(|strand| strand.stands && strand.id != link);
        if !whole {
            self.hang_up(process, None);
            return self.processes[process].session().handle_down(self.now, "the last strand is cut".into());
        }
        self.say_farewell(link);
        self.processes[process].link.strands[part] = self.knock(process, part);
        let concerns = |key: &Key| part_of(key) == part;
        self.processes[process].session().handle_cut(self.now, concerns, "a part is cut".into());
    }
}
