//! Credentials of rights to command devices: one stands for the right, and short-lived ones with its id and
//! bit are signed whenever its holder asks.

use serde_json::{Map, Value};
use stencil_access::Grant;
use stencil_access::grant::KIND;
use stencil_access::trust::{Key, MAX_NEWEST, Policy, Terms};
use stencil_identity::credential::issue;
use stencil_identity::status;
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_store::{
    AccessRights, CredentialStanding, KeptCredential, NewRight, StoredCredential, StoredRight,
};

use super::issue::{DRAWS, draw, urn};
use super::lists::Purpose;
use super::{Error, Identity};

/// A right that is to be kept with its credential.
pub(crate) struct ToIssue<'a> {
    /// What it says.
    pub(crate) grant: &'a Grant,
    /// Names the cause, so that it gives one right.
    pub(crate) cause: Option<&'a str>,
    /// When it is given, and until when its first credential holds.
    pub(crate) times: (i64, i64),
    /// Until when it holds itself.
    pub(crate) until_us: Option<i64>,
}

impl Identity {
    /// Keeps a right with its credential, or finds those that its cause has made before; `right` is what is
    /// kept of it, by its credential. Gives its id, and whether it is new.
    pub(crate) async fn issue_right(
        &self,
        access: &dyn AccessRights,
        tenant: &TenantId,
        of: &ToIssue<'_>,
        right: impl Fn(&StoredCredential) -> NewRight + Send,
    ) -> Result<(String, bool), Error> {
        let (grant, cause, (from_us, until_us)) = (of.grant, of.cause, of.times);
        if let Some(cause) = cause
            && let Some(before) = self.credentials.credential_of_cause(tenant, cause).await?
        {
            // Before they were kept together, a kill could leave a credential without its right.
            let is_new = access.put_right(tenant, &right(&before)).await?;
            return Ok((before.credential, is_new));
        }
        if !self.has_device(tenant, &grant.device).await? {
            return Err(Error::NotFound {
                what: "device",
                name: grant.device.to_string(),
            });
        }
        // The keys are made with the first one.
        self.issuer_or_new(tenant, from_us).await?;
        let list = self.credentials.open_status_list(tenant).await?;
        let id = urn();
        for _ in 0..DRAWS {
            let bit = draw();
            let body = self.signed_right(tenant, grant, &id, (list, bit), (from_us, until_us));
            let stored = StoredCredential {
                credential: id.clone(),
                kind: KIND.to_owned(),
                subject: grant.subject().to_string(),
                list,
                bit,
                standing: CredentialStanding::Good,
                cause: cause.map(str::to_owned),
                issued_by: None,
                body: Value::Object(body.await?).to_string(),
                issued_us: from_us,
                valid_until_us: of.until_us,
                changed_us: from_us,
            };
            let kept = access.issue_right(tenant, &stored, &right(&stored)).await?;
            match kept {
                KeptCredential::Made => return Ok((id, true)),
                KeptCredential::Before(before) => {
                    let is_new = access.put_right(tenant, &right(&before)).await?;
                    return Ok((before.credential, is_new));
                }
                KeptCredential::BitTaken => {}
            }
        }
        Err(Error::failed("no free bit of the status list was found"))
    }

    /// A short-lived credential of a right that was given.
    pub(crate) async fn renewed_right(
        &self,
        right: &StoredRight,
        grant: &Grant,
        times: (i64, i64),
    ) -> Result<Map<String, Value>, Error> {
        let place = (right.list, right.bit);
        self.signed_right(&right.tenant, grant, &right.right.right, place, times)
            .await
    }

    async fn signed_right(
        &self,
        tenant: &TenantId,
        grant: &Grant,
        id: &str,
        (list, bit): (u32, u32),
        times: (i64, i64),
    ) -> Result<Map<String, Value>, Error> {
        let issuer = self.issuer_or_new(tenant, times.0).await?;
        let entry = |purpose: Purpose| {
            Ok::<_, Error>(status::Entry {
                purpose: purpose.into(),
                list: self.list_url(tenant, purpose, list)?,
                index: usize::try_from(bit).map_err(Error::failed)?,
            })
        };
        let statuses = vec![entry(Purpose::Revocation)?, entry(Purpose::Suspension)?];
        let draft = grant
            .draft(id, issuer.did.as_str(), times, statuses)
            .map_err(|error| Error::Invalid(error.to_string()))?;
        issue(draft, &issuer.proving(), times.0).map_err(Error::failed)
    }

    /// By whom and what a gateway goes, by the status lists of these numbers, the newest first; `None`: the tenant has issued nothing yet.
    pub(crate) async fn terms(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        policy: Policy,
        lists: &[u32],
    ) -> Result<Option<Terms>, Error> {
        let Some(issuer) = self.issuer(tenant).await? else {
            return Ok(None);
        };
        let keys = issuer.proving().into_iter().map(|(key, name)| Key {
            name: name
                .split_once('#')
                .map_or(name, |(_, name)| name)
                .to_owned(),
            key: key.public_key().to_string(),
        });
        let keys = keys.collect();
        let mut urls = Vec::with_capacity(lists.len() * 2);
        for list in lists {
            for purpose in [Purpose::Revocation, Purpose::Suspension] {
                urls.push(self.list_url(tenant, purpose, *list)?);
            }
        }
        let older = urls.split_off(urls.len().min(MAX_NEWEST));
        Ok(Some(Terms {
            gateway: self.gateway_did(tenant, gateway)?.to_string(),
            issuer: issuer.did.to_string(),
            keys,
            policy,
            lists: urls,
            older,
        }))
    }
}
