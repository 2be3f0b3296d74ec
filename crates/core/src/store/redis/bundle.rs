//! What goes out as one command: a request, or calls of one verb for several groups.
//!
//! A server that has the keys of all groups in one place saves what each command costs by itself. The calls of a group
//! keep their order; those of different groups don't mind it.

use super::scripts;
use crate::protocol::{Call, CallId, Caller, Outgoing};

/// Most groups of one command, so that no script takes Redis much longer than the calls of one group can.
const MAX_GROUPS: usize = 16;

/// A command to be.
pub(super) enum Bundle {
    /// The next one is asked in another server's place.
    Asking,
    /// Calls of one caller; several of them go together.
    Calls {
        caller: Caller,
        /// Come back with the replies, in the calls' order.
        ids: Vec<CallId>,
        calls: Vec<Call>,
    },
    Keys {
        id: CallId,
        pattern: String,
        cursor: String,
    },
}

impl From<Outgoing> for Bundle {
    fn from(request: Outgoing) -> Self {
        match request {
            Outgoing::Call { id, caller, call } => Self::Calls { caller, ids: vec![id], calls: vec![call] },
            Outgoing::Keys { id, pattern, cursor } => Self::Keys { id, pattern, cursor },
        }
    }
}

impl Bundle {
    /// Puts a request with the others, or after them.
    pub(super) fn put(bundles: &mut Vec<Self>, request: Outgoing) {
        match request {
            Outgoing::Call { id, caller, call } => match Self::place(bundles, &caller, &call) {
                Some((ids, calls)) => {
                    ids.push(id);
                    calls.push(call);
                }
                None => bundles.push(Outgoing::Call { id, caller, call }.into()),
            },
            request => bundles.push(request.into()),
        }
    }

    /// Where a call may join others: not before a call of its own group.
    fn place<'a>(
        bundles: &'a mut [Self],
        caller: &Caller,
        call: &Call,
    ) -> Option<(&'a mut Vec<CallId>, &'a mut Vec<Call>)> {
        for bundle in bundles.iter_mut().rev() {
            let Self::Calls { caller: other, ids, calls } = bundle else { continue };
            if calls.iter().any(|earlier| earlier.key == call.key) {
                return None;
            }
            let fits = calls.len() < MAX_GROUPS && other == caller;
            if fits && scripts::go_together(&calls[0].verb, &call.verb) {
                return Some((ids, calls));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Key, LeaseId, SessionId};
    use crate::protocol::{Target, Verb};

    const CALLER: Caller =
        Caller { session: SessionId(1), connection: 1, listens: true, settling: false, keep_alive_ms: 6_000 };

    fn release() -> Verb {
        Verb::Release(vec![Target::Lease(LeaseId { session: SessionId(1), number: 1 })])
    }

    fn call(number: u64, key: &str, verb: Verb, caller: Caller) -> Outgoing {
        Outgoing::Call { id: CallId(number), caller, call: Call { key: Key::new(key).expect("a key"), verb } }
    }

    fn numbers(requests: impl IntoIterator<Item = Outgoing>) -> Vec<Vec<u64>> {
        let mut bundles = Vec::new();
        requests.into_iter().for_each(|request| Bundle::put(&mut bundles, request));
        let numbers = |bundle| match bundle {
            Bundle::Calls { ids, .. } => ids.into_iter().map(|id| id.0).collect(),
            _ => Vec::new(),
        };
        bundles.into_iter().map(numbers).collect()
    }

    #[test]
    fn calls_of_one_verb_for_several_groups_go_together() {
        let turn = ["a", "b", "c"].iter().zip(0..).flat_map(|(key, n)| {
            [call(2 * n, key, release(), CALLER), call(2 * n + 1, key, Verb::Acquire(Vec::new()), CALLER)]
        });
        assert_eq!(numbers(turn), [vec![0, 2, 4], vec![1, 3, 5]]);
    }

    #[test]
    fn a_call_does_not_overtake_one_of_its_own_group() {
        let calls = [
            call(0, "a", release(), CALLER),
            call(1, "b", Verb::Acquire(Vec::new()), CALLER),
            call(2, "b", release(), CALLER),
            call(3, "b", release(), CALLER),
            call(4, "a", Verb::Clean, CALLER),
            call(5, "c", release(), CALLER),
        ];
        assert_eq!(numbers(calls), [vec![0], vec![1], vec![2], vec![3, 5], vec![4]]);
    }

    #[test]
    fn what_another_says_about_itself_does_not_go_along() {
        let later = Caller { connection: 2, ..CALLER };
        let calls = [call(0, "a", release(), CALLER), call(1, "b", release(), later)];
        assert_eq!(numbers(calls), [[0], [1]]);
        let verbs = [call(0, "a", Verb::Clean, CALLER), call(1, "b", Verb::Clean, CALLER)];
        assert_eq!(numbers(verbs), [[0], [1]]);
    }

    #[test]
    fn a_command_is_for_so_many_groups_at_most() {
        let calls = (0..40).map(|n| call(n, &format!("k{n}"), release(), CALLER));
        assert_eq!(numbers(calls).iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 8]);
    }
}
