//! What is sent as one command: a request, or several calls of one caller.
//!
//! Fewer commands cost the server less. The calls of one group keep their order; between groups the order doesn't
//! matter.

use crate::protocol::{Call, CallId, Caller, Outgoing};

/// The most groups of one command, so that it doesn't take Redis much longer than the calls of one group.
const MAX_GROUPS: usize = 16;

/// Which calls may go together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Together {
    /// Calls of several groups: one server has all keys.
    pub(super) groups: bool,
    /// What asks for something new with what must go on when memory is full (R25): a command that does the first is
    /// refused as a whole then.
    pub(super) needs: bool,
}

/// A command to be sent.
pub(super) enum Bundle {
    Calls(Calls),
    Keys { place: usize, id: CallId, pattern: String, cursor: String },
}

/// Calls of one caller, those of one group one after the other.
pub(super) struct Calls {
    pub(super) caller: Caller,
    /// `ASKING` is sent before it.
    pub(super) asking: bool,
    pub(super) calls: Vec<Call>,
    /// For each call its place among all that is sent together, and its id.
    pub(super) asked: Vec<(usize, CallId)>,
    groups: usize,
}

impl Bundle {
    /// Puts a request with the others, or after them.
    pub(super) fn put(
        bundles: &mut Vec<Self>,
        (place, request): (usize, Outgoing),
        asking: bool,
        together: Together,
    ) {
        match request {
            Outgoing::Call { id, caller, call } => {
                let fitting = if asking { None } else { Self::fitting(bundles, &caller, &call, together) };
                match fitting {
                    Some(calls) => calls.put(call, (place, id)),
                    None => bundles.push(Self::Calls(Calls {
                        caller,
                        asking,
                        calls: vec![call],
                        asked: vec![(place, id)],
                        groups: 1,
                    })),
                }
            }
            Outgoing::Keys { id, pattern, cursor } => {
                bundles.push(Self::Keys { place, id, pattern, cursor });
            }
        }
    }

    /// Where a call may join others: not before a call of its own group.
    fn fitting<'a>(
        bundles: &'a mut [Self],
        caller: &Caller,
        call: &Call,
        together: Together,
    ) -> Option<&'a mut Calls> {
        for bundle in bundles.iter_mut().rev() {
            let Self::Calls(calls) = bundle else { continue };
            let same_group = calls.last_of_group(call).is_some();
            let has_place = same_group || (together.groups && calls.groups < MAX_GROUPS);
            let same_needs = together.needs || calls.acquires() == acquires(call);
            if has_place && same_needs && !calls.asking && calls.caller == *caller {
                return Some(calls);
            }
            if same_group {
                return None;
            }
        }
        None
    }
}

impl Calls {
    /// Whether it asks for something new.
    pub(super) fn acquires(&self) -> bool {
        self.calls.iter().any(acquires)
    }

    /// Whether it is for several groups.
    pub(super) fn of_several_groups(&self) -> bool {
        self.groups > 1
    }

    fn last_of_group(&self, call: &Call) -> Option<usize> {
        self.calls.iter().rposition(|other| other.key == call.key)
    }

    fn put(&mut self, call: Call, asked: (usize, CallId)) {
        let last = self.last_of_group(&call);
        self.groups += usize::from(last.is_none());
        let at = last.map_or(self.calls.len(), |last| last + 1);
        self.calls.insert(at, call);
        self.asked.insert(at, asked);
    }
}

/// Whether a call asks for something new.
pub(super) fn acquires(call: &Call) -> bool {
    call.verb.asks_for_more()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Key, LeaseId, SessionId};
    use crate::protocol::{Target, Verb};

    const CALLER: Caller =
        Caller { session: SessionId(1), connection: 1, listens: true, settling: false, keep_alive_ms: 6_000 };
    const ALL: Together = Together { groups: true, needs: true };

    fn release() -> Verb {
        Verb::Release(vec![Target::Lease(LeaseId { session: SessionId(1), number: 1 })])
    }

    fn call(number: u64, key: &str, verb: Verb, caller: Caller) -> Outgoing {
        Outgoing::Call { id: CallId(number), caller, call: Call::new(Key::new(key).expect("a key"), verb) }
    }

    fn numbers(together: Together, requests: impl IntoIterator<Item = Outgoing>) -> Vec<Vec<u64>> {
        let mut bundles = Vec::new();
        for request in requests.into_iter().enumerate() {
            Bundle::put(&mut bundles, request, false, together);
        }
        let numbers = |bundle| match bundle {
            Bundle::Calls(calls) => calls.asked.iter().map(|(_, id)| id.0).collect(),
            Bundle::Keys { .. } => Vec::new(),
        };
        bundles.into_iter().map(numbers).collect()
    }

    fn turn() -> impl Iterator<Item = Outgoing> {
        ["a", "b", "c"].iter().zip(0..).flat_map(|(key, n)| {
            [call(2 * n, key, release(), CALLER), call(2 * n + 1, key, Verb::Acquire(Vec::new()), CALLER)]
        })
    }

    #[test]
    fn all_calls_of_a_turn_go_together_by_groups() {
        assert_eq!(numbers(ALL, turn()), [[0, 1, 2, 3, 4, 5]]);
        let calls = [
            call(0, "a", release(), CALLER),
            call(1, "b", release(), CALLER),
            call(2, "a", Verb::Clean, CALLER),
        ];
        assert_eq!(numbers(ALL, calls), [[0, 2, 1]]);
    }

    #[test]
    fn where_keys_are_spread_the_calls_of_a_group_go_together() {
        let turn: Vec<Outgoing> = turn().chain([call(6, "a", Verb::Clean, CALLER)]).collect();
        assert_eq!(
            numbers(Together { groups: false, needs: true }, turn.clone()),
            [vec![0, 1, 6], vec![2, 3], vec![4, 5]]
        );
        let apart = Together { groups: false, needs: false };
        assert_eq!(numbers(apart, turn), [vec![0], vec![1], vec![2], vec![3], vec![4], vec![5], vec![6]]);
    }

    #[test]
    fn what_memory_may_refuse_goes_apart_and_overtakes_nothing_of_its_group() {
        let apart = Together { groups: true, needs: false };
        assert_eq!(numbers(apart, turn()), [[0, 2, 4], [1, 3, 5]]);
        let calls = [
            call(0, "a", release(), CALLER),
            call(1, "b", Verb::Acquire(Vec::new()), CALLER),
            call(2, "b", release(), CALLER),
            call(3, "b", release(), CALLER),
            call(4, "a", Verb::Clean, CALLER),
        ];
        assert_eq!(numbers(apart, calls), [vec![0], vec![1], vec![2, 3, 4]]);
    }

    #[test]
    fn what_another_says_about_itself_does_not_go_along() {
        let later = Caller { connection: 2, ..CALLER };
        let calls = [call(0, "a", release(), CALLER), call(1, "b", release(), later)];
        assert_eq!(numbers(ALL, calls), [[0], [1]]);
    }

    #[test]
    fn a_command_is_for_so_many_groups_at_most() {
        let calls = (0..40).map(|n| call(n, &format!("k{n}"), release(), CALLER));
        assert_eq!(numbers(ALL, calls).iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 8]);
    }

    #[test]
    fn what_is_asked_in_another_servers_place_goes_alone() {
        let mut bundles = Vec::new();
        for (place, asking) in [false, true, false].into_iter().enumerate() {
            Bundle::put(&mut bundles, (place, call(place as u64, "a", release(), CALLER)), asking, ALL);
        }
        assert_eq!(bundles.len(), 3);
    }
}
