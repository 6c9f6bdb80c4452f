//! The supervisor: systemd, or whoever sets `NOTIFY_SOCKET`, is told how the node fares.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use crate::node::Node;

/// Tells that the node is ready, and keeps the watchdog quiet as long as the node answers: whoever
/// can't read its own status within the watchdog's time is hung, and is better started again.
///
/// Nothing is told where nobody listens. When dropped, nothing more is told.
pub(super) fn attend(node: &Node) -> Option<AbortOnDropHandle<()>> {
    tell(&[NotifyState::Ready]);
    let watchdog = sd_notify::watchdog_enabled()?;
    Some(AbortOnDropHandle::new(keep_quiet(node.clone(), watchdog / 3)))
}

/// Tells that the node ends, which may take some seconds.
pub(super) fn ending() {
    tell(&[NotifyState::Stopping]);
}

fn keep_quiet(node: Node, every: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut due = tokio::time::interval(every);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            // A store that can't be read is an answer, too: a restart would not mend it.
            let said = match node.status().await {
                Ok(status) => format!("{:?}, {} entries", status.state, status.entries),
                Err(error) => format!("the store can't be read: {error}"),
            };
            tell(&[NotifyState::Watchdog, NotifyState::Status(&said)]);
        }
    })
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the supervisor can't be told");
    }
}
