//! Hands outstanding commands to gateways.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use stencil_mqtt::{Handle, Qos};
use stencil_protocol::command::{Command, MAX_COMMAND_BYTES, State};
use stencil_protocol::id::{CommandId, GatewayId, TenantId};
use stencil_protocol::topic::Topic;
use stencil_store::{Commands, Error, Marked, RanOut, StoredCommand};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::parts::told_to_end;
use crate::policy::{Peer, namespace};
use crate::wake::Wakes;
use crate::{DispatchOptions, Live, LiveEvent, Principal, Role};

/// How many pages of [`DispatchOptions::max_batch`] commands one look goes through.
const MAX_PAGES: usize = 64;

/// Sends what is outstanding. The store knows what that is; in memory is only when something was
/// last sent, so that a restart sends it again at once, which devices bear.
pub(crate) struct Dispatcher {
    pub(crate) commands: Arc<dyn Commands>,
    pub(crate) handle: Handle<Peer>,
    pub(crate) wakes: Wakes,
    pub(crate) clock: Clock,
    pub(crate) options: DispatchOptions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) live: Live,
    /// What was handed over and may have to be sent again. Forgotten when it is looked at again
    /// and is no longer outstanding, or its gateway no longer listens: a gateway that comes back
    /// gets all that is outstanding.
    pub(crate) sent: HashMap<CommandId, Sent>,
}

/// A command that was handed over.
pub(crate) struct Sent {
    tenant: TenantId,
    gateway: GatewayId,
    at_us: i64,
}

impl Dispatcher {
    /// Works until `stop` holds true.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut sweep =
            tokio::time::interval(Duration::from_millis(self.options.sweep_interval_ms));
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let wakes = self.wakes.clone();
        loop {
            let swept = tokio::select! {
                () = told_to_end(&mut stop) => return,
                () = wakes.dispatcher_woken() => self.woken().await,
                _ = sweep.tick() => self.swept().await,
            };
            if let Err(error) = swept {
                tracing::warn!(%error, "commands cannot be dispatched now; trying again");
            }
        }
    }

    /// New commands, and all of a gateway that came back.
    async fn woken(&mut self) -> Result<(), Error> {
        for (tenant, gateway) in self.wakes.take_gateways() {
            self.outstanding(&tenant, &gateway, true).await?;
        }
        self.queued().await
    }

    /// What was not acknowledged in a while, and what ran out of time.
    async fn swept(&mut self) -> Result<(), Error> {
        let now_us = self.clock.now_us();
        let before_us = now_us.saturating_sub(microseconds(self.options.expiry_grace_ms));
        let limit = self.limit();
        let mut again = BTreeSet::new();
        for RanOut {
            tenant,
            command,
            state,
            gateway,
        } in self.commands.expire(before_us, limit).await?
        {
            tracing::info!(%tenant, %command, %state, "a command ran out of time");
            self.sent.remove(&command);
            if state == State::Expired {
                self.metrics.command_expired();
            } else if let Some(gateway) = gateway {
                // Its device is asked what became of it.
                again.insert((tenant.clone(), gateway));
            }
            let event = LiveEvent::Command {
                command,
                state,
                at_us: now_us,
            };
            self.live.send(&tenant, event);
            self.wakes.runner();
        }
        let resend_us = microseconds(self.options.resend_after_ms);
        self.sent.retain(|_, sent| {
            let fresh = now_us.saturating_sub(sent.at_us) < resend_us;
            if !fresh {
                again.insert((sent.tenant.clone(), sent.gateway.clone()));
            }
            fresh
        });
        for (tenant, gateway) in again {
            self.outstanding(&tenant, &gateway, false).await?;
        }
        self.queued().await
    }

    async fn queued(&mut self) -> Result<(), Error> {
        let (now_us, mut after) = (self.clock.now_us(), None);
        // Those that do not listen now: what waits for them holds up nothing else.
        let mut deaf = BTreeSet::new();
        for _ in 0..MAX_PAGES {
            let page = self.commands.queued(now_us, after, self.limit()).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some((last.command.queued_us, last.command.id));
            for one in &page {
                // Without a gateway nobody has heard of the device yet: it stays queued.
                let Some(gateway) = &one.gateway else {
                    continue;
                };
                let key = (one.tenant.clone(), gateway.clone());
                if !deaf.contains(&key) && !self.send(&one.tenant, gateway, &one.command).await? {
                    deaf.insert(key);
                }
            }
        }
        Ok(())
    }

    async fn outstanding(
        &mut self,
        tenant: &TenantId,
        gateway: &GatewayId,
        all: bool,
    ) -> Result<(), Error> {
        let (now_us, limit) = (self.clock.now_us(), self.limit());
        let mut after = None;
        for _ in 0..MAX_PAGES {
            let commands = &self.commands;
            let page = commands
                .outstanding(tenant, gateway, now_us, after, limit)
                .await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some((last.queued_us, last.id));
            for command in &page {
                if (all || !self.sent.contains_key(&command.id))
                    && !self.send(tenant, gateway, command).await?
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Hands one command over; false if the gateway does not listen.
    async fn send(
        &mut self,
        tenant: &TenantId,
        gateway: &GatewayId,
        command: &StoredCommand,
    ) -> Result<bool, Error> {
        let principal = Principal {
            tenant: tenant.clone(),
            role: Role::Gateway(gateway.clone()),
        };
        let topic = Topic::GatewayCommand(gateway.clone()).to_string();
        let space = namespace(&principal);
        if self.handle.listeners(&space, &topic) == 0 {
            return Ok(false);
        }
        // Before it leaves: whatever happens next, it is known that somebody may have it.
        let now_us = self.clock.now_us();
        let mark = self
            .commands
            .mark_sent(tenant, &command.id, gateway, now_us);
        let marked = mark.await?;
        if marked == Marked::NotDue {
            // It has ended since it was listed: its token was sold, or its device revoked.
            tracing::debug!(%tenant, command = %command.id, "a command has ended before it was sent");
            self.sent.remove(&command.id);
            return Ok(true);
        }
        let first = marked == Marked::First;
        if first {
            let event = LiveEvent::Command {
                command: command.id,
                state: State::Sent,
                at_us: now_us,
            };
            self.live.send(tenant, event);
        }
        let Some(payload) = encode(command, first) else {
            tracing::error!(%tenant, command = %command.id, "a command cannot be encoded");
            return Ok(true);
        };
        stencil_crashpoint::reach("dispatch.before_publish");
        match self
            .handle
            .publish(&space, &topic, payload, Qos::AtLeastOnce, false)
        {
            Ok(0) => Ok(false),
            Ok(_) => {
                stencil_crashpoint::reach("dispatch.after_publish");
                let sent = Sent {
                    tenant: tenant.clone(),
                    gateway: gateway.clone(),
                    at_us: now_us,
                };
                self.sent.insert(command.id, sent);
                self.metrics.command_sent();
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(%tenant, %gateway, %error, "a command cannot be published");
                Ok(false)
            }
        }
    }

    fn limit(&self) -> u32 {
        u32::try_from(self.options.max_batch).unwrap_or(u32::MAX)
    }
}

fn encode(command: &StoredCommand, first: bool) -> Option<Vec<u8>> {
    let mut bytes = vec![0; MAX_COMMAND_BYTES];
    let wire = Command {
        id: command.id,
        device: command.device.clone(),
        name: &command.name,
        argument: command.argument.as_ref().map(|argument| argument.as_ref()),
        expires_us: command.expires_us,
    };
    let length = wire.encode_for_gateway(first, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

fn microseconds(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX)
}
