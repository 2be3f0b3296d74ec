//! What a store's attempts to connect wait for, and whether one has ever succeeded: for errors and warnings.

use std::sync::{Mutex, MutexGuard};

use crate::sync::lock;

/// The most things that an error names.
const MOST: usize = 3;

/// The progress of one store, whose attempts may overlap.
#[derive(Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Default)]
struct State {
    waits_for: Vec<String>,
    is_open: bool,
    has_connected: bool,
    warned: Option<String>,
}

impl Progress {
    /// A link is to be opened.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.is_open = false;
        state.waits_for.clear();
    }

    /// It waits for this, too, as it stands behind "no answer from".
    pub(super) fn wait_for(&self, what: &str) {
        let mut state = self.state();
        if !state.is_open
            && state.waits_for.len() < MOST
            && !state.waits_for.iter().any(|other| other == what)
        {
            state.waits_for.push(what.to_owned());
        }
    }

    /// It waits for `what` instead of what it waited for.
    pub(super) fn wait_instead(&self, before: &str, what: &str) {
        let mut state = self.state();
        state.waits_for.retain(|other| other != before);
        drop(state);
        self.wait_for(what);
    }

    /// What it waits for, while no link is open.
    pub(super) fn waits_for(&self) -> Option<String> {
        let state = self.state();
        (!state.waits_for.is_empty()).then(|| state.waits_for.join(" and "))
    }

    /// A link is open.
    pub(super) fn connected(&self) {
        *self.state() = State { is_open: true, has_connected: true, ..State::default() };
    }

    /// Whether a link was ever open.
    pub(super) fn has_connected(&self) -> bool {
        self.state().has_connected
    }

    /// The warning, unless it was the last one since a link was open.
    pub(super) fn news(&self, warning: &str) -> Option<String> {
        let mut state = self.state();
        let is_new = state.warned.as_deref() != Some(warning);
        state.warned = Some(warning.to_owned());
        is_new.then(|| warning.to_owned())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}
