//! Renews gateways' certificates where the fleet authority is at hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stencil_crypto::authority::{Authority, Renewed, Request, Subject, Validity};
use stencil_mqtt::{Handle, Qos};
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_protocol::renewal::{Answer, MAX_REASON_BYTES, Renew};
use stencil_protocol::topic::Topic;
use stencil_store::{Certificates, Renewable};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::parts::told_to_end;
use crate::policy::{Peer, described, namespace};
use crate::{Principal, Role};

/// A gateway asks for the successor of its certificate.
pub(crate) type Asked = (TenantId, GatewayId, Renew);

/// Between two successors of one certificate, for different keys.
const AGAIN_US: i64 = 60 * 1_000_000;
/// How often it is counted how many certificates end soon, and how soon that is.
const COUNT: Duration = Duration::from_secs(600);
const SOON_US: i64 = 30 * 86_400 * 1_000_000;

/// Answers those who ask.
pub(crate) struct Renewals {
    pub(crate) asked: mpsc::Receiver<Asked>,
    /// The fleet authority's folder.
    pub(crate) authority: PathBuf,
    pub(crate) certificates: Arc<dyn Certificates>,
    pub(crate) handle: Handle<Peer>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    /// How long after its end a certificate is renewed.
    pub(crate) grace: Duration,
    /// How long a successor is valid.
    pub(crate) days: u32,
}

/// Why there is no answer to give.
enum Failed {
    /// It is not to be: the gateway is told.
    Refused(String),
    /// Not now: it asks again.
    NotNow(String),
}

impl From<stencil_store::Error> for Failed {
    fn from(error: stencil_store::Error) -> Self {
        Self::NotNow(format!("the store: {error}"))
    }
}

