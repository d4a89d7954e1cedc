//! The keys by which the hub and its tenants sign credentials.

use stencil_identity::did::Did;
use stencil_identity::document::Document;
use stencil_identity::multikey::Algorithm;
use stencil_identity::secret::{SEED_BYTES, SecretKey};
use stencil_protocol::id::TenantId;
use zeroize::Zeroizing;

use super::{Error, Identity};

/// What the keys are called after the DID's `#`.
const NAMES: [(&str, Algorithm); 3] = [
    ("ed25519", Algorithm::Ed25519),
    ("mldsa44", Algorithm::MlDsa44),
    ("mldsa65", Algorithm::MlDsa65),
];

/// An issuer with its keys open.
pub(super) struct Issuer {
    pub(super) did: Did,
    keys: Vec<(SecretKey, String)>,
}

impl Issuer {
    fn of(did: Did, seed: &[u8; SEED_BYTES]) -> Result<Self, Error> {
        let keys = NAMES
            .into_iter()
            .map(|(name, algorithm)| {
                let key = SecretKey::derived(algorithm, seed).map_err(Error::failed)?;
                Ok((key, did.url(name)))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { did, keys })
    }

    /// Those that make proofs: Ed25519's and ML-DSA-44's.
    pub(super) fn proving(&self) -> Vec<(&SecretKey, &str)> {
        self.keys
            .iter()
            .filter(|(key, _)| key.public_key().algorithm() != Algorithm::MlDsa65)
            .map(|(key, name)| (key, name.as_str()))
            .collect()
    }

    /// That of tokens: ML-DSA-65's.
    pub(super) fn token(&self) -> Result<(&SecretKey, &str), Error> {
        let found = self
            .keys
            .iter()
            .find(|(key, _)| key.public_key().algorithm() == Algorithm::MlDsa65);
        found
            .map(|(key, name)| (key, name.as_str()))
            .ok_or_else(|| Error::failed("no key of ML-DSA-65"))
    }

    /// What others check its signatures by.
    pub(super) fn document(&self) -> Document {
        let listed: Vec<_> = NAMES
            .iter()
            .zip(&self.keys)
            .map(|((name, _), (key, _))| (*name, key.public_key()))
            .collect();
        Document::with_keys(&self.did, &listed)
    }
}

impl Identity {
    /// A tenant as an issuer; `None`: it has issued nothing yet, and has no keys.
    pub(super) async fn issuer(&self, tenant: &TenantId) -> Result<Option<Issuer>, Error> {
        let did = self.tenant_did(tenant)?;
        match self.credentials.issuer(tenant).await? {
            None => Ok(None),
            Some(sealed) => self.open(tenant, did, &sealed).map(Some),
        }
    }

    /// A tenant as an issuer, with new keys if it has none.
    pub(super) async fn issuer_or_new(
        &self,
        tenant: &TenantId,
        now_us: i64,
    ) -> Result<Issuer, Error> {
        if let Some(issuer) = self.issuer(tenant).await? {
            return Ok(issuer);
        }
        let keys = self.key.get().ok_or(Error::NoKey)?;
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        rand_core::Rng::fill_bytes(&mut stencil_crypto::rng::Os, seed.as_mut());
        let sealed = keys.lock_issuer(tenant, &seed).map_err(Error::failed)?;
        let kept = self.credentials.put_issuer(tenant, &sealed, now_us).await?;
        stencil_crashpoint::reach("credential.issuer_kept");
        self.open(tenant, self.tenant_did(tenant)?, &kept)
    }

    fn open(&self, tenant: &TenantId, did: Did, sealed: &[u8]) -> Result<Issuer, Error> {
        let keys = self.key.get().ok_or(Error::NoKey)?;
        self.kept.has_opened();
        let seed = keys.unlock_issuer(tenant, sealed).map_err(|_| {
            Error::failed("the seed of the tenant's keys does not open by this hub's key")
        })?;
        Issuer::of(did, &seed)
    }

    /// A tenant's document; `None`: it has issued nothing yet. Its keys are opened the first time only.
    pub(super) async fn public(&self, tenant: &TenantId) -> Result<Option<Document>, Error> {
        let did = self.tenant_did(tenant)?;
        let Some(sealed) = self.credentials.issuer(tenant).await? else {
            return Ok(None);
        };
        if let Some(document) = self.kept.tenant(tenant, &sealed, did.as_str()) {
            return Ok(Some(document));
        }
        let document = self.open(tenant, did, &sealed)?.document();
        self.kept.keep_tenant(tenant, sealed, &document);
        Ok(Some(document))
    }

    /// The hub's own document, whose keys follow from its own key.
    pub(super) fn hub_public(&self) -> Result<Document, Error> {
        let did = self.hub_did()?;
        if let Some(document) = self.kept.hub(did.as_str()) {
            return Ok(document);
        }
        let keys = self.key.get().ok_or(Error::NoKey)?;
        self.kept.has_opened();
        let document = Issuer::of(did, &Zeroizing::new(keys.own_issuer()))?.document();
        self.kept.keep_hub(&document);
        Ok(document)
    }
}
