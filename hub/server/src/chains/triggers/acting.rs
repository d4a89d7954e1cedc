//! Time, and the ends of commands: what is undone, and what a device is told next.

use std::time::Duration;

use stencil_store::{Error, StoredCaused, StoredCommand};
use stencil_workflow::Clock as _;

use super::{Change, TRIES, Triggers};

/// Caused runs that are looked at at once.
const PAGE: u32 = 256;
/// When nothing is due and nobody wakes it.
const IDLE_US: i64 = 60 * 1_000_000;
/// When the store could not be read or written.
const AGAIN: Duration = Duration::from_secs(1);

impl Triggers {
    /// Tells causes the time and the ends of commands, for as long as it is polled.
    pub(super) async fn act(&self) {
        loop {
            match self.tell_due().await {
                Ok(until_us) => tokio::select! {
                    () = self.0.wakes.caused_woken() => {}
                    () = self.0.clock.sleep_until(until_us) => {}
                },
                Err(error) => {
                    tracing::warn!(%error, "devices are told nothing because of chains now; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Tells all that is due; says when to come again.
    pub(super) async fn tell_due(&self) -> Result<i64, Error> {
        let port = &self.0.store.caused;
        loop {
            let due = port.waking_caused(self.now_us(), PAGE).await?;
            if due.is_empty() {
                break;
            }
            for stored in due {
                self.tell(stored).await?;
            }
        }
        let idle_us = self.now_us().saturating_add(IDLE_US);
        let next_us = port.next_waking_caused().await?;
        Ok(next_us.map_or(idle_us, |next_us| next_us.min(idle_us)))
    }

    async fn tell(&self, mut stored: StoredCaused) -> Result<(), Error> {
        let port = &self.0.store.caused;
        let mut last = Error::Conflict(String::new());
        for _ in 0..TRIES {
            let now_us = self.now_us();
            let ended = self.under_way(&stored).await?;
            let mut change = Change::new(None, now_us);
            change.change(&stored, &ended, true, |caused, out| {
                caused.clock(now_us, out);
            })?;
            match port.commit_caused(&change.commit).await {
                Ok(_) => return Ok(()),
                Err(error @ Error::Conflict(_)) => last = error,
                Err(error) => return Err(error),
            }
            match port.caused(&stored.tenant, &stored.run).await? {
                Some(again) => stored = again,
                None => return Ok(()),
            }
        }
        Err(last)
    }

    /// How the commands stand that a run waits for, or that have expired and may be done all the same.
    pub(super) async fn under_way(
        &self,
        stored: &StoredCaused,
    ) -> Result<Vec<StoredCommand>, Error> {
        let caused = stencil_workflow::caused::Caused::read(stored)?;
        let mut commands = Vec::new();
        for id in caused.commands() {
            let command = self.0.store.commands.get(&stored.tenant, &id).await?;
            commands.extend(command);
        }
        Ok(commands)
    }
}
