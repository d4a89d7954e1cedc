//! What an issuer sends: a passport for a device, a right to use one; what shows that it was issued, and why a contract
//! refuses.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, Log, U256};
use alloy_sol_types::{SolCall as _, SolError as _, SolEvent as _};
use stencil_protocol::moment;

use crate::abi::{self, refused, right};
use crate::{MAX_DID, token_of};

/// The passport of a device, to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passport {
    owner: Address,
    did: String,
    document: B256,
    token: B256,
}

/// A right to use a device, to be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    user: Address,
    passport: B256,
    ends: u64,
}

/// What no contract would issue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// Whose it would be.
    #[error("{0} is the zero address: nobody has its key")]
    Nobody(&'static str),
    /// The DID.
    #[error(
        "the DID is none that a passport is of: it begins with `did:` and has 5 to {MAX_DID} bytes, as \
         did:web:hub.example:tenants:acme:devices:locker-7"
    )]
    Did,
    /// The document's hash.
    #[error(
        "the document's SHA-256 is zero: name the hash of the document that says what the device is"
    )]
    NoDocument,
    /// The device that a right is for.
    #[error("the passport is 0: name the token of the device's passport")]
    NoPassport,
}

impl Passport {
    /// A passport of the device with this DID, whose document has this SHA-256.
    ///
    /// # Errors
    /// What the contract would refuse of anybody.
    pub fn new(owner: Address, did: &str, document: B256) -> Result<Self, Wrong> {
        if owner.is_zero() {
            return Err(Wrong::Nobody("the owner"));
        }
        let token = token_of(did).ok_or(Wrong::Did)?;
        if document.is_zero() {
            return Err(Wrong::NoDocument);
        }
        Ok(Self {
            owner,
            did: did.to_owned(),
            document,
            token,
        })
    }

    /// Its token: what the DID hashes to.
    #[must_use]
    pub fn token(&self) -> B256 {
        self.token
    }

    /// The call of `DevicePassport`.
    #[must_use]
    pub fn call(&self) -> Bytes {
        let call = abi::issueCall {
            to: self.owner,
            did: self.did.clone(),
            metadata: self.document,
        };
        call.abi_encode().into()
    }

    /// Whether a transaction's logs say that this contract has issued it.
    #[must_use]
    pub fn is_issued(&self, contract: Address, logs: &[Log]) -> bool {
        let mut of_contract = logs.iter().filter(|log| log.address == contract);
        of_contract.any(|log| {
            abi::passport::Issued::decode_log(log).is_ok_and(|log| {
                let said = &log.data;
                said.tokenId == U256::from_be_bytes(self.token.0)
                    && said.to == self.owner
                    && said.metadata == self.document
            })
        })
    }
}

impl Right {
    /// A right to use the device of this passport, up to and with the second `ends` since 1970.
    ///
    /// # Errors
    /// What the contract would refuse of anybody, whenever it is.
    pub fn new(user: Address, passport: B256, ends: u64) -> Result<Self, Wrong> {
        if user.is_zero() {
            return Err(Wrong::Nobody("the user"));
        }
        if passport.is_zero() {
            return Err(Wrong::NoPassport);
        }
        Ok(Self {
            user,
            passport,
            ends,
        })
    }

    /// The call of `AccessRight`.
    #[must_use]
    pub fn call(&self) -> Bytes {
        let call = right::issueCall {
            to: self.user,
            device: U256::from_be_bytes(self.passport.0),
            ends: self.ends,
        };
        call.abi_encode().into()
    }

    /// Its token, by a transaction's logs; `None`: they do not say that this contract has issued it.
    #[must_use]
    pub fn issued(&self, contract: Address, logs: &[Log]) -> Option<U256> {
        let mut of_contract = logs.iter().filter(|log| log.address == contract);
        of_contract.find_map(|log| {
            let said = abi::Issued::decode_log(log).ok()?.data;
            let is_this = said.device == U256::from_be_bytes(self.passport.0)
                && said.to == self.user
                && said.ends == self.ends;
            is_this.then_some(said.tokenId)
        })
    }
}

/// Why a contract does not issue, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The sender is none.
    NoIssuer {
        /// The sender.
        account: Address,
        /// The role that issuers have.
        role: B256,
    },
    /// The device has its passport.
    AlreadyIssued {
        /// Which.
        token: B256,
    },
    /// It is a contract that takes no tokens.
    TakesNone {
        /// Which.
        receiver: Address,
    },
    /// A right would be over.
    Over {
        /// Its last second, since 1970.
        ends: u64,
        /// The newest block's.
        now: U256,
    },
    /// A right would end too late.
    TooFar {
        /// Its last second, since 1970.
        ends: u64,
        /// The last one that is taken.
        latest: U256,
    },
}

