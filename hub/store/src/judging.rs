//! How rights to command devices stood when, and receipts that are judged again because of it.
//!
//! A right's standings are in two tracks, each in the order of time: by hand (suspended, held again,
//! revoked), and by what the right was given for (sold, taken back, held again, given up). They are two,
//! since either may become known late and says nothing of the other. Where a track says nothing the right
//! holds. A standing by cause may be known later than it is in force from; what the track said of the
//! time from then on is replaced by it.
//!
//! Of each track the newest [`MAX_STANDINGS`] are kept, the oldest of these as
//! [`RightStanding::Unknown`]: of that time it is not known any more how the right stood, and nobody is
//! accused of anything for it. How it stands now is always kept.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::{GatewayId, TenantId};

use crate::{CredentialStanding, Error, StandingSet, StoredReceipt};

/// The standings of one track of a right that are kept.
pub const MAX_STANDINGS: u32 = 32;

/// How a right stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AccessRightStanding)]
pub enum RightStanding {
    /// It holds.
    Held,
    /// Somebody has suspended it.
    Suspended,
    /// Somebody has taken it away, for good.
    Revoked,
    /// The token that it is of is another's.
    Sold,
    /// What it was given for has left its chain.
    TakenBack,
    /// The same, for good.
    GivenUp,
    /// The token that it is of gives it no more, by what the tenant has set.
    NotAllowed,
    /// It can't be said: who holds its token was not known then, or how it stood is not kept any more.
    Unknown,
}

impl RightStanding {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Held,
        Self::Suspended,
        Self::Revoked,
        Self::Sold,
        Self::TakenBack,
        Self::GivenUp,
        Self::NotAllowed,
        Self::Unknown,
    ];

    /// The name as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Sold => "sold",
            Self::TakenBack => "taken_back",
            Self::GivenUp => "given_up",
            Self::NotAllowed => "not_allowed",
            Self::Unknown => "unknown",
        }
    }

    /// The standing of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// How its credential stands with it.
    #[must_use]
    pub fn credential(self) -> CredentialStanding {
        match self {
            Self::Held => CredentialStanding::Good,
            Self::Suspended | Self::Sold | Self::TakenBack | Self::NotAllowed | Self::Unknown => {
                CredentialStanding::Suspended
            }
            Self::Revoked | Self::GivenUp => CredentialStanding::Revoked,
        }
    }

    /// Whether it is so because what the right was given for is gone: it may hold again.
    #[must_use]
    pub fn is_taken(self) -> bool {
        matches!(
            self,
            Self::Sold | Self::TakenBack | Self::NotAllowed | Self::Unknown
        )
    }

    /// Whether it speaks against each use of the right, also before it: what the right was given for was
    /// never there.
    #[must_use]
    pub fn is_from_the_start(self) -> bool {
        matches!(self, Self::TakenBack | Self::GivenUp)
    }
}

/// A standing of a right's, up to the next one of its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoodAs {
    /// Whether what the right was given for is the reason, and not somebody.
    pub by_cause: bool,
    /// How it stood.
    pub standing: RightStanding,
    /// From when, µs since the epoch.
    pub from_us: i64,
    /// When the hub heard of it.
    pub known_us: i64,
}

/// A right whose receipts are to be judged again, and the next of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToJudge {
    /// Whose.
    pub tenant: TenantId,
    /// The right.
    pub right: String,
    /// For which reason, counted.
    pub turn: u64,
    /// The next receipts, in the order of their times.
    pub receipts: Vec<StoredReceipt>,
    /// Whether these are the last ones.
    pub is_last: bool,
}

/// What a receipt is judged to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Which gateway has noted it.
    pub gateway: GatewayId,
    /// In which chain.
    pub chain: String,
    /// The number in it.
    pub number: u64,
    /// Why its holder should not have been admitted; `None`: nothing speaks against it.
    pub conflict: Option<String>,
    /// Whether workflows were told that it conflicts, now or before.
    pub told: bool,
}

/// Standings of rights, and what follows from them for receipts.
#[async_trait]
pub trait Judging: Send + Sync + 'static {
    /// Sets how a right stands by what it was given for: how it did, each with the time from which on, in
    /// the order of these, and at last how it does now. In one transaction with that its credential stands
    /// so, if nobody has suspended it by hand, and that receipts of that time are judged again. Times are
    /// taken for no later than `now_us`. [`StandingSet::Revoked`]: it was taken away for good, and stays so; what is
    /// told of it is kept, and its receipts are judged by it.
    async fn set_by_cause(
        &self,
        tenant: &TenantId,
        right: &str,
        stood: &[(RightStanding, i64)],
        now_us: i64,
    ) -> Result<StandingSet, Error>;

    /// How a right stood, each track in the order of time.
    async fn standings(&self, tenant: &TenantId, right: &str) -> Result<Vec<StoodAs>, Error>;

    /// The right that waits longest for its receipts to be judged again, with the next `limit` of
    /// them; `None`: none waits.
    async fn to_judge(&self, limit: u32) -> Result<Option<ToJudge>, Error>;

    /// Keeps what the receipts of `of` are judged to be, and goes on after them. `false`: there is a
    /// reason more since, and nothing is changed.
    async fn judged(&self, of: &ToJudge, judged: &[Judged]) -> Result<bool, Error>;
}
