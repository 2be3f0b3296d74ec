//! What the replies to a pipeline lead to: events, and calls that are sent again.

use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};

use super::{Pipelines, Waiting};
use crate::protocol::{CallError, Outgoing, Reply};
use crate::store::LinkEvent;
use crate::store::redis::bundle::{Bundle, Calls, acquires};
use crate::store::redis::library::Way;
use crate::store::redis::list;

impl Pipelines {
    /// Turns the replies to one pipeline, one for each command, into events in the order of the requests.
    pub(super) fn answer(
        &mut self,
        loads: Option<Way>,
        bundles: Vec<Bundle>,
        mut values: impl Iterator<Item = RedisResult<Value>>,
    ) {
        if let Some(way) = loads
            && let Some(value) = values.next()
        {
            self.names.loaded(way, value);
        }
        let (mut events, mut again) = (Vec::new(), Vec::new());
        for bundle in bundles {
            match bundle {
                Bundle::Calls(calls) => {
                    // When ASKING is refused, so is the call after it.
                    let Some(value) = values.nth(usize::from(calls.asking)) else { continue };
                    self.answer_calls(calls, value, &mut events, &mut again);
                }
                Bundle::Keys { place, id, pattern, .. } => {
                    let Some(value) = values.next() else { continue };
                    let value = value.map_err(|error| self.names.call_error(&error));
                    let result = value.and_then(|value| list::page(self.names.prefix(), &pattern, value));
                    events.push((place, LinkEvent::Keys { id, result }));
                }
            }
        }
        events.sort_by_key(|(place, _)| *place);
        events.into_iter().for_each(|(_, event)| self.emit(event));
        for waiting in again.into_iter().rev() {
            self.waiting.push_front(waiting);
        }
    }

    fn answer_calls(
        &mut self,
        bundle: Calls,
        value: RedisResult<Value>,
        events: &mut Vec<(usize, LinkEvent)>,
        again: &mut Vec<Waiting>,
    ) {
        let several = bundle.of_several_groups();
        let apart = value.as_ref().is_err_and(|error| several && is_about_keys(error));
        let results = self.names.results(&bundle.calls, value);
        let apart = apart && !matches!(results[..], [Err(CallError::NotExecuted(_)), ..]);
        // The server doesn't take these keys in one command and has carried out nothing: from now on each group has a
        // command of its own. Once in a connection's life this lets later calls of the same groups overtake these; a
        // session never has two pending calls whose order matters.
        self.together.groups &= !apart;
        let acquiring = bundle.acquires();
        if acquiring {
            self.together.needs = !results.iter().any(is_for_memory);
        }
        let Calls { caller, calls, asked, asking, .. } = bundle;
        for ((call, (place, id)), result) in calls.into_iter().zip(asked).zip(results) {
            // A full memory also refuses the other calls of a command that has an acquire: they go again without it
            // (R25).
            if apart || (acquiring && !acquires(&call) && is_for_memory(&result)) {
                again.push(Waiting { request: Outgoing::Call { id, caller, call }, asking });
                continue;
            }
            if matches!(&result, Err(CallError::NotExecuted(words)) if words.contains("NOREPLICAS")) {
                self.doubt.raise();
            }
            events.push((place, LinkEvent::Reply { id, result }));
        }
    }
}

fn is_for_memory(result: &Result<Reply, CallError>) -> bool {
    matches!(result, Err(CallError::OutOfMemory(_)))
}

/// Whether the server refused the keys of a command, and might have taken some of them alone.
fn is_about_keys(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::CrossSlot | ServerErrorKind::NoPerm))
}
