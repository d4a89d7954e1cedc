//! Whether a seal says what the hub knows.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use stencil_crypto::authority::Subject;
use stencil_crypto::signature;
use stencil_proof::{Record, Sealed, tree};
use stencil_protocol::id::Seq;
use stencil_store::{
    AuditOutcome, CertificateState, Error, NewAudit, SealKey, SealState, SealedRun, StoredSeal,
};

use super::{LOOK, Proofs, REST, Telling};

/// The most seals that are pending at once.
const AT_ONCE: u32 = 65_536;
/// How long what is missing is waited for: what gathered while a hub was away comes behind what is new.
const PATIENCE_US: i64 = 6 * 3_600 * 1_000_000;
/// When what is missing is looked for again: at first, and at most.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(600);

/// Seals that wait for something: not before when they are looked at again, and how long that was.
#[derive(Debug, Default)]
pub(super) struct Waiting(HashMap<SealKey, (Instant, Duration)>);

impl Waiting {
    fn is_due(&self, key: &SealKey) -> bool {
        self.0.get(key).is_none_or(|(at, _)| *at <= Instant::now())
    }

    fn later(&mut self, key: &SealKey) {
        let pause = self
            .0
            .get(key)
            .map_or(AGAIN, |(_, pause)| (*pause * 2).min(AGAIN_MAX));
        self.0.insert(key.clone(), (Instant::now() + pause, pause));
    }
}

/// What was found.
enum Found {
    /// This, for good.
    Settled(SealState, Option<String>, Vec<SealedRun>),
    /// Something is missing that may be on its way.
    Missing(String),
}

impl Found {
    fn not(state: SealState, why: impl Into<String>) -> Self {
        Self::Settled(state, Some(why.into()), Vec::new())
    }
}

impl Proofs {
    /// Looks at the seals that were not settled; says when to look again.
    pub(super) async fn verify_pending(
        &self,
        telling: &Telling,
        waiting: &mut Waiting,
    ) -> Duration {
        match self.verify_all(telling, waiting).await {
            Ok(0) => AGAIN,
            Ok(_) => LOOK,
            Err(error) => {
                tracing::warn!(%error, "seals cannot be looked at now; trying again");
                REST
            }
        }
    }

    /// How many were settled.
    async fn verify_all(&self, telling: &Telling, waiting: &mut Waiting) -> Result<usize, Error> {
        let mut settled = 0;
        let pending = self.store.pending_seals(AT_ONCE).await?;
        if pending.is_empty() {
            waiting.0.clear();
        }
        for key in pending {
            if !waiting.is_due(&key) {
                continue;
            }
            let Some(seal) = self.store.seal(&key).await? else {
                continue;
            };
            let now_us = self.clock.now_us();
            let (state, why, runs) = match self.judge(&seal).await? {
                Found::Settled(state, why, runs) => (state, why, runs),
                Found::Missing(why) => {
                    if now_us.saturating_sub(seal.seal.received_us) < PATIENCE_US {
                        waiting.later(&key);
                        continue;
                    }
                    (SealState::Incomplete, Some(why), Vec::new())
                }
            };
            waiting.0.remove(&key);
            let is_news = self
                .store
                .settle_seal(&key, state, why.as_deref(), &runs, now_us)
                .await?;
            if is_news {
                settled += 1;
                telling.metrics.seal(state);
                self.tell(telling, &key, state, why.as_deref(), now_us)
                    .await?;
            }
        }
        Ok(settled)
    }

    /// A seal that is not what the hub knows is told, and never taken in silence.
    async fn tell(
        &self,
        telling: &Telling,
        key: &SealKey,
        state: SealState,
        why: Option<&str>,
        now_us: i64,
    ) -> Result<(), Error> {
        let SealKey {
            tenant,
            gateway,
            number,
            ..
        } = key;
        if state == SealState::Verified {
            tracing::debug!(%tenant, %gateway, number, "a seal is verified");
            return Ok(());
        }
        let why = why.unwrap_or("no reason");
        if state == SealState::Incomplete {
            tracing::warn!(%tenant, %gateway, number, why, "a seal cannot be verified");
            return Ok(());
        }
        tracing::error!(%tenant, %gateway, number, why, "a gateway's seal is not what the hub knows");
        let entry = NewAudit {
            at_us: now_us,
            who: format!("gateway {gateway}"),
            action: "gateways.seal".to_owned(),
            target: Some(format!("{gateway} {number}")),
            outcome: AuditOutcome::Refused,
            detail: Some(why.to_owned()),
            address: None,
        };
        self.audit.note(tenant, &entry, telling.audit_entries).await
    }

