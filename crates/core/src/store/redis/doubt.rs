//! A hint that a link leads to the wrong server.

use std::sync::Arc;

use tokio::sync::watch;

/// Reason to ask the sentinels at once.
#[derive(Clone)]
pub(super) struct Doubt(Arc<watch::Sender<()>>);

impl Doubt {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }

    /// There is some. Costs next to nothing where nobody asks.
    pub(super) fn raise(&self) {
        self.0.send_replace(());
    }

    /// What changes whenever there is some.
    pub(super) fn doubts(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
