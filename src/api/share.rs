//! One caller's share of the time budget, while others wait for their turn.
//!
//! In: when the share ends, from whoever gives the turns; it may change while requests are under way. Out: the
//! moment in which the caller has to give way. What becomes of its requests is decided in `api`.

use tokio::sync::watch;
use tokio::time::Instant;

/// Whoever gives the turns keeps this; dropping it leaves the share as it was last set.
#[derive(Debug)]
pub(crate) struct Turn(watch::Sender<Option<Instant>>);

/// What the caller's client holds.
#[derive(Debug, Clone)]
pub(super) struct TurnShare(watch::Receiver<Option<Instant>>);

impl Default for Turn {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Turn {
    /// Nobody waits: the share is all that is left of the budget.
    pub(crate) fn lift(&self) {
        self.0.send_if_modified(|until| until.take().is_some());
    }

    /// Others wait: the share ends then, unless its end was set before.
    pub(crate) fn limit(&self, end: Instant) {
        self.0.send_if_modified(|until| {
            let is_new = until.is_none();
            until.get_or_insert(end);
            is_new
        });
    }

    pub(super) fn share(&self) -> TurnShare {
        TurnShare(self.0.subscribe())
    }
}

impl TurnShare {
    /// Comes back once the share is spent.
    pub(super) async fn spent(mut self) {
        loop {
            let until = *self.0.borrow_and_update();
            let end = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // `changed` fails once the `Turn` is dropped; then only the end that was set counts.
                Ok(()) = self.0.changed() => {}
                () = end => return,
            }
        }
    }
}
