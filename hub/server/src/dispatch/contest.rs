//! Two that speak by the name of one gateway: each connection ends the other's, again and again.
//!
//! A gateway whose network broke off takes its own place, once: the hub has not seen yet that the
//! connection before is gone. Two that run at the same time do so every few moments for as long as
//! they run.

use std::collections::HashMap;
use std::sync::Arc;

use stencil_protocol::id::{GatewayId, TenantId};
use stencil_store::Registry;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::parts::told_to_end;

/// Within so long …
const WITHIN_US: i64 = 5 * 60 * 1_000_000;
/// … so often is no accident.
const OFTEN: u32 = 5;
/// Gateways that are watched at once; beyond that those whose time is over are forgotten.
const MAX_WATCHED: usize = 10_000;
/// Gateways that wait to be told of.
const QUEUE: usize = 64;

/// Gateways that were found to be contested.
pub(crate) type Found = mpsc::Receiver<(TenantId, GatewayId)>;

/// Counts how often gateways' places were taken.
#[derive(Debug)]
pub(crate) struct Contest {
    seen: HashMap<(TenantId, GatewayId), Seen>,
    found: mpsc::Sender<(TenantId, GatewayId)>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    since_us: i64,
    times: u32,
}

impl Contest {
    /// Nobody's place was taken yet.
    pub(crate) fn new() -> (Self, Found) {
        let (found, receiver) = mpsc::channel(QUEUE);
        let seen = HashMap::new();
        (Self { seen, found }, receiver)
    }

    /// The place of a gateway's connection was taken by another one of the same name.
    pub(crate) fn taken_over(&mut self, tenant: &TenantId, gateway: &GatewayId, now_us: i64) {
        let lives = |seen: &Seen| {
            (seen.since_us..seen.since_us.saturating_add(WITHIN_US)).contains(&now_us)
        };
        if self.seen.len() >= MAX_WATCHED {
            self.seen.retain(|_, seen| lives(seen));
        }
        let fresh = Seen {
            since_us: now_us,
            times: 0,
        };
        let key = (tenant.clone(), gateway.clone());
        let seen = self.seen.entry(key.clone()).or_insert(fresh);
        if !lives(seen) {
            *seen = fresh;
        }
        seen.times = seen.times.saturating_add(1);
        if seen.times == OFTEN {
            tracing::warn!(%tenant, %gateway, "two connections take a gateway's place from each \
                other again and again: somebody else has its certificate, or two run from copies \
                of one folder");
            if self.found.try_send(key).is_err() {
                tracing::warn!(%tenant, %gateway, "this does not stand in the audit log: too much \
                    waits to be noted");
            }
        }
    }
}

/// Notes what is found until told to end.
pub(crate) async fn note(
    registry: Arc<dyn Registry>,
    clock: Clock,
    mut found: Found,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let (tenant, gateway) = tokio::select! {
            () = told_to_end(&mut stop) => return,
            one = found.recv() => match one {
                Some(one) => one,
                None => return,
            },
        };
        let noted = registry.contested(&tenant, &gateway, clock.now_us()).await;
        if let Err(error) = noted {
            tracing::error!(%tenant, %gateway, %error, "a contested gateway is not noted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn told(times: &[i64]) -> usize {
        let (mut contest, mut found) = Contest::new();
        let tenant = TenantId::parse("acme").unwrap();
        let gateway = GatewayId::parse("gw-1").unwrap();
        for at_s in times {
            contest.taken_over(&tenant, &gateway, at_s * S);
        }
        std::iter::from_fn(|| found.try_recv().ok()).count()
    }

    #[test]
    fn two_that_take_turns_are_told_of_once_in_a_while() {
        let each_ten_s: Vec<i64> = (0..60).map(|n| n * 10).collect();
        assert_eq!(told(&each_ten_s), 2, "within ten minutes");
    }

    #[test]
    fn a_gateway_that_comes_back_after_its_network_broke_off_is_not() {
        let each_two_minutes: Vec<i64> = (0..60).map(|n| n * 120).collect();
        assert_eq!(told(&each_two_minutes), 0);
        assert_eq!(told(&[0, 1, 2, 3]), 0);
        // Nor does a clock that is set back make one.
        assert_eq!(told(&[4_000, 4_001, 4_002, 4_003, 0, 1, 2, 3]), 0);
    }
}
