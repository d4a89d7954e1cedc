//! Which certificates of gateways are let in: not those that were revoked, or that a later one has
//! taken the place of.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stencil_crypto::authority::Description;
use stencil_mqtt::{Refused, RefusedCode};
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_store::{
    Audit, AuditOutcome, Certificates, Error, Fingerprint, NewAudit, NewCertificate, Presented,
    Store, is_of_former_tenant,
};

use crate::clock::Clock;

/// Between two audit entries that a gateway's certificate was refused.
const AGAIN_US: i64 = 10 * 60 * 1_000_000;
/// Gateways whose last refusal is remembered; beyond that those of long ago are forgotten.
const MAX_REFUSALS: usize = 10_000;

/// Why a certificate is not let in that is older than its tenant.
const FORMER: &str = "it was issued before this tenant was made, to one of the same name that was \
                      erased: issue another one";

/// The gate for gateways' certificates. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    certificates: Arc<dyn Certificates>,
    audit: Arc<dyn Audit>,
    audit_entries: u32,
    clock: Clock,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    /// Certificates that let nobody in any more, since this start: connections of theirs end.
    ended: HashSet<Fingerprint>,
    /// With which certificate each gateway came last; at most one a gateway.
    seen: HashMap<(TenantId, GatewayId), Fingerprint>,
    refusals: HashMap<(TenantId, GatewayId), i64>,
}

impl Gate {
    pub(crate) fn new(store: &Store, clock: Clock, audit_entries: u32) -> Self {
        Self {
            certificates: Arc::clone(&store.certificates),
            audit: Arc::clone(&store.audit),
            audit_entries,
            clock,
            memory: Arc::default(),
        }
    }

    /// Lets a gateway in by its certificate, or says why not.
    pub(crate) async fn admit(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        der: &[u8],
    ) -> Result<Admitted, Refused> {
        let certificate = described(der).map_err(|error| {
            Refused::new(RefusedCode::Credentials, format!("certificate: {error}"))
        })?;
        let now_us = self.clock.now_us();
        let in_time = now_us <= certificate.not_after_us;
        let fingerprint = certificate.fingerprint;
        let key = (tenant.clone(), gateway.clone());
        let presented = self
            .certificates
            .present(tenant, gateway, &certificate, in_time, now_us);
        let ended = match presented.await {
            Ok(Presented::Current) => Vec::new(),
            Ok(Presented::First(ended)) => ended,
            Ok(Presented::Met(ended)) => {
                tracing::info!(%tenant, %gateway, serial = certificate.serial,
                    "a gateway comes with a certificate that the hub had not heard of");
                ended
            }
            Ok(Presented::Superseded) => {
                let why =
                    "the gateway has used a later certificate: this one lets nobody in any more";
                let code = RefusedCode::NotAuthorized;
                return Err(self.refuse(key, &certificate, code, why, now_us).await);
            }
            Ok(Presented::Revoked) => {
                let (code, why) = (RefusedCode::Banned, "it was revoked");
                return Err(self.refuse(key, &certificate, code, why, now_us).await);
            }
            Ok(Presented::Unknown) => {
                let why = match in_time {
                    true => "it is older than those that the hub knows of this gateway",
                    false => "its time is over, and the hub has not heard of it before",
                };
                let code = RefusedCode::Credentials;
                return Err(self.refuse(key, &certificate, code, why, now_us).await);
            }
            Ok(Presented::Former) => {
                let code = RefusedCode::Credentials;
                return Err(self.refuse(key, &certificate, code, FORMER, now_us).await);
            }
            Err(error) if is_full(&error) && in_time => {
                // What cannot be written now is no reason to keep a gateway out.
                tracing::warn!(%tenant, %gateway, %error, "a certificate cannot be noted now");
                Vec::new()
            }
            Err(error) => {
                let why = format!("the store: {error}");
                return Err(Refused::new(RefusedCode::Unavailable, why));
            }
        };
        if !in_time {
            tracing::warn!(%tenant, %gateway, "a gateway's certificate has ended: it may have it \
                renewed, and nothing else");
        }
        let mut memory = self.memory();
        memory.ended.extend(ended);
        memory.seen.insert(key, fingerprint);
        Ok(Admitted {
            fingerprint,
            in_time,
        })
    }