    async fn judge(&self, stored: &StoredSeal) -> Result<Found, Error> {
        let key = &stored.seal.key;
        let Ok(Record::Sealed(sealed)) = Record::decode(&stored.seal.record) else {
            return Ok(Found::not(SealState::Refused, "its record cannot be read"));
        };
        if !sealed.is_whole() {
            let why = "its root is not that of the chunks that came with it";
            return Ok(Found::not(SealState::Mismatch, why));
        }
        if let Some(found) = self.signed(key, &sealed).await? {
            return Ok(found);
        }
        if let Some(found) = self.follows(key, &sealed).await? {
            return Ok(found);
        }
        let mut runs = Vec::new();
        for (place, chunk) in (0_u32..).zip(&sealed.chunks) {
            let device = &chunk.device;
            let Some(leaves) = self.leaves(&key.tenant, chunk).await? else {
                let why = format!("not all that {device} said of it is here");
                return Ok(Found::Missing(why));
            };
            if tree::root(&leaves) != chunk.root {
                let why = format!(
                    "what {device} said is something else here: {} readings do not give the root that \
                     the gateway has signed",
                    chunk.readings
                );
                return Ok(Found::not(SealState::Mismatch, why));
            }
            runs.extend(chunk.runs.iter().map(|run| SealedRun {
                device: device.clone(),
                boot: run.boot,
                first: run.first,
                last: Seq(run.first.0 + run.count - 1),
                chunk: place,
            }));
        }
        Ok(Found::Settled(SealState::Verified, None, runs))
    }

    /// Why it is not signed by a certificate of the gateway that lets it in, if so.
    async fn signed(&self, key: &SealKey, sealed: &Sealed) -> Result<Option<Found>, Error> {
        let seal = &sealed.seal;
        let fingerprint = &seal.certificate;
        let named = hex::encode(fingerprint);
        let refused = |why: String| Ok(Some(Found::not(SealState::Refused, why)));
        let found = self
            .store
            .sealing_key(&key.tenant, &key.gateway, fingerprint)
            .await?;
        let Some(certificate) = found else {
            let why = format!("the gateway has not shown the certificate {named}");
            return Ok(Some(Found::Missing(why)));
        };
        let known = self
            .certificates
            .certificates(&key.tenant, &key.gateway)
            .await?;
        match known.iter().find(|it| it.fingerprint == *fingerprint) {
            None => {
                return refused(format!(
                    "the hub knows no certificate {named} of the gateway"
                ));
            }
            Some(it) if it.state == CertificateState::Revoked => {
                return refused(format!("the certificate {named} was revoked"));
            }
            Some(_) => {}
        }
        let subject = Subject::Gateway {
            tenant: key.tenant.to_string(),
            gateway: key.gateway.to_string(),
        };
        if Subject::of(&certificate).ok() != Some(subject) {
            return refused(format!(
                "the certificate {named} is not one of this gateway"
            ));
        }
        match signature::verify(&certificate, &seal.entry(), &sealed.signature) {
            Ok(()) => Ok(None),
            Err(error) => refused(error.to_string()),
        }
    }

    /// Why it does not follow the seal before, if so.
    async fn follows(&self, key: &SealKey, sealed: &Sealed) -> Result<Option<Found>, Error> {
        let seal = &sealed.seal;
        if seal.number <= 1 {
            let good = seal.number == 1 && seal.previous == [0; 32];
            let why = "it is the first of its chain, and names one before";
            return Ok((!good).then(|| Found::not(SealState::Mismatch, why)));
        }
        let before = SealKey {
            number: seal.number - 1,
            ..key.clone()
        };
        match self.store.seal(&before).await? {
            Some(before) if before.seal.hash == seal.previous => Ok(None),
            Some(_) => {
                let why = "it is out of its chain: the seal before it is another one than it names";
                Ok(Some(Found::not(SealState::Mismatch, why)))
            }
            None => Ok(Some(Found::Missing(
                "the seal before it is missing".to_owned(),
            ))),
        }
    }
}
