//! Whether a holder is admitted.

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stencil_identity::credential::{self, Credential};
use stencil_identity::moment;
use stencil_identity::status::Purpose;
use stencil_wallet::{NoSignature, Signed, signed_by};

use crate::challenge::{Challenge, Unfit};
use crate::grant::{self, Grant};
use crate::trust::Trust;

/// The longest answer that is read: a credential and some hundred bytes.
pub const MAX_ANSWER_BYTES: usize = grant::MAX_BYTES + 2_048;

/// What a holder brings: the challenge as it was given, the wallet's signature of its text, and the
/// credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The challenge.
    pub challenge: Challenge,
    /// The wallet's signature of [`Challenge::text`]: `0x` and 130 hexadecimal digits, r, s, v.
    pub signature: String,
    /// The credential, as the hub has issued it.
    pub credential: Value,
}

/// Why somebody is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The answer is longer than any is.
    #[error("the answer has {0} bytes; at most {MAX_ANSWER_BYTES} are read")]
    TooLong(usize),
    /// It is no answer.
    #[error("the answer: {0}")]
    NoAnswer(String),
    /// It asks for no challenge.
    #[error("the question: {0}")]
    NoQuestion(String),
    /// The hub has not said by whom and what to go.
    #[error("this gateway admits nobody: its hub has not said whose credentials are taken here")]
    NoTerms,
    /// The gateway's clock has not been set.
    #[error("this gateway does not know what time it is, so that it cannot tell what still holds")]
    NoClock,
    /// A status list is of a time that is yet to come.
    #[error(
        "the status list {list} was made at {made}, which is yet to come by the clock of this gateway: it \
         is behind by more than {allowed_s} s, or its hub's was ahead, so that nobody can tell what still \
         holds"
    )]
    Behind {
        /// Which.
        list: String,
        /// When it was made.
        made: String,
        /// By how much clocks may differ.
        allowed_s: u32,
    },
    /// The challenge cannot be answered.
    #[error("the challenge: {0}")]
    Challenge(#[from] Unfit),
    /// It is no such credential.
    #[error("the credential: {0}")]
    NoGrant(String),
    /// It is for another device.
    #[error("the credential is for the device {found}, not for {asked}")]
    Device {
        /// For which it is.
        found: String,
        /// Which was asked for.
        asked: String,
    },
    /// It does not let its holder do that.
    #[error("the credential lets its holder say {found} to the device, not {asked}")]
    Command {
        /// What it lets it do.
        found: String,
        /// What was asked for.
        asked: String,
    },
    /// The tenant lets nobody do that by credentials.
    #[error(
        "the command {0} cannot be given by credentials here: the tenant's policy does not list it"
    )]
    NotAllowed(String),
    /// The signature is none.
    #[error("the signature: {0}")]
    Signature(String),
    /// Somebody else has signed.
    #[error(
        "{signer} has signed this, or something else than this text was signed; the credential is that \
         of {holder}"
    )]
    NotHolder {
        /// Who has.
        signer: String,
        /// Who should have.
        holder: String,
    },
    /// It names no list that says whether it is revoked.
    #[error("the credential names no status list for revocation, so that it could not be revoked")]
    NoStatus,
    /// A status list is too old.
    #[error(
        "the status list {list} was made at {made}, which is more than {allowed_s} s ago: the gateway \
         has to reach its hub before it can admit anybody"
    )]
    Stale {
        /// Which.
        list: String,
        /// When it was made.
        made: String,
        /// How old it may be.
        allowed_s: u32,
    },
    /// The credential is refused, by its proofs, its times, its issuer or its standing.
    #[error("the credential: {0}")]
    Credential(#[from] credential::Error),
}

impl Refused {
    /// A word for programs, such as `expired`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        use credential::Error as Of;
        match self {
            Self::TooLong(_) => "too_long",
            Self::NoAnswer(_) | Self::NoQuestion(_) => "malformed",
            Self::NoTerms => "not_set_up",
            Self::NoClock | Self::Behind { .. } => "no_clock",
            Self::Challenge(Unfit::Command(_)) => "malformed",
            Self::Challenge(Unfit::Used) => "nonce_used",
            Self::Challenge(Unfit::Over) => "challenge_over",
            Self::Challenge(Unfit::Busy) => "busy",
            Self::Challenge(_) => "challenge_unknown",
            Self::NoGrant(_) => "no_access_credential",
            Self::Device { .. } => "other_device",
            Self::Command { .. } => "other_command",
            Self::NotAllowed(_) => "not_allowed",
            Self::Signature(_) => "no_signature",
            Self::NotHolder { .. } => "not_the_holder",
            Self::NoStatus => "no_status",
            Self::Stale { .. } => "status_too_old",
            Self::Credential(Of::NotAccepted(_) | Of::Issuer(_)) => "other_issuer",
            Self::Credential(Of::NotYet(_)) => "not_yet_valid",
            Self::Credential(Of::Expired(_)) => "expired",
            Self::Credential(Of::Proof(_)) => "bad_proof",
            Self::Credential(Of::Revoked) => "revoked",
            Self::Credential(Of::Suspended) => "suspended",
            Self::Credential(Of::StatusUnknown { .. }) => "status_missing",
            Self::Credential(_) => "bad_credential",
        }
    }
}