    /// Refuses a device's certificate that has ended, which TLS lets pass for some time (that is for
    /// gateways alone), and one that is older than its tenant.
    pub(crate) fn admit_device(&self, der: &[u8], tenant_made_us: i64) -> Result<(), Refused> {
        let refused = |why: String| Refused::new(RefusedCode::Credentials, why);
        let certificate =
            described(der).map_err(|error| refused(format!("certificate: {error}")))?;
        if is_of_former_tenant(certificate.not_before_us, tenant_made_us) {
            return Err(refused(format!("certificate: {FORMER}")));
        }
        match self.clock.now_us() <= certificate.not_after_us {
            true => Ok(()),
            false => Err(refused(
                "certificate: it has ended; issue another one".to_owned(),
            )),
        }
    }

    /// Whether who came with this certificate may stay.
    pub(crate) fn may_stay(&self, fingerprint: &Fingerprint) -> bool {
        let memory = self.memory();
        memory.ended.is_empty() || !memory.ended.contains(fingerprint)
    }

    /// A gateway was revoked, with these certificates: nobody who came with one may stay.
    pub(crate) fn revoked(&self, tenant: &TenantId, gateway: &GatewayId, of: Vec<Fingerprint>) {
        let mut memory = self.memory();
        let seen = memory.seen.remove(&(tenant.clone(), gateway.clone()));
        memory.ended.extend(of.into_iter().chain(seen));
    }

    async fn refuse(
        &self,
        key: (TenantId, GatewayId),
        certificate: &NewCertificate,
        code: RefusedCode,
        why: &str,
        now_us: i64,
    ) -> Refused {
        let detail = format!("certificate {}: {why}", certificate.serial);
        if self.is_news(&key, now_us) {
            let (tenant, gateway) = key;
            tracing::warn!(%tenant, %gateway, detail, "a gateway is not let in");
            let entry = NewAudit {
                at_us: now_us,
                who: format!("gateway {gateway}"),
                action: "gateways.connect".to_owned(),
                target: Some(gateway.to_string()),
                outcome: AuditOutcome::Refused,
                detail: Some(detail.clone()),
                address: None,
            };
            let noted = self.audit.note(&tenant, &entry, self.audit_entries).await;
            if let Err(error) = noted {
                tracing::error!(%tenant, %gateway, %error, "a refusal is not noted");
            }
        }
        Refused::new(code, detail)
    }

    /// Whether the last refusal of this gateway is some time ago.
    fn is_news(&self, key: &(TenantId, GatewayId), now_us: i64) -> bool {
        let lately = |at_us: i64| (at_us..at_us.saturating_add(AGAIN_US)).contains(&now_us);
        let mut memory = self.memory();
        if memory.refusals.get(key).is_some_and(|at_us| lately(*at_us)) {
            return false;
        }
        if memory.refusals.len() >= MAX_REFUSALS {
            memory.refusals.retain(|_, at_us| lately(*at_us));
        }
        memory.refusals.insert(key.clone(), now_us);
        true
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A certificate that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) fingerprint: Fingerprint,
    /// Whether its time is not over.
    pub(crate) in_time: bool,
}

/// What the store keeps of a certificate.
pub(crate) fn described(der: &[u8]) -> Result<NewCertificate, stencil_crypto::authority::Error> {
    let it = Description::of(der)?;
    let us = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    Ok(NewCertificate {
        fingerprint: it.fingerprint,
        serial: it.serial,
        key: it.key,
        not_before_us: us(it.validity.not_before_s()),
        not_after_us: us(it.validity.not_after_s()),
    })
}

/// Whether the store can be read, and takes nothing more.
fn is_full(error: &Error) -> bool {
    matches!(error, Error::DiskFull(_))
}
