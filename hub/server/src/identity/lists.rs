//! The status lists of tenants, made from what is stored whenever one is asked for.

use serde_json::{Map, Value};
use stencil_identity::credential::issue;
use stencil_identity::status::{self, Bits, List};
use stencil_protocol::id::TenantId;
use stencil_store::CredentialStanding;

use super::{Error, Identity, names};

/// For how long a list that was given out holds: a verifier that keeps it for longer has to ask again.
const VALID_US: i64 = 86_400_000_000;

/// What a list's bits mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Revocation,
    Suspension,
}

impl Purpose {
    pub(super) fn name(self) -> &'static str {
        status::Purpose::from(self).name()
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Revocation, Self::Suspension]
            .into_iter()
            .find(|purpose| purpose.name() == name)
    }

    fn standing(self) -> CredentialStanding {
        match self {
            Self::Revocation => CredentialStanding::Revoked,
            Self::Suspension => CredentialStanding::Suspended,
        }
    }
}

impl From<Purpose> for status::Purpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Revocation => Self::Revocation,
            Purpose::Suspension => Self::Suspension,
        }
    }
}

impl Identity {
    /// Where a tenant's list is; by https, as its DID.
    pub(super) fn list_url(
        &self,
        tenant: &TenantId,
        purpose: Purpose,
        list: u32,
    ) -> Result<String, Error> {
        Ok(format!(
            "{}/{}/{tenant}/status/{}/{list}",
            self.origin()?,
            names::TENANTS,
            purpose.name()
        ))
    }

    fn origin(&self) -> Result<String, Error> {
        let hub = names::hub(&self.url).map_err(Error::NoName)?;
        let url = hub.url();
        Ok(url
            .strip_suffix("/.well-known/did.json")
            .unwrap_or(&url)
            .to_owned())
    }

    /// The list at an address, if it is one of this hub's.
    pub(super) async fn list_at(&self, url: &str) -> Result<Option<List>, Error> {
        // A hub without a name publishes none.
        let Ok(origin) = self.origin() else {
            return Ok(None);
        };
        let Some(path) = url
            .strip_prefix(&origin)
            .and_then(|path| path.strip_prefix('/'))
        else {
            return Ok(None);
        };
        let parts: Vec<&str> = path.split('/').collect();
        let [names::TENANTS, tenant, "status", purpose, list] = parts.as_slice() else {
            return Ok(None);
        };
        let (Ok(tenant), Some(purpose), Ok(list)) = (
            TenantId::parse(tenant),
            Purpose::parse(purpose),
            list.parse::<u32>(),
        ) else {
            return Ok(None);
        };
        self.list(&tenant, purpose, list).await
    }

    /// Which bits of a tenant's list are set; none: there is no such list.
    pub(crate) async fn set_bits(
        &self,
        tenant: &TenantId,
        purpose: Purpose,
        list: u32,
    ) -> Result<Vec<u32>, Error> {
        let set = self
            .credentials
            .status_bits(tenant, list, purpose.standing());
        Ok(set.await?.unwrap_or_default())
    }

    async fn list(
        &self,
        tenant: &TenantId,
        purpose: Purpose,
        list: u32,
    ) -> Result<Option<List>, Error> {
        let set = self
            .credentials
            .status_bits(tenant, list, purpose.standing());
        match set.await? {
            Some(set) => self.list_of(tenant, purpose, &set).map(Some),
            None => Ok(None),
        }
    }

    fn list_of(&self, tenant: &TenantId, purpose: Purpose, set: &[u32]) -> Result<List, Error> {
        let mut bits = Bits::new();
        for bit in set {
            let bit = usize::try_from(*bit).map_err(Error::failed)?;
            bits.set(bit, true).map_err(Error::failed)?;
        }
        Ok(List {
            issuer: self.tenant_did(tenant)?.to_string(),
            purpose: purpose.into(),
            bits,
        })
    }

    /// A tenant's list as it is published; `None`: there is none. Unless a standing has changed it is signed
    /// once a minute, however many ask.
    pub(crate) async fn published_list(
        &self,
        tenant: &TenantId,
        purpose: Purpose,
        list: u32,
        now_us: i64,
    ) -> Result<Option<Map<String, Value>>, Error> {
        let Some(of) = self.to_be_signed(tenant, purpose, list).await? else {
            return Ok(None);
        };
        let name = (tenant, purpose, list);
        if let Some(signed) = self.kept.list(name, &of, now_us) {
            return Ok(Some(signed));
        }
        self.signed_list(name, of, now_us).await
    }

    /// The same, signed now, however short ago it was signed before: for whom its age counts.
    pub(crate) async fn list_signed_now(
        &self,
        tenant: &TenantId,
        purpose: Purpose,
        list: u32,
        now_us: i64,
    ) -> Result<Option<Map<String, Value>>, Error> {
        let Some(of) = self.to_be_signed(tenant, purpose, list).await? else {
            return Ok(None);
        };
        self.signed_list((tenant, purpose, list), of, now_us).await
    }

    /// What a list is signed of: the tenant's sealed keys, and which bits are set; `None`: there is none.
    async fn to_be_signed(
        &self,
        tenant: &TenantId,
        purpose: Purpose,
        list: u32,
    ) -> Result<Option<(Vec<u8>, Vec<u32>)>, Error> {
        let set = self
            .credentials
            .status_bits(tenant, list, purpose.standing());
        let (set, sealed) = (set.await?, self.credentials.issuer(tenant).await?);
        Ok(sealed.zip(set))
    }

    /// A list with these bits set, signed now and kept.
    async fn signed_list(
        &self,
        name: (&TenantId, Purpose, u32),
        of: (Vec<u8>, Vec<u32>),
        now_us: i64,
    ) -> Result<Option<Map<String, Value>>, Error> {
        let (tenant, purpose, list) = name;
        let Some(issuer) = self.issuer(tenant).await? else {
            return Ok(None);
        };
        let found = self.list_of(tenant, purpose, &of.1)?;
        let url = self.list_url(tenant, purpose, list)?;
        let draft = found
            .draft(&url, now_us, now_us.saturating_add(VALID_US))
            .map_err(Error::failed)?;
        let signed = issue(draft, &issuer.proving(), now_us).map_err(Error::failed)?;
        self.kept.keep_list(name, of, (now_us, signed.clone()));
        Ok(Some(signed))
    }
}
