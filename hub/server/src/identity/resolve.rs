//! Which document a DID leads to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use stencil_identity::did::Did;
use stencil_identity::document::{Document, Unresolved};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_store::CertificateState;

use super::names::{self, Whose};
use super::{Error, Identity};

impl Identity {
    /// The DID of a tenant's device.
    pub(crate) fn device_did(&self, tenant: &TenantId, device: &DeviceId) -> Result<Did, Error> {
        self.below(tenant, "devices", device.as_str())
    }

    /// The DID of a tenant's gateway.
    pub(crate) fn gateway_did(&self, tenant: &TenantId, gateway: &GatewayId) -> Result<Did, Error> {
        self.below(tenant, "gateways", gateway.as_str())
    }

    fn below(&self, tenant: &TenantId, kind: &str, id: &str) -> Result<Did, Error> {
        let hub = names::hub(&self.url).map_err(Error::NoName)?;
        hub.below(&[names::TENANTS, tenant.as_str(), kind, id])
            .map(Did::from_web)
            .map_err(Error::failed)
    }

    /// The hub's own document.
    pub(crate) fn hub_document(&self) -> Result<Value, Error> {
        Ok(self.hub_public()?.as_value().clone())
    }

    /// A tenant's document, for everybody; `None`: it has issued nothing, or there is no such tenant.
    pub(crate) async fn tenant_document(&self, tenant: &TenantId) -> Result<Option<Value>, Error> {
        let document = self.public(tenant).await?;
        Ok(document.map(|document| document.as_value().clone()))
    }

    /// What checking a proof needs of a DID: documents with keys, of whoever it is.
    pub(super) async fn keys_of(&self, did: &Did) -> Result<Result<Document, Unresolved>, Error> {
        if let Some(document) = Document::of(did) {
            return Ok(Ok(document));
        }
        let away = |why: &str| Unresolved::Unreachable {
            did: did.to_string(),
            why: why.to_owned(),
        };
        // Without a name of its own the hub has no documents, and all are others'.
        let hub = names::hub(&self.url).ok();
        Ok(match hub.and_then(|hub| names::whose(&hub, did)) {
            Some(Whose::Hub) => Ok(self.hub_public()?),
            Some(Whose::Tenant(tenant)) => {
                let none = || away("nobody of that name has issued anything at this hub");
                let Ok(tenant) = TenantId::parse(tenant) else {
                    return Ok(Err(none()));
                };
                match self.public(&tenant).await? {
                    Some(document) => Ok(document),
                    None if self.credentials.has_issued(&tenant).await? => Err(Unresolved::Gone {
                        did: did.to_string(),
                        why: format!(
                            "the tenant {tenant} was erased, and its keys with it, so that what it \
                                 has issued can be checked no more"
                        ),
                    }),
                    None => Err(none()),
                }
            }
            Some(Whose::Gateway(..) | Whose::Device(..)) => {
                Err(away("gateways and devices sign no credentials at this hub"))
            }
            None => Err(away("this hub does not fetch documents from elsewhere")),
        })
    }

    /// The document of any DID that this hub knows, for somebody of `tenant`: their own gateways and
    /// devices, too, of nobody else's.
    pub(crate) async fn resolve(&self, tenant: &TenantId, did: &Did) -> Result<Value, Error> {
        let not_found = || Error::NotFound {
            what: "DID",
            name: did.to_string(),
        };
        let hub = names::hub(&self.url).map_err(Error::NoName)?;
        match names::whose(&hub, did) {
            Some(Whose::Gateway(owner, gateway)) if owner == tenant.as_str() => {
                let gateway = GatewayId::parse(gateway).map_err(|_| not_found())?;
                self.gateway_document(tenant, did, &gateway)
                    .await?
                    .ok_or_else(not_found)
            }
            Some(Whose::Device(owner, device)) if owner == tenant.as_str() => {
                let device = DeviceId::parse(device).map_err(|_| not_found())?;
                if !self.has_device(tenant, &device).await? {
                    return Err(not_found());
                }
                self.thing(tenant, did, Vec::new())
            }
            Some(Whose::Gateway(..) | Whose::Device(..)) => Err(not_found()),
            _ => match self.keys_of(did).await? {
                Ok(document) => Ok(document.as_value().clone()),
                Err(error) => Err(Error::NoDocument(error)),
            },
        }
    }

    /// Whether the tenant has this device: heard of, or taken in and not heard of yet.
    pub(super) async fn has_device(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<bool, Error> {
        Ok(self.devices.get(tenant, device).await?.is_some()
            || self.registry.registration(tenant, device).await?.is_some())
    }

    /// A gateway is who holds a key of these certificates, by their names as hashes (RFC 6920).
    async fn gateway_document(
        &self,
        tenant: &TenantId,
        did: &Did,
        gateway: &GatewayId,
    ) -> Result<Option<Value>, Error> {
        if self.gateways.gateway(tenant, gateway).await?.is_none() {
            return Ok(None);
        }
        let certificates = self.certificates.certificates(tenant, gateway).await?;
        let names = certificates
            .iter()
            .filter(|one| {
                matches!(
                    one.state,
                    CertificateState::Issued | CertificateState::Current
                )
            })
            .map(|one| {
                format!(
                    "ni:///sha-256;{}?ct=application/pkix-cert",
                    URL_SAFE_NO_PAD.encode(one.fingerprint)
                )
            })
            .collect();
        self.thing(tenant, did, names).map(Some)
    }

    /// A thing of a tenant's, which speaks for it.
    fn thing(
        &self,
        tenant: &TenantId,
        did: &Did,
        also_known_as: Vec<String>,
    ) -> Result<Value, Error> {
        let mut document = json!({
            "@context": ["https://www.w3.org/ns/did/v1"],
            "id": did.as_str(),
            "controller": self.tenant_did(tenant)?.as_str(),
        });
        if !also_known_as.is_empty() {
            document["alsoKnownAs"] = json!(also_known_as);
        }
        Ok(document)
    }
}
