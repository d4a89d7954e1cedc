//! Sessions and one-time links that are over are forgotten, and credentials that have ended a while ago. They open
//! nothing before that either.

use std::sync::Arc;
use std::time::Duration;

use stencil_store::{Credentials, Users, Wallets};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::parts::told_to_end;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(3_600);
/// For how long a credential that has ended is kept: 90 days, in µs.
const ENDED_STAYS_US: i64 = 90 * 86_400_000_000;
/// Credentials that are forgotten at one go.
const AT_A_GO: u32 = 1_000;

/// Forgets until told to end.
pub(crate) async fn run(
    users: Arc<dyn Users>,
    wallets: Arc<dyn Wallets>,
    credentials: Arc<dyn Credentials>,
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
        forget_ended(credentials.as_ref(), now_us.saturating_sub(ENDED_STAYS_US)).await;
    }
}

/// A part at a time, so that the store's only writer is free in between.
async fn forget_ended(credentials: &dyn Credentials, before_us: i64) {
    loop {
        match credentials
            .forget_ended_credentials(before_us, AT_A_GO)
            .await
        {
            Ok(forgotten) if forgotten == u64::from(AT_A_GO) => {}
            Ok(0) => return,
            Ok(forgotten) => {
                tracing::debug!(forgotten, "credentials that have ended");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "credentials that have ended are not forgotten now; later again");
                return;
            }
        }
    }
}
