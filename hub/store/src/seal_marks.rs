//! Seals that are not what the hub has: marks that stay until somebody has looked at them.

use serde::Serialize;
use stencil_protocol::id::{DeviceId, GatewayId};

use crate::proofs::{SealKey, SealState, SealedRun};
use crate::{NewAudit, Trigger};

/// The most marks of one gateway: beyond that its seals are counted, and not marked. So a gateway that makes
/// up seals fills neither the store nor the audit log, and what began it stays to be seen.
pub const MAX_SEAL_MARKS: u32 = 256;

/// In what a seal is not what the hub has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SealFlaw {
    /// It cannot be read.
    Unreadable,
    /// Its root is not that of the chunks that came with it.
    Root,
    /// Its certificate is none of the gateway's that the hub knows.
    Certificate,
    /// Its certificate was revoked.
    Revoked,
    /// The key of its certificate has not signed it.
    Signature,
    /// It names another seal before it than the hub has.
    Chain,
    /// A device's readings give another root than it names.
    Readings,
}

impl SealFlaw {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Unreadable,
        Self::Root,
        Self::Certificate,
        Self::Revoked,
        Self::Signature,
        Self::Chain,
        Self::Readings,
    ];

    /// The name as stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Root => "root",
            Self::Certificate => "certificate",
            Self::Revoked => "revoked",
            Self::Signature => "signature",
            Self::Chain => "chain",
            Self::Readings => "readings",
        }
    }

    /// The flaw of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// What is wrong with a seal, or with a device's readings in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSealMark {
    /// Whose readings; `None`: it is the seal as a whole.
    pub device: Option<DeviceId>,
    /// In what.
    pub flaw: SealFlaw,
    /// The same in words.
    pub why: String,
    /// What it says, and what the hub has: JSON.
    pub differs: String,
}

/// A mark that nobody has cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealMark {
    /// Which seal.
    pub key: SealKey,
    /// What is wrong.
    pub mark: NewSealMark,
    /// When it was found.
    pub at_us: i64,
}

/// Which marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealMarkFilter {
    /// Of seals of this gateway.
    pub gateway: Option<GatewayId>,
    /// Of this device's readings; with a gateway that it is behind, also of its seals as a whole.
    pub device: Option<(DeviceId, Option<GatewayId>)>,
}

/// What is done with a seal that is wrong, as long as its gateway has room for marks: all of it with what
/// was found, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Distrust<'a> {
    /// What is wrong, at least one.
    pub marks: &'a [NewSealMark],
    /// What stands in the tenant's audit log.
    pub audit: &'a NewAudit,
    /// The most entries of that.
    pub audit_entries: u32,
    /// Runs to start; one that is there is left alone.
    pub triggers: &'a [Trigger],
}

/// What was found of a seal.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundSeal<'a> {
    /// How it is.
    pub state: SealState,
    /// Why.
    pub why: Option<&'a str>,
    /// Which numbers it is over, if it is verified.
    pub runs: &'a [SealedRun],
    /// If it is wrong.
    pub distrust: Option<Distrust<'a>>,
}

/// What came of saying what was found of a seal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SettledSeal {
    /// It was pending, and is not any more.
    pub is_news: bool,
    /// It is marked, and the audit log has it.
    pub is_marked: bool,
    /// How many runs it has started.
    pub started: u64,
}
