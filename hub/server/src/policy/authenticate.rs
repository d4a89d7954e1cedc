//! From a credential to a peer: a certificate of the fleet authority, or a device's token.

use std::sync::Arc;

use stencil_crypto::authority::Subject;
use stencil_mqtt::{Connect, Policy, Refused, RefusedCode, Transport};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_store::{Tenancy, TokenKind};

use super::certificates::{Admitted, Gate};
use super::permission;
use super::refused::RefusedDevices;
use super::tenants::Tenants;
use crate::clock::Clock;
use crate::grants::{Grant, Grants};
use crate::{Principal, Role};

/// A peer with the namespace of its MQTT session.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Who it is.
    pub principal: Principal,
    /// Client ids, subscriptions and retained messages are kept apart by this. One a credential,
    /// not one a tenant: nobody may end another's session by taking its client id.
    namespace: Arc<str>,
    /// Of the token that let it in, if one did.
    grant: Option<Grant>,
    /// Of the certificate that let it in, if it is a gateway's.
    admitted: Option<Admitted>,
    /// When its tenant was made, where a certificate let it in: another tenant of the name is another.
    tenant_made_us: Option<i64>,
}

impl Peer {
    /// The peer that a certificate lets in.
    #[must_use]
    fn certified(principal: Principal, admitted: Option<Admitted>, tenant_made_us: i64) -> Self {
        let namespace = namespace(&principal);
        Self {
            principal,
            namespace,
            grant: None,
            admitted,
            tenant_made_us: Some(tenant_made_us),
        }
    }
}

impl Peer {
    /// Whether it is a gateway whose certificate had ended when it came: all that it may do is have it
    /// renewed.
    fn is_late(&self) -> bool {
        self.admitted.as_ref().is_some_and(|it| !it.in_time)
    }
}

/// The namespace of a principal that a certificate lets in, where its commands are published.
pub(crate) fn namespace(principal: &Principal) -> Arc<str> {
    Arc::from(principal.to_string())
}

/// The namespace of all that a token lets in.
pub(crate) fn token_namespace(tenant: &TenantId, token: &str) -> Arc<str> {
    Arc::from(format!("{tenant}/token/{token}"))
}

/// The hub's answer to who may connect.
pub(crate) struct HubPolicy {
    tenancy: Arc<dyn Tenancy>,
    tenants: Tenants,
    grants: Grants,
    refused: RefusedDevices,
    gate: Gate,
    clock: Clock,
}

impl HubPolicy {
    /// A policy over the store's tenants and tokens.
    pub(crate) fn new(
        tenancy: Arc<dyn Tenancy>,
        tenants: Tenants,
        grants: Grants,
        refused: RefusedDevices,
        gate: Gate,
        clock: Clock,
    ) -> Self {
        Self {
            tenancy,
            tenants,
            grants,
            refused,
            gate,
            clock,
        }
    }