impl Renewals {
    /// Works until `stop` holds true.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut count = tokio::time::interval(COUNT);
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = told_to_end(&mut stop) => return,
                _ = count.tick() => self.count().await,
                asked = self.asked.recv() => match asked {
                    Some((tenant, gateway, renew)) => self.answer(&tenant, &gateway, renew).await,
                    None => return,
                },
            }
        }
    }

    async fn count(&self) {
        let before_us = self.clock.now_us().saturating_add(SOON_US);
        match self.certificates.ending_before(before_us).await {
            Ok(ending) => {
                self.metrics.certificates_ending(ending);
                if ending > 0 {
                    tracing::warn!(
                        ending,
                        "gateways' certificates end within 30 days, or have ended: \
                        each should have been renewed by its gateway (`stencil gateways list`)"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, "gateways' certificates cannot be looked at now"),
        }
    }

    async fn answer(&self, tenant: &TenantId, gateway: &GatewayId, renew: Renew) {
        let answer = match self.renewed(tenant, gateway, renew).await {
            Ok(chain) => {
                self.metrics.certificate_renewed();
                tracing::info!(%tenant, %gateway, "a gateway's certificate is renewed");
                Answer::Renewed(chain)
            }
            Err(Failed::Refused(mut why)) => {
                self.metrics.certificate_refused();
                tracing::warn!(%tenant, %gateway, why, "a gateway's certificate is not renewed");
                why.truncate(why.floor_char_boundary(MAX_REASON_BYTES));
                Answer::Refused(why)
            }
            Err(Failed::NotNow(why)) => {
                tracing::warn!(%tenant, %gateway, why, "a gateway's certificate is not renewed now");
                return;
            }
        };
        let bytes = match answer.encode() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%tenant, %gateway, %error, "a certificate cannot be sent");
                return;
            }
        };
        let principal = Principal {
            tenant: tenant.clone(),
            role: Role::Gateway(gateway.clone()),
        };
        let topic = Topic::GatewayCertificate(gateway.clone()).to_string();
        let space = namespace(&principal);
        let sent = self
            .handle
            .publish(&space, &topic, bytes, Qos::AtLeastOnce, false);
        if let Err(error) = sent {
            // It asks again.
            tracing::warn!(%tenant, %gateway, %error, "a certificate cannot be sent");
        }
    }

    /// The successor's chain.
    async fn renewed(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        renew: Renew,
    ) -> Result<String, Failed> {
        let refused = |why: &str| Err(Failed::Refused(why.to_owned()));
        let of = renew.certificate;
        let reading = tokio::task::spawn_blocking(move || Request::read(&renew.request));
        let request = match reading.await {
            Ok(read) => read.map_err(|error| Failed::Refused(error.to_string()))?,
            Err(_) => return Err(Failed::NotNow("a fault of the hub".to_owned())),
        };
        let subject = Subject::Gateway {
            tenant: tenant.to_string(),
            gateway: gateway.to_string(),
        };
        if *request.subject() != subject {
            let why = format!("the request is one of {}", request.subject());
            return Err(Failed::Refused(why));
        }
        let certificates = &self.certificates;
        let key = request.key();
        let (begin_us, end_us) = match certificates.renewable(tenant, gateway, &of, &key).await? {
            // It did not get there, or was asked for twice.
            Renewable::Made(chain) => return Ok(chain),
            Renewable::Not => {
                return refused("it is not the certificate that the gateway has used last");
            }
            Renewable::Current {
                not_before_us,
                not_after_us,
                last_us,
            } => {
                let now_us = self.clock.now_us();
                let lately = |at_us: i64| (at_us..at_us.saturating_add(AGAIN_US)).contains(&now_us);
                if last_us.is_some_and(lately) {
                    return refused("another one was issued within this minute; ask again later");
                }
                (not_before_us, not_after_us)
            }
        };
        self.is_due(begin_us, end_us)?;
        let renewed = self.issue(request).await?;
        let certificate = described(&renewed.certificate_der)
            .map_err(|error| Failed::NotNow(error.to_string()))?;
        if certificate.not_after_us <= end_us {
            return refused("its successor would end no later: the authority itself ends");
        }
        stencil_crashpoint::reach("renewal.before_kept");
        let (chain, now_us) = (renewed.chain_pem, self.clock.now_us());
        let kept = certificates.keep_renewed(tenant, gateway, &of, &certificate, &chain, now_us);
        if !kept.await? {
            return refused("the gateway was revoked, or has used another certificate, just now");
        }
        stencil_crashpoint::reach("renewal.after_kept");
        Ok(chain)
    }

    /// Whether one that is valid from then to then may have a successor now.
    fn is_due(&self, begin_us: i64, end_us: i64) -> Result<(), Failed> {
        let now_us = self.clock.now_us();
        let grace_us = i64::try_from(self.grace.as_micros()).unwrap_or(i64::MAX);
        if now_us > end_us.saturating_add(grace_us) {
            let why = "it has ended too long ago; make the gateway anew with `stencil hub \
                       add-gateway`";
            return Err(Failed::Refused(why.to_owned()));
        }
        // Whoever asks all the time does not fill the list of what was issued.
        let half_us = end_us.saturating_sub(begin_us) / 2;
        if now_us < begin_us.saturating_add(half_us) {
            let why = format!(
                "it is valid for more than half of its time still, until {} UTC",
                stencil_protocol::moment::utc(end_us)
            );
            return Err(Failed::Refused(why));
        }
        Ok(())
    }

    async fn issue(&self, request: Request) -> Result<Renewed, Failed> {
        let micros = u64::try_from(self.clock.now_us()).unwrap_or(0);
        let now = UNIX_EPOCH + Duration::from_micros(micros);
        let (authority, days) = (self.authority.clone(), self.days);
        // Keys are read, and a signature is made.
        let issuing = tokio::task::spawn_blocking(move || issued(&authority, &request, now, days));
        match issuing.await {
            Ok(issued) => issued.map_err(Failed::Refused),
            Err(_) => Err(Failed::NotNow("a fault of the hub".to_owned())),
        }
    }
}

fn issued(
    authority: &Path,
    request: &Request,
    now: SystemTime,
    days: u32,
) -> Result<Renewed, String> {
    let authority = Authority::open(authority).map_err(|error| {
        format!(
            "the fleet authority is not at hand: {error}; where it is, `stencil hub add-gateway` \
             makes another certificate"
        )
    })?;
    let renewed = authority.issue_requested(request, Validity::days_from(now, days));
    renewed.map_err(|error| error.to_string())
}
