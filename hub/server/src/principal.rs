//! Who speaks over an MQTT connection.

use std::fmt;

use minicbor::{Decode, Encode};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

/// An authenticated peer. The tenant comes from the credential, never from a topic or payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Principal {
    /// Whose peer it is.
    #[n(0)]
    pub tenant: TenantId,
    /// What it is within the tenant.
    #[n(1)]
    pub role: Role,
}

/// What a peer is within its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Role {
    /// A gateway with a certificate; speaks for any device of its tenant.
    #[n(0)]
    Gateway(#[n(0)] GatewayId),
    /// A device with a certificate of its own; speaks for itself.
    #[n(1)]
    Device(#[n(0)] DeviceId),
    /// A device known by a token only; speaks for itself.
    #[n(2)]
    Token(#[n(0)] DeviceId),
}

impl Principal {
    /// The gateway that it is, if it is one.
    #[must_use]
    pub fn gateway(&self) -> Option<&GatewayId> {
        match &self.role {
            Role::Gateway(gateway) => Some(gateway),
            Role::Device(_) | Role::Token(_) => None,
        }
    }

    /// The device that it is, if it is one.
    #[must_use]
    pub fn device(&self) -> Option<&DeviceId> {
        match &self.role {
            Role::Device(device) | Role::Token(device) => Some(device),
            Role::Gateway(_) => None,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Role::Gateway(gateway) => write!(f, "{}/gateway/{gateway}", self.tenant),
            Role::Device(device) => write!(f, "{}/device/{device}", self.tenant),
            Role::Token(device) => write!(f, "{}/token/{device}", self.tenant),
        }
    }
}
