//! Reason codes that this endpoint sends (MQTT 5 §2.4), and what goes wrong
//! with a client.

use crate::Disconnect;

/// A reason code as it goes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Code(pub(crate) u8);

impl Code {
    pub(crate) const SUCCESS: Self = Self(0x00);
    pub(crate) const MALFORMED: Self = Self(0x81);
    pub(crate) const PROTOCOL: Self = Self(0x82);
    pub(crate) const IMPLEMENTATION: Self = Self(0x83);
    pub(crate) const UNSUPPORTED_VERSION: Self = Self(0x84);
    pub(crate) const CLIENT_ID: Self = Self(0x85);
    pub(crate) const CREDENTIALS: Self = Self(0x86);
    pub(crate) const NOT_AUTHORIZED: Self = Self(0x87);
    pub(crate) const UNAVAILABLE: Self = Self(0x88);
    pub(crate) const BUSY: Self = Self(0x89);
    pub(crate) const BANNED: Self = Self(0x8a);
    pub(crate) const SHUTTING_DOWN: Self = Self(0x8b);
    pub(crate) const BAD_AUTHENTICATION_METHOD: Self = Self(0x8c);
    pub(crate) const KEEP_ALIVE: Self = Self(0x8d);
    pub(crate) const TAKEN_OVER: Self = Self(0x8e);
    pub(crate) const TOPIC_FILTER_INVALID: Self = Self(0x8f);
    pub(crate) const TOPIC_NAME_INVALID: Self = Self(0x90);
    pub(crate) const PACKET_TOO_LARGE: Self = Self(0x95);
    pub(crate) const QUOTA: Self = Self(0x97);
    pub(crate) const ADMINISTRATIVE: Self = Self(0x98);
    pub(crate) const QOS_NOT_SUPPORTED: Self = Self(0x9b);
    pub(crate) const SHARED_NOT_SUPPORTED: Self = Self(0x9e);
}

/// A client broke a rule, so its connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Fault {
    /// What a v5 client is told.
    pub(crate) code: Code,
    /// What was wrong, and what would be right. Sent as Reason String, so it
    /// names nothing that the client doesn't know.
    pub(crate) what: String,
}

impl Fault {
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
        }
    }

    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self::new(Code::MALFORMED, what)
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::new(Code::PROTOCOL, what)
    }

    pub(crate) fn reason(&self) -> Disconnect {
        if self.code == Code::NOT_AUTHORIZED {
            Disconnect::NotAuthorized
        } else {
            Disconnect::Protocol
        }
    }
}