    /// A certificate may be older than the hub's data: its tenant must be one of this hub. Since when
    /// it is.
    async fn made_us(&self, tenant: &TenantId) -> Result<i64, Refused> {
        match self.tenants.made_us(tenant).await {
            Ok(Some(made_us)) => Ok(made_us),
            Ok(None) => Err(refused(format!(
                "certificate: this hub has no tenant {tenant}"
            ))),
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn by_token(&self, connect: &Connect<'_>) -> Result<Peer, Refused> {
        let Some(token) = connect.username.filter(|name| !name.is_empty()) else {
            return Err(refused(
                "no client certificate and no user name: a device's token goes into the user name",
            ));
        };
        let before = self.grants.revocations();
        let verify = || self.tenancy.verify_token(token, self.clock.now_us());
        match verify().await {
            Ok(Some(owner)) => match owner.kind {
                TokenKind::Device { device } => {
                    let grant = self.grants.hold(&owner.tenant, &owner.id);
                    if self.grants.revocations() != before {
                        // It may have been this one, before its grant was held.
                        let again = verify().await;
                        if again.map_err(|error| unavailable(&error))?.is_none() {
                            return Err(refused("the token was revoked or has ended just now"));
                        }
                    }
                    Ok(Peer {
                        namespace: token_namespace(&owner.tenant, &owner.id),
                        principal: Principal {
                            tenant: owner.tenant,
                            role: Role::Token(device),
                        },
                        grant: Some(grant),
                        admitted: None,
                        tenant_made_us: None,
                    })
                }
                TokenKind::Api { .. } => Err(refused(
                    "the user name is an API token, which is for HTTP; make a device token",
                )),
            },
            Ok(None) => Err(refused(
                "the user name is no token of this hub, or it was revoked or has ended",
            )),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

impl Policy for HubPolicy {
    type Principal = Peer;

    async fn authenticate(&self, connect: &Connect<'_>) -> Result<Peer, Refused> {
        let certificate = match connect.transport {
            Transport::Tls {
                certificate: Some(der),
                ..
            } => Some(der),
            _ => None,
        };
        let peer = match certificate {
            Some(der) => {
                let principal = by_certificate(der)?;
                let made_us = self.made_us(&principal.tenant).await?;
                let admitted = match principal.gateway() {
                    Some(gateway) => Some(self.gate.admit(&principal.tenant, gateway, der).await?),
                    None => {
                        self.gate.admit_device(der, made_us)?;
                        None
                    }
                };
                Peer::certified(principal, admitted, made_us)
            }
            None => self.by_token(connect).await?,
        };
        if self.refused.has(&peer.principal) {
            return Err(refused(format!("{} was revoked", peer.principal)));
        }
        Ok(peer)
    }

    fn namespace<'a>(&self, peer: &'a Peer) -> &'a str {
        &peer.namespace
    }

    fn may_publish(&self, peer: &Peer, topic: &str) -> bool {
        if peer.is_late() {
            return permission::may_publish_late(&peer.principal, topic);
        }
        permission::may_publish(&peer.principal, topic)
    }

    fn may_subscribe(&self, peer: &Peer, filter: &str) -> bool {
        if peer.is_late() {
            return permission::may_subscribe_late(&peer.principal, filter);
        }
        permission::may_subscribe(&peer.principal, filter)
    }

    fn may_stay(&self, peer: &Peer) -> bool {
        if self.refused.has(&peer.principal) {
            return false;
        }
        let admitted = peer.admitted.as_ref();
        if admitted.is_some_and(|it| !self.gate.may_stay(&it.fingerprint)) {
            return false;
        }
        match (&peer.grant, peer.tenant_made_us) {
            (Some(grant), _) => !grant.is_revoked(),
            (None, Some(made_us)) => self.tenants.has(&peer.principal.tenant, made_us),
            (None, None) => false,
        }
    }
}

/// The certificate was verified against the authority in the handshake; here it says whose it is.
fn by_certificate(der: &[u8]) -> Result<Principal, Refused> {
    let subject = Subject::of(der).map_err(|error| refused(format!("certificate: {error}")))?;
    let of = |error: stencil_protocol::id::Error| refused(format!("certificate: {error}"));
    match subject {
        Subject::Gateway { tenant, gateway } => Ok(Principal {
            tenant: TenantId::parse(&tenant).map_err(of)?,
            role: Role::Gateway(GatewayId::parse(&gateway).map_err(of)?),
        }),
        Subject::Device { tenant, device } => Ok(Principal {
            tenant: TenantId::parse(&tenant).map_err(of)?,
            role: Role::Device(DeviceId::parse(&device).map_err(of)?),
        }),
    }
}

fn unavailable(error: &stencil_store::Error) -> Refused {
    Refused::new(RefusedCode::Unavailable, format!("the store: {error}"))
}

fn refused(why: impl Into<String>) -> Refused {
    Refused::new(RefusedCode::Credentials, why)
}

#[cfg(test)]
mod tests {
    use stencil_mqtt::Version;

    use super::*;
    use crate::grants::EndingTenancy;

    #[tokio::test]
    async fn a_peer_may_stay_until_its_token_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let store = stencil_store::sqlite::open(folder.path().join("hub.db"));
        let (store, grants) = (store.await.unwrap().store(), Grants::default());
        let gate = Gate::new(&store, Clock::system(), 100);
        let tenancy = Arc::new(EndingTenancy::new(store.tenancy, grants.clone()));
        let acme = TenantId::parse("acme").unwrap();
        tenancy.create_tenant(&acme, 1).await.unwrap();
        let device = DeviceId::parse("kiosk").unwrap();
        let kind = TokenKind::Device { device };
        let issued = tenancy
            .create_token(&acme, kind, "kiosk", None, 1)
            .await
            .unwrap();
        let tenants = Tenants::new(tenancy.clone());
        let policy = HubPolicy::new(
            tenancy.clone(),
            tenants,
            grants,
            RefusedDevices::default(),
            gate,
            Clock::system(),
        );
        let connect = Connect {
            client_id: "any",
            username: Some(issued.secret.reveal()),
            password: None,
            peer: "127.0.0.1:1".parse().unwrap(),
            transport: &Transport::Plain,
            version: Version::V5,
        };
        let peer = policy.authenticate(&connect).await.unwrap();
        assert!(policy.may_stay(&peer));
        let space = token_namespace(&acme, &issued.token.id);
        assert_eq!(policy.namespace(&peer), &*space);
        tenancy
            .revoke_token(&acme, &issued.token.id, 2)
            .await
            .unwrap();
        assert!(!policy.may_stay(&peer));
        assert!(policy.authenticate(&connect).await.is_err());

        // Nor is one let in whose token has ended.
        let device = DeviceId::parse("kiosk").unwrap();
        for (end_us, is_in) in [(i64::MAX, true), (2, false)] {
            let kind = TokenKind::Device {
                device: device.clone(),
            };
            let made = tenancy.create_token(&acme, kind, "kiosk", Some(end_us), 1);
            let issued = made.await.unwrap();
            let connect = Connect {
                username: Some(issued.secret.reveal()),
                ..connect
            };
            let peer = policy.authenticate(&connect).await;
            assert_eq!(peer.is_ok(), is_in, "{end_us}");
        }
    }
}
