//! Sessions and one-time links that are over are forgotten. They open nothing before that either.

use std::sync::Arc;
use std::time::Duration;

use stencil_store::Users;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::parts::told_to_end;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(3_600);

/// Forgets until told to end.
pub(crate) async fn run(
    users: Arc<dyn Users>,
    clock: Clock,
    idle_us: i64,
    mut stop: watch::Receiver<bool>,
) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = told_to_end(&mut stop) => return,
            _ = tick.tick() => {}
        }
        match users.forget_expired(idle_us, clock.now_us()).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::debug!(forgotten, "sessions and links that are over"),
            Err(error) => {
                tracing::warn!(%error, "sessions that are over are not forgotten now; later again");
            }
        }
    }
}