/// Somebody who is admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The credential's id, the same for all credentials of a right.
    pub right: String,
    /// What it lets its holder do.
    pub grant: Grant,
    /// Until when the credential holds, µs since the epoch.
    pub until_us: Option<i64>,
}

impl Answer {
    /// Reads an answer. A credential with a name twice in one object is refused here, as what the
    /// signature is over would not be sure.
    ///
    /// # Errors
    /// [`Refused::TooLong`], [`Refused::NoAnswer`].
    pub fn parse(text: &[u8]) -> Result<Self, Refused> {
        if text.len() > MAX_ANSWER_BYTES {
            return Err(Refused::TooLong(text.len()));
        }
        let strict = stencil_identity::json::parse(text, MAX_ANSWER_BYTES)
            .map_err(|error| Refused::NoAnswer(error.to_string()))?;
        serde_json::from_value(strict).map_err(|error| {
            let form = "it has to be an object with `challenge` as it was given, `signature` and `credential`";
            // What names types of this program tells nobody anything.
            let said = error.to_string();
            Refused::NoAnswer(match said.contains("struct ") {
                true => form.to_owned(),
                false => format!("{said}; {form}"),
            })
        })
    }
}

/// Whether who brings an answer is admitted by this gateway now. That its challenge is one of the
/// gateway's, in time and not answered before, is [`crate::Desk::take`]'s to say, before this.
///
/// # Errors
/// The first of [`Refused`] that holds, what is cheap first.
pub fn admit(trust: &Trust, answer: &Answer, now_us: i64) -> Result<Admitted, Refused> {
    let Value::Object(credential) = &answer.credential else {
        let why = "it is no JSON object".to_owned();
        return Err(Refused::NoGrant(why));
    };
    let credential = Credential::from_map(credential.clone())?;
    let grant = Grant::read(&credential).map_err(|error| Refused::NoGrant(error.to_string()))?;
    let challenge = &answer.challenge;
    if grant.device != challenge.device {
        return Err(Refused::Device {
            found: grant.device.to_string(),
            asked: challenge.device.to_string(),
        });
    }
    if !grant.commands.contains(&challenge.command) {
        return Err(Refused::Command {
            found: grant.commands.join(", "),
            asked: challenge.command.clone(),
        });
    }
    let policy = trust.policy();
    if policy
        .commands
        .as_ref()
        .is_some_and(|allowed| !allowed.contains(&challenge.command))
    {
        return Err(Refused::NotAllowed(challenge.command.clone()));
    }
    let Some(right) = credential.id() else {
        return Err(Refused::NoGrant("it has no id".to_owned()));
    };
    let text = challenge.text(&trust.terms().gateway);
    is_signed(&text, grant.holder.address, &answer.signature)?;
    let statuses = credential.statuses();
    if statuses
        .iter()
        .all(|entry| entry.purpose != Purpose::Revocation)
    {
        return Err(Refused::NoStatus);
    }
    let admitted = Admitted {
        right: right.to_owned(),
        until_us: credential.valid_until_us(),
        grant,
    };
    let checked = credential.check(&trust.demand(), now_us, &trust.known, &trust.lists);
    checked?;
    // After what is wrong for good: that a list is old will pass.
    for entry in statuses {
        let made_us = trust.made_us(&entry.list).unwrap_or(i64::MIN);
        // How old it is nobody knows then.
        if trust.is_ahead(&entry.list, now_us) {
            return Err(Refused::Behind {
                list: entry.list.chars().take(200).collect(),
                made: moment::format(made_us),
                allowed_s: policy.tolerance_s,
            });
        }
        if now_us.saturating_sub(made_us) > policy.staleness_us() {
            return Err(Refused::Stale {
                list: entry.list.chars().take(200).collect(),
                made: moment::format(made_us),
                allowed_s: policy.staleness_s,
            });
        }
    }
    Ok(admitted)
}

/// Whether an account has signed a text, with its own key: a contract wallet cannot be asked without a
/// chain.
///
/// # Errors
/// [`Refused::Signature`], [`Refused::NotHolder`].
pub(crate) fn is_signed(text: &str, holder: Address, signature: &str) -> Result<(), Refused> {
    let mut bytes = [0; 65];
    let digits = signature
        .strip_prefix("0x")
        .filter(|digits| digits.len() == 130);
    if digits.is_none_or(|digits| hex::decode_to_slice(digits, &mut bytes).is_err()) {
        let why = "0x and 130 hexadecimal digits (65 bytes r, s, v) are right; a contract wallet cannot \
                   be asked without a chain";
        return Err(Refused::Signature(why.to_owned()));
    }
    let not_holder = |signer: String| Refused::NotHolder {
        signer,
        holder: holder.to_checksum(None),
    };
    match signed_by(text, holder, &bytes) {
        Ok(Signed::ByPayer) => Ok(()),
        Ok(Signed::ByAnother(signer)) => Err(not_holder(signer.to_checksum(None))),
        Ok(Signed::AskContract) => Err(not_holder("nobody".to_owned())),
        Err(error @ (NoSignature::Compact | NoSignature::Other(_))) => {
            Err(Refused::Signature(error.to_string()))
        }
        Err(error) => Err(Refused::Signature(error.to_string())),
    }
}
