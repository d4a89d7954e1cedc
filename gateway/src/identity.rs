//! Who this gateway is: its certificate says it.

use std::sync::Arc;

use stencil_crypto::{
    authority::{Subject, Validity},
    tls::{self, Policy, Roots},
};
use stencil_protocol::id::{GatewayId, TenantId};

use crate::{Error, clock, options};

/// A gateway's name, and how it proves it.
pub(crate) struct Identity {
    pub(crate) gateway: GatewayId,
    pub(crate) tenant: TenantId,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    /// When the certificate ends.
    pub(crate) certificate_end_us: i64,
}

impl Identity {
    pub(crate) fn load(hub: &options::Hub) -> Result<Self, Error> {
        let roots = Roots::load(&hub.root)?;
        let own = tls::Identity::load(&hub.certificate, &hub.key)?;
        let wrong = |what: String| Error::Certificate {
            path: hub.certificate.clone(),
            what,
        };
        let leaf = own
            .chain()
            .first()
            .ok_or_else(|| wrong("it holds no certificate".into()))?;
        let subject = Subject::of(leaf).map_err(|error| wrong(error.to_string()))?;
        let Subject::Gateway { tenant, gateway } = subject else {
            return Err(wrong(
                "it is a device's certificate; make one with `stencil hub add-gateway`".into(),
            ));
        };
        let validity = Validity::of(leaf).map_err(|error| wrong(error.to_string()))?;
        let us =
            |seconds: u64| i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        clock::learn(us(validity.not_before_s()), us(validity.not_after_s()));
        let end_us = validity.not_after_s().saturating_mul(1_000_000);
        Ok(Self {
            certificate_end_us: i64::try_from(end_us).unwrap_or(i64::MAX),
            gateway: GatewayId::parse(&gateway).map_err(|error| wrong(error.to_string()))?,
            tenant: TenantId::parse(&tenant).map_err(|error| wrong(error.to_string()))?,
            tls: tls::client(Policy::Strict, &roots, Some(&own))?,
        })
    }
}
