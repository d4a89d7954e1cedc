//! The hub's own key for devices' keys.

use std::fmt;

use stencil_crypto::seal::{Error, Place, PublicKey, SecretKey, Vault};
use stencil_crypto::{Psk, keyfile, rng};
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::Registry;

use zeroize::Zeroizing;

use crate::{Error as HubError, Layout, private};

/// What the tag of a claim code is kept as.
const CODE: &str = "claim code";
/// What the hub's own seed as an issuer is derived as.
const ISSUER: &str = "issuer of credentials";

/// The key by which the hub seals what it keeps of devices' keys, and to which they are sealed for
/// it. It lies in `keys/seal.key` of the data directory, which is in no backup; where it is missing
/// although something was sealed by it, nothing is given out or taken in until it is put back.
#[derive(Clone)]
pub(crate) struct HubKey(Option<SecretKey>);

impl HubKey {
    /// Reads the key, or makes one where nothing was sealed yet.
    pub(crate) async fn open(layout: &Layout, registry: &dyn Registry) -> Result<Self, HubError> {
        let (file, public) = (layout.seal_key(), layout.seal_public());
        if file.exists() {
            let key = SecretKey::load(&file)?;
            if !public.exists() {
                write_public(&public, &key)?;
            }
            return Ok(Self(Some(key)));
        }
        if registry.has_sealed().await? {
            tracing::error!(file = %file.display(), "the key is missing by which devices' keys are \
                sealed in the store: put it back from where you keep it apart from the backups, and \
                start again; until then no device's key is taken in or given to a gateway");
            return Ok(Self(None));
        }
        private::folder(&layout.keys())?;
        let key = SecretKey::generate(&mut rng::Os);
        key.save(&file)?;
        write_public(&public, &key)?;
        Ok(Self(Some(key)))
    }

    /// A key for a hub without a data directory.
    pub(crate) fn fresh() -> Self {
        Self(Some(SecretKey::generate(&mut rng::Os)))
    }

    /// The key; `None` where it is missing.
    pub(crate) fn get(&self) -> Option<Keys<'_>> {
        let secret = self.0.as_ref()?;
        Some(Keys {
            secret,
            vault: secret.vault(),
        })
    }

    /// The key that others seal to.
    pub(crate) fn public(&self) -> Option<PublicKey> {
        self.0.as_ref().map(SecretKey::public_key)
    }
}

impl fmt::Debug for HubKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubKey(secret)")
    }
}

/// The hub's key at work.
pub(crate) struct Keys<'a> {
    pub(crate) secret: &'a SecretKey,
    vault: Vault,
}

impl Keys<'_> {
    /// Seals the key of a device that is nobody's yet.
    pub(crate) fn lock_born(&self, identity: &DeviceId, psk: &Psk) -> Result<Vec<u8>, Error> {
        self.vault.lock(born(identity), psk, &mut rng::Os)
    }

    /// The key of a device that is nobody's yet.
    pub(crate) fn unlock_born(&self, identity: &DeviceId, locked: &[u8]) -> Result<Psk, Error> {
        self.vault.unlock(born(identity), locked)
    }

    /// Seals the key of a tenant's device.
    pub(crate) fn lock(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        generation: u64,
        psk: &Psk,
    ) -> Result<Vec<u8>, Error> {
        let place = owned(tenant, device, generation);
        self.vault.lock(place, psk, &mut rng::Os)
    }

    /// The key of a tenant's device.
    pub(crate) fn unlock(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        generation: u64,
        locked: &[u8],
    ) -> Result<Psk, Error> {
        self.vault.unlock(owned(tenant, device, generation), locked)
    }

    /// Seals the seed of a tenant's keys as an issuer of credentials.
    pub(crate) fn lock_issuer(&self, tenant: &TenantId, seed: &[u8; 32]) -> Result<Vec<u8>, Error> {
        self.vault.lock_bytes(&issuer(tenant), seed, &mut rng::Os)
    }

    /// The seed of a tenant's keys as an issuer.
    pub(crate) fn unlock_issuer(
        &self,
        tenant: &TenantId,
        locked: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, Error> {
        let bytes = self.vault.unlock_bytes(&issuer(tenant), locked)?;
        let seed = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| Error::Refused)?;
        Ok(Zeroizing::new(seed))
    }

    /// The seed of the hub's own keys as an issuer, which follows from its key.
    pub(crate) fn own_issuer(&self) -> [u8; 32] {
        self.secret.tag(ISSUER, &[])
    }

    /// What is kept of a claim code, by its digest.
    pub(crate) fn code_tag(&self, digest: &[u8; 32]) -> [u8; 32] {
        self.secret.tag(CODE, digest)
    }
}

/// Where the key of a device belongs that is born.
pub(crate) fn born(identity: &DeviceId) -> Place<'_> {
    Place {
        device: identity.as_str(),
        ..Place::default()
    }
}

/// Whose seed it is. No [`Place`] begins so: its first bytes are a length.
fn issuer(tenant: &TenantId) -> Vec<u8> {
    format!("{ISSUER} {tenant}").into_bytes()
}

fn owned<'a>(tenant: &'a TenantId, device: &'a DeviceId, generation: u64) -> Place<'a> {
    Place {
        tenant: tenant.as_str(),
        device: device.as_str(),
        generation,
        ..Place::default()
    }
}

fn write_public(path: &std::path::Path, key: &SecretKey) -> Result<(), HubError> {
    let text = format!("{}\n", key.public_key().to_hex());
    // For everybody, but in a folder that is its owner's alone.
    Ok(keyfile::write(path, text.as_bytes())?)
}
