//! What serves while Redis is out of reach, if the user prefers that to errors: the embedded store, with the limit lifted
//! (`Allow`) or in force for this process alone (`Local`), and only for a bounded time.
//!
//! The session isn't told: a request that it fails as unavailable is asked again here, under the same tag, and what the
//! client says of that tag from then on comes here. "Full" never comes here, only "not available".

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Command, Seat, Sink, lock};
use crate::config::{OnUnavailable, Options, Place};
use crate::error::Error;
use crate::moment::Moment;
use crate::session::{Event, Request, Tag};

/// The limit of a request that is let in without one.
const NO_LIMIT: u32 = 1_000_000;

pub(super) struct StandIn {
    seat: Seat,
    lifts_limit: bool,
    bound: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests that the session may still fail as unavailable, and when they came.
    asked: HashMap<Tag, (Moment, Request)>,
    /// Requests that are served here.
    here: HashSet<Tag>,
    /// Since when Redis is out of reach.
    since: Option<Moment>,
}

/// Hears the session, and takes over what it fails as unavailable.
struct Guard {
    sink: Arc<dyn Sink>,
    stand_in: Arc<StandIn>,
}

/// Hears the embedded store; its end isn't the client's.
struct Relay {
    sink: Arc<dyn Sink>,
}

impl StandIn {
    /// The stand-in that the options ask for. Limiters of a process that name the same server share their count.
    pub(super) fn open(options: &Options, sink: &Arc<dyn Sink>) -> Result<Option<Arc<Self>>, Error> {
        let (lifts_limit, bound) = match options.on_unavailable {
            OnUnavailable::Reject => return Ok(None),
            OnUnavailable::Allow(bound) => (true, bound),
            OnUnavailable::Local(bound) => (false, bound),
        };
        let mut hasher = DefaultHasher::new();
        (&options.place, &options.key_prefix, lifts_limit).hash(&mut hasher);
        let place = Place::Memory(format!("stand-in-{:016x}", hasher.finish()));
        let options = Options { place, ..Options::new("") };
        let seat = Seat::open(&options, Arc::new(Relay { sink: Arc::clone(sink) }))?;
        Ok(Some(Arc::new(Self { seat, lifts_limit, bound, state: Mutex::default() })))
    }

    /// What the session is to tell instead of `sink`.
    pub(super) fn guard(self: &Arc<Self>, sink: Arc<dyn Sink>) -> Arc<dyn Sink> {
        Arc::new(Guard { sink, stand_in: Arc::clone(self) })
    }

    /// Takes a command that concerns a request served here; gives back what is the session's.
    pub(super) fn route(&self, command: Command) -> Option<Command> {
        let mut state = lock(&self.state);
        let here = match &command {
            Command::Submit(request) => {
                state.asked.insert(request.tag, (Moment::now(), request.clone()));
                false
            }
            Command::Release(tag) => state.here.remove(tag),
            Command::Cancel(tag) => state.here.contains(tag),
            Command::Ask(..) | Command::Watch(_) | Command::Beat => false,
        };
        if !here {
            return Some(command);
        }
        self.seat.send([command]);
        None
    }

    /// The client ends.
    pub(super) fn close(&self, release: bool) {
        self.seat.close(Tag::MAX, release);
    }

    /// What the client is to be told of an event of the session's.
    fn hear(&self, event: Event) -> Option<Event> {
        let mut state = lock(&self.state);
        match &event {
            Event::Granted { tag, .. } => {
                state.asked.remove(tag);
                state.since = None;
            }
            Event::Failed { tag, error, .. } => {
                let asked = state.asked.remove(tag);
                if let (Some(Error::Unavailable { .. }), Some((asked_at, request))) = (error, asked) {
                    return self
                        .take_over(&mut state, asked_at, request)
                        .map_or(Some(event), |warning| warning);
                }
            }
            _ => {}
        }
        Some(event)
    }

    /// Serves the request here, unless Redis has been away for too long; the warning that goes with the first.
    fn take_over(&self, state: &mut State, asked_at: Moment, mut request: Request) -> Option<Option<Event>> {
        let now = Moment::now();
        let first = state.since.is_none();
        let since = *state.since.get_or_insert(now);
        if now.saturating_since(since) >= self.bound {
            return None;
        }
        state.here.insert(request.tag);
        request.client = self.seat.id;
        request.timeout =
            request.timeout.map(|timeout| timeout.saturating_sub(now.saturating_since(asked_at)));
        if self.lifts_limit {
            request.terms.limit = NO_LIMIT;
        }
        self.seat.send([Command::Submit(request)]);
        let how =
            if self.lifts_limit { "let in without a limit" } else { "limited within this process alone" };
        Some(first.then(|| {
            Event::Warning(format!("Redis is not available: requests are {how} for {:?}", self.bound))
        }))
    }
}

impl Sink for Guard {
    fn tell(&self, events: &mut Vec<Event>) {
        let mut told: Vec<Event> = events.drain(..).filter_map(|event| self.stand_in.hear(event)).collect();
        if !told.is_empty() {
            self.sink.tell(&mut told);
        }
    }

    fn broken(&self, message: &str) {
        self.sink.broken(message);
    }
}

impl Sink for Relay {
    fn tell(&self, events: &mut Vec<Event>) {
        events.retain_mut(|event| match event {
            Event::Granted { lease, .. } => {
                lease.stood_in = true;
                true
            }
            Event::Closed { .. } => false,
            _ => true,
        });
        if !events.is_empty() {
            self.sink.tell(events);
        }
    }

    fn broken(&self, message: &str) {
        self.sink.broken(message);
    }
}