impl Refusal {
    /// By the bytes that the contract gives; `None`: they say something else.
    #[must_use]
    pub fn of(data: &[u8]) -> Option<Self> {
        if let Ok(said) = refused::AccessControlUnauthorizedAccount::abi_decode(data) {
            return Some(Self::NoIssuer {
                account: said.account,
                role: said.neededRole,
            });
        }
        if let Ok(said) = refused::AlreadyIssued::abi_decode(data) {
            let token = said.tokenId.into();
            return Some(Self::AlreadyIssued { token });
        }
        if let Ok(said) = refused::ERC721InvalidReceiver::abi_decode(data) {
            let receiver = said.receiver;
            return Some(Self::TakesNone { receiver });
        }
        let said = refused::InvalidEnd::abi_decode(data).ok()?;
        let (ends, now, latest) = (said.ends, said.earliest, said.latest);
        Some(match U256::from(ends) < now {
            true => Self::Over { ends, now },
            false => Self::TooFar { ends, latest },
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIssuer { account, role } => write!(
                f,
                "{account} is no issuer of this contract: use the key of one, or have the contract's administrator \
                 make it one, by grantRole({role}, {account})"
            ),
            Self::AlreadyIssued { token } => write!(
                f,
                "the device with this DID has its passport already, token {token}, and a device has one: its owner \
                 can transfer it, and an issuer propose another document"
            ),
            Self::TakesNone { receiver } => write!(
                f,
                "{receiver} is a contract that takes no tokens (it has no onERC721Received): name an account, or a \
                 contract that does"
            ),
            Self::Over { ends, now } => write!(
                f,
                "it would end at {}, and the chain's newest block is of {}: a right ends after that",
                time(U256::from(*ends)),
                time(*now)
            ),
            Self::TooFar { ends, latest } => write!(
                f,
                "it would end at {}, and no right ends after {} that is issued now (3,660 days)",
                time(U256::from(*ends)),
                time(*latest)
            ),
        }
    }
}

/// Seconds since 1970 as people read them.
fn time(seconds: U256) -> String {
    let at_us = i64::try_from(seconds)
        .ok()
        .and_then(|at_s| at_s.checked_mul(1_000_000));
    at_us.map_or_else(
        || format!("second {seconds}"),
        |at_us| format!("{} UTC", moment::utc(at_us)),
    )
}

#[cfg(test)]
mod tests {
    use alloy_sol_types::{SolError, SolEvent};

    use super::*;

    const DID: &str = "did:web:hub.example:tenants:acme:devices:locker-7";
    const OWNER: Address = Address::repeat_byte(0x11);
    const CONTRACT: Address = Address::repeat_byte(0xcc);

    fn passport() -> Passport {
        Passport::new(OWNER, DID, B256::repeat_byte(7)).unwrap()
    }

    fn said(by: Address, event: &impl SolEvent) -> Log {
        Log {
            address: by,
            data: event.encode_log_data(),
        }
    }

    #[test]
    fn what_nobody_could_issue_is_refused_before_anybody_is_asked() {
        let hash = B256::repeat_byte(7);
        for (wrong, why) in [
            (Passport::new(Address::ZERO, DID, hash), "zero address"),
            (Passport::new(OWNER, "urn:x", hash), "begins with `did:`"),
            (Passport::new(OWNER, DID, B256::ZERO), "SHA-256 is zero"),
        ] {
            let error = wrong.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let error = Right::new(Address::ZERO, hash, 1).unwrap_err();
        assert!(error.to_string().contains("the user is the zero address"));
        assert_eq!(Right::new(OWNER, B256::ZERO, 1), Err(Wrong::NoPassport));
    }

    #[test]
    fn a_passport_is_issued_when_its_contract_says_so() {
        let passport = passport();
        let event = |to, metadata| abi::passport::Issued {
            tokenId: passport.token().into(),
            to,
            did: DID.to_owned(),
            metadata,
        };
        let right = event(OWNER, B256::repeat_byte(7));
        assert!(passport.is_issued(CONTRACT, &[said(CONTRACT, &right)]));
        for (by, event) in [
            (Address::ZERO, right),
            (CONTRACT, event(Address::ZERO, B256::repeat_byte(7))),
            (CONTRACT, event(OWNER, B256::repeat_byte(8))),
        ] {
            assert!(!passport.is_issued(CONTRACT, &[said(by, &event)]));
        }
        assert!(!passport.is_issued(CONTRACT, &[]));
    }

    #[test]
    fn a_right_is_numbered_by_its_contract() {
        let right = Right::new(OWNER, B256::repeat_byte(7), 9).unwrap();
        let event = |ends| abi::Issued {
            tokenId: U256::from(3),
            device: B256::repeat_byte(7).into(),
            to: OWNER,
            ends,
        };
        let logs = [said(CONTRACT, &event(8)), said(CONTRACT, &event(9))];
        assert_eq!(right.issued(CONTRACT, &logs), Some(U256::from(3)));
        assert_eq!(right.issued(CONTRACT, &logs[..1]), None);
        assert_eq!(right.issued(OWNER, &logs), None);
    }

    #[test]
    fn a_refusal_says_what_would_be_right() {
        let told = |data: Vec<u8>| Refusal::of(&data).map(|refusal| refusal.to_string());
        let end = |ends| {
            told(
                refused::InvalidEnd {
                    ends,
                    earliest: U256::from(1_386_018_900),
                    latest: U256::from(1_702_242_900),
                }
                .abi_encode(),
            )
        };
        for (told, part) in [
            (
                told(
                    refused::AccessControlUnauthorizedAccount {
                        account: OWNER,
                        neededRole: B256::repeat_byte(1),
                    }
                    .abi_encode(),
                ),
                "0x1111111111111111111111111111111111111111 is no issuer of this contract: use the key of one",
            ),
            (
                told(
                    refused::AlreadyIssued {
                        tokenId: U256::from(1),
                    }
                    .abi_encode(),
                ),
                "has its passport already, token 0x0000000000000000000000000000000000000000000000000000000000000001",
            ),
            (
                told(refused::ERC721InvalidReceiver { receiver: OWNER }.abi_encode()),
                "takes no tokens",
            ),
            (
                end(1_386_018_899),
                "it would end at 2013-12-02 21:14:59 UTC, and the chain's newest block is of 2013-12-02 21:15:00 UTC",
            ),
            (
                end(u64::MAX),
                "it would end at second 18446744073709551615, and no right ends after 2023-12-10 21:15:00 UTC",
            ),
        ] {
            let told = told.unwrap();
            assert!(told.contains(part), "{told}");
        }
        assert_eq!(told(vec![]), None);
        assert_eq!(told(vec![1, 2, 3, 4]), None);
    }
}
