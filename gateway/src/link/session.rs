//! The secured side of a link: at most one session that is in use, and one that a device has
//! begun but not confirmed.
//!
//! Messages to resume that somebody recorded and sends again are answered like fresh ones, but
//! lead to no record that opens. So a new session takes the place of the one in use only with
//! its first record, and a link that works cannot be cut off by replays.

use stencil_crypto::link::{self, Session};
use stencil_protocol::{
    frame,
    id::DeviceId,
    link::{Down, MAX_MESSAGE_BYTES},
};

use crate::psk::{Missing, Used};

/// Why a handshake was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("not a message of a handshake here: {0}")]
    Hello(link::Error),
    #[error("a first message of version 1, and only version {version} is spoken here", version = link::VERSION)]
    Old,
    #[error("device {0}: its session cannot be resumed, a handshake is needed")]
    NotKept(DeviceId),
    #[error("its identity is no device id: {0}")]
    Identity(stencil_protocol::id::Error),
    #[error("device {device}: {why}")]
    Key { device: DeviceId, why: Missing },
    #[error("device {device}: {why}")]
    Proof { device: DeviceId, why: link::Error },
    #[error(
        "device {device}: {why}. It has got key {generation} since it was provisioned: if it was wiped, \
         or is other hardware, `stencil device replace {device}` lets it in"
    )]
    Renewed {
        device: DeviceId,
        generation: u64,
        why: link::Error,
    },
}

impl Refusal {
    /// What it is counted as in the log.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::Hello(_) => "handshake refused: not a message of a handshake here",
            Self::Old => "handshake refused: version 1",
            Self::NotKept(_) => "handshake refused: not resumed",
            Self::Identity(_) => "handshake refused: no device id",
            Self::Key { .. } => "handshake refused: no key",
            Self::Proof { .. } => "handshake refused: another key",
            Self::Renewed { .. } => "handshake refused: a key of before",
        }
    }

    /// The one byte of a `Refused` frame. Who asks learns nothing about which devices there are.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Old
            | Self::Hello(link::Error::Version(_) | link::Error::Suite(_) | link::Error::NoSuite) => {
                REFUSED_SUITE
            }
            Self::Hello(_) | Self::Identity(_) => REFUSED_HELLO,
            Self::Key { .. } | Self::Proof { .. } | Self::Renewed { .. } | Self::NotKept(_) => {
                REFUSED_KEY
            }
        }
    }
}

/// The message cannot be read, or its cookie is not of this link or too old.
pub(crate) const REFUSED_HELLO: u8 = 1;
/// The device or its key is not known here, or there is nothing to resume.
pub(crate) const REFUSED_KEY: u8 = 2;
/// No version or no suite in common.
pub(crate) const REFUSED_SUITE: u8 = 3;
/// A record came, but there is no session: the device has to make a handshake.
pub(crate) const REFUSED_NO_SESSION: u8 = 4;

/// Who has come, and by which key.
pub(crate) struct Who {
    pub(crate) device: DeviceId,
    pub(crate) used: Used,
}

/// A session and whose it is.
pub(crate) struct Secured {
    pub(crate) device: DeviceId,
    /// By which key.
    pub(crate) used: Used,
    pub(crate) session: Session,
}

impl Secured {
    pub(crate) fn new(who: Who, session: Session) -> Self {
        let Who { device, used } = who;
        Self {
            device,
            used,
            session,
        }
    }

    /// The record of a message.
    pub(crate) fn seal(&mut self, message: &Down<'_>) -> Result<Vec<u8>, SealError> {
        let mut plain = [0; MAX_MESSAGE_BYTES];
        let length = message.encode(&mut plain)?;
        let mut record = vec![0; length + link::RECORD_OVERHEAD_BYTES];
        let length = self.session.seal(&plain[..length], &mut record)?;
        record.truncate(length);
        Ok(record)
    }

    /// The message in a record, into `out`; says how long it is.
    pub(crate) fn open(&mut self, record: &[u8], out: &mut Plain) -> Result<usize, link::Error> {
        self.session.open(record, out)
    }
}

/// The device of an identity.
pub(super) fn device(identity: &[u8]) -> Result<DeviceId, Refusal> {
    let identity = std::str::from_utf8(identity)
        .map_err(|_| Refusal::Identity(stencil_protocol::id::Error::Character { at: 0 }))?;
    DeviceId::parse(identity).map_err(Refusal::Identity)
}

/// Room for a message that came.
pub(crate) type Plain = [u8; frame::MAX_PAYLOAD];

/// Why a message could not be sealed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("a message cannot be written: {0}")]
    Message(#[from] stencil_protocol::link::Error),
    #[error("a record cannot be sealed: {0}")]
    Record(#[from] link::Error),
}
