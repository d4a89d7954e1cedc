//! Whether a seal says what the hub knows.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use stencil_crypto::authority::Subject;
use stencil_crypto::signature;
use stencil_proof::{Chunk, Hash, Record, Sealed, tree};
use stencil_protocol::id::Seq;
use stencil_store::{
    CertificateState, Distrust, Error, FoundSeal, NewSealMark, SealFlaw, SealKey, SealState,
    SealedRun, StoredSeal,
};

use super::{LOOK, Proofs, REST, Telling, distrust};

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
    /// It is right.
    Verified(Vec<SealedRun>),
    /// It is not, for good.
    Wrong(SealState, Vec<NewSealMark>),
    /// Something is missing that may be on its way.
    Missing(String),
}

impl Found {
    fn wrong(state: SealState, mark: NewSealMark) -> Self {
        Self::Wrong(state, vec![mark])
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
            let found = self.judge(&seal).await?;
            if let Found::Missing(_) = &found
                && self.clock.now_us().saturating_sub(seal.seal.received_us) < PATIENCE_US
            {
                waiting.later(&key);
                continue;
            }
            waiting.0.remove(&key);
            settled += usize::from(self.settle(telling, &seal, found).await?);
        }
        Ok(settled)
    }

    /// Keeps what was found, once, and tells of it: a seal that is not what the hub has is never taken in
    /// silence.
    async fn settle(
        &self,
        telling: &Telling,
        stored: &StoredSeal,
        found: Found,
    ) -> Result<bool, Error> {
        let (key, now_us) = (&stored.seal.key, self.clock.now_us());
        let (state, why, runs, marks) = match found {
            Found::Verified(runs) => (SealState::Verified, None, runs, Vec::new()),
            Found::Missing(why) => (SealState::Incomplete, Some(why), Vec::new(), Vec::new()),
            Found::Wrong(state, marks) => (state, distrust::why(&marks), Vec::new(), marks),
        };
        let audit = distrust::noted(key, &marks, now_us);
        let triggers = self.runs_of(stored, state, &marks, now_us).await?;
        let settling = FoundSeal {
            state,
            why: why.as_deref(),
            runs: &runs,
            distrust: (!marks.is_empty()).then_some(Distrust {
                marks: &marks,
                audit: &audit,
                audit_entries: telling.audit_entries,
                triggers: &triggers,
            }),
        };
        let settled = self.store.settle_seal(key, &settling, now_us).await?;
        if !settled.is_news {
            return Ok(false);
        }
        stencil_crashpoint::reach("seals.settled");
        let flaw = marks.first().map(|mark| mark.flaw);
        telling.metrics.seal(state, flaw);
        if settled.started > 0 {
            telling.metrics.runs_started(settled.started);
            telling.wakes.runner();
        }
        let SealKey {
            tenant,
            gateway,
            number,
            ..
        } = key;
        let why = why.as_deref().unwrap_or("no reason");
        match state {
            SealState::Pending | SealState::Verified => {
                tracing::debug!(%tenant, %gateway, number, "a seal is verified");
            }
            SealState::Incomplete => {
                tracing::warn!(%tenant, %gateway, number, why, "a seal cannot be verified");
            }
            SealState::Mismatch | SealState::Refused => {
                tracing::error!(%tenant, %gateway, number, why, marked = settled.is_marked,
                    "a gateway's seal is not what the hub has");
            }
        }
        Ok(true)
    }

    async fn judge(&self, stored: &StoredSeal) -> Result<Found, Error> {
        let key = &stored.seal.key;
        let Ok(Record::Sealed(sealed)) = Record::decode(&stored.seal.record) else {
            let why = "its record cannot be read";
            let mark = distrust::whole(SealFlaw::Unreadable, why, None, None);
            return Ok(Found::wrong(SealState::Refused, mark));
        };
        if !sealed.is_whole() {
            let why = "its root is not that of the chunks that came with it";
            let leaves: Vec<Hash> = sealed.chunks.iter().map(Chunk::leaf).collect();
            let (named, here) = (sealed.seal.root, tree::root(&leaves));
            let mark = distrust::whole(SealFlaw::Root, why, Some(named), Some(here));
            return Ok(Found::wrong(SealState::Mismatch, mark));
        }
        if let Some(found) = self.signed(key, &sealed).await? {
            return Ok(found);
        }
        if let Some(found) = self.follows(key, &sealed).await? {
            return Ok(found);
        }
        let (mut runs, mut marks, mut missing) = (Vec::new(), Vec::new(), None);
        for (place, chunk) in (0_u32..).zip(&sealed.chunks) {
            let device = &chunk.device;
            let had = self.leaves(&key.tenant, chunk, sealed.secret.as_ref());
            let Some(had) = had.await? else {
                let why = format!("not all that {device} said of it is here");
                missing.get_or_insert(why);
                continue;
            };
            let root = tree::root(&had.leaves);
            if root != chunk.root {
                marks.push(distrust::readings(chunk, had, &root));
                continue;
            }
            runs.extend(chunk.runs.iter().map(|run| SealedRun {
                device: device.clone(),
                boot: run.boot,
                first: run.first,
                last: Seq(run.first.0 + run.count - 1),
                chunk: place,
            }));
        }
        // What differs already does so whatever else comes.
        Ok(match (marks.is_empty(), missing) {
            (false, _) => Found::Wrong(SealState::Mismatch, marks),
            (true, Some(why)) => Found::Missing(why),
            (true, None) => Found::Verified(runs),
        })
    }

    /// Why it is not signed by a certificate of the gateway that lets it in, if so.
    async fn signed(&self, key: &SealKey, sealed: &Sealed) -> Result<Option<Found>, Error> {
        let seal = &sealed.seal;
        let fingerprint = &seal.certificate;
        let named = hex::encode(fingerprint);
        let refused = |flaw: SealFlaw, why: String| {
            let mark = distrust::whole(flaw, why, Some(*fingerprint), None);
            Ok(Some(Found::wrong(SealState::Refused, mark)))
        };
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
                let why = format!("the hub knows no certificate {named} of the gateway");
                return refused(SealFlaw::Certificate, why);
            }
            Some(it) if it.state == CertificateState::Revoked => {
                let why = format!("the certificate {named} was revoked");
                return refused(SealFlaw::Revoked, why);
            }
            Some(_) => {}
        }
        let subject = Subject::Gateway {
            tenant: key.tenant.to_string(),
            gateway: key.gateway.to_string(),
        };
        if Subject::of(&certificate).ok() != Some(subject) {
            let why = format!("the certificate {named} is not one of this gateway");
            return refused(SealFlaw::Certificate, why);
        }
        match signature::verify(&certificate, &seal.entry(), &sealed.signature) {
            Ok(()) => Ok(None),
            Err(error) => refused(SealFlaw::Signature, error.to_string()),
        }
    }

    /// Why it does not follow the seal before, if so.
    async fn follows(&self, key: &SealKey, sealed: &Sealed) -> Result<Option<Found>, Error> {
        let seal = &sealed.seal;
        let out = |why: &str, here: Option<Hash>| {
            let mark = distrust::whole(SealFlaw::Chain, why, Some(seal.previous), here);
            Ok(Some(Found::wrong(SealState::Mismatch, mark)))
        };
        if seal.number <= 1 {
            if seal.number == 1 && seal.previous == [0; 32] {
                return Ok(None);
            }
            return out("it is the first of its chain, and names one before", None);
        }
        let before = SealKey {
            number: seal.number - 1,
            ..key.clone()
        };
        match self.store.seal(&before).await? {
            Some(before) if before.seal.hash == seal.previous => Ok(None),
            Some(before) => out(
                "it is out of its chain: the seal before it is another one than it names",
                Some(before.seal.hash),
            ),
            None => Ok(Some(Found::Missing(
                "the seal before it is missing".to_owned(),
            ))),
        }
    }
}
