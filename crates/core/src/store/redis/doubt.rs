//! A hint that a link leads to the wrong server.

use std::sync::Arc;

use tokio::sync::watch;

/// A reason to ask the sentinels at once.
#[derive(Clone)]
pub(super) struct Doubt(Arc<watch::Sender<()>>);

impl Doubt {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }

    /// Raises it. This is cheap when nobody waits for it.
    pub(super) fn raise(&self) {
        self.0.send_replace(());
    }

    /// Changes whenever it is raised.
    pub(super) fn doubts(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
