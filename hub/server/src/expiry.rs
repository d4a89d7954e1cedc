//! Sessions and one-time links that are over are forgotten. They open nothing before that either.

use std::sync::Arc;
use std::time::Duration;

use stencil_store::{Users, Wallets};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::parts::told_to_end;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(3_600);

/// Forgets until told to end.
pub(crate) async fn run(
    users: Arc<dyn Users>,
    wallets: Arc<dyn Wallets>,
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
        let now_us = clock.now_us();
        let forgotten = match users.forget_expired(idle_us, now_us).await {
            Ok(of_users) => wallets
                .forget_expired_wallets(idle_us, now_us)
                .await
                .map(|of_wallets| of_users + of_wallets),
            Err(error) => Err(error),
        };
        match forgotten {
            Ok(0) => {}
            Ok(forgotten) => tracing::debug!(forgotten, "sessions and links that are over"),
            Err(error) => {
                tracing::warn!(%error, "sessions that are over are not forgotten now; later again");
            }
        }
    }
}
