//! What a gateway notes of each admission, chained and signed.
//!
//! A receipt is JSON in its canonical form (RFC 8785). It holds the SHA-256 of the one before, so that
//! none can be taken out, changed or put in without all later ones changing; the gateway signs the
//! newest one's hash (ML-DSA-65, its certificate's key). It holds the wallet's own signature, too, of a
//! text with its time and a nonce, so that a gateway cannot note what no holder has asked for then.

use alloy_primitives::Address;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stencil_identity::json;
use stencil_identity::moment;
use stencil_identity::multikey::{Algorithm, PublicKey};
use stencil_protocol::id::DeviceId;

use crate::admit::is_signed;
use crate::challenge::{Challenge, LIFE_US};

/// The longest receipt, in bytes.
pub const MAX_BYTES: usize = 2_048;
/// The most receipts that are brought at once.
pub const MAX_AT_ONCE: usize = 16;
/// The longest message with receipts, in bytes.
pub const MAX_BATCH_BYTES: usize = 60 * 1024;
/// The hash before the first receipt.
pub const NOTHING: [u8; 32] = [0; 32];

/// What can become of the command of an admission.
pub const OUTCOMES: [&str; 4] = ["done", "failed", "expired", "unknown"];

/// What was signed begins with this: the key that signs it signs other things, too (TLS, requests for
/// certificates, seals), none of which begins so.
const SIGNED: &[u8] = b"stencil access receipts v1\0";

/// An admission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The chain of receipts: 32 hexadecimal digits that the gateway has drawn when it began it.
    pub chain: String,
    /// The number in it, from 1.
    pub number: u64,
    /// The SHA-256 of the receipt before, in hexadecimal digits.
    pub previous: String,
    /// When somebody was admitted, µs since the epoch, by the gateway's clock.
    pub at_us: i64,
    /// The gateway's DID, as the text named it that was signed.
    pub gateway: String,
    /// The challenge that was answered.
    pub challenge: Challenge,
    /// The credential's id.
    pub right: String,
    /// Who was admitted, with checksum.
    pub holder: String,
    /// The wallet's signature.
    pub signature: String,
    /// The id of the command that the device was given: 32 hexadecimal digits.
    pub command: String,
    /// Until when the device may begin it, µs since the epoch.
    pub expires_us: i64,
    /// The chain that the gateway has left for this one, up to where it knew it; of the first receipt of a
    /// chain alone, and where there was one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Head>,
}

/// Where a chain ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Which.
    pub chain: String,
    /// The number of its last receipt; 0: there is none.
    pub number: u64,
    /// That one's SHA-256, in hexadecimal digits.
    pub hash: String,
}

/// Receipts that follow each other, the last of which is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Each as its canonical text.
    pub receipts: Vec<String>,
    /// What became of each one's command: `done`, `failed`, `expired` (nobody began it), or `unknown`.
    pub outcomes: Vec<String>,
    /// The gateway's certificate, DER in base64url.
    pub certificate: String,
    /// Its key's signature of the last one's place and hash, in base64url.
    pub signature: String,
}

/// What is wrong with receipts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They are no batch.
    #[error("it is no batch of receipts: {0}")]
    Batch(String),
    /// There are none, or too many.
    #[error("it has {0} receipts, where 1 to {MAX_AT_ONCE} are right")]
    Count(usize),
    /// One is none.
    #[error("receipt {index}: {wrong}", index = .index + 1)]
    Receipt {
        /// Which of these, from 0.
        index: usize,
        /// What is wrong.
        wrong: String,
    },
    /// One does not follow on the one before.
    #[error("receipt {number} does not follow on the one before: {wrong}")]
    Chain {
        /// Its number.
        number: u64,
        /// What is wrong.
        wrong: &'static str,
    },
    /// One holds no signature of its holder, or not of that time.
    #[error("receipt {number}: {wrong}")]
    Holder {
        /// Its number.
        number: u64,
        /// What is wrong.
        wrong: String,
    },
    /// The gateway has not signed them.
    #[error("the signature is not that of the gateway's key over the last receipt")]
    Signature,
    /// It could not be written.
    #[error("it cannot be written: {0}")]
    Written(String),
}

impl Receipt {
    /// Its canonical text.
    ///
    /// # Errors
    /// [`Error::Written`]: it is too long, or has a number that JSON does not hold.
    pub fn text(&self) -> Result<String, Error> {
        let bytes = json::canonical(self).map_err(|error| Error::Written(error.to_string()))?;
        if bytes.len() > MAX_BYTES {
            let why = format!(
                "it has {} bytes, where {MAX_BYTES} are the most",
                bytes.len()
            );
            return Err(Error::Written(why));
        }
        String::from_utf8(bytes).map_err(|error| Error::Written(error.to_string()))
    }

    /// Reads one; its text has to be the canonical one.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value = json::parse(text.as_bytes(), MAX_BYTES).map_err(|error| error.to_string())?;
        let read: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        match read.text() {
            Ok(canonical) if canonical == text => Ok(read),
            Ok(_) => Err("its text is not the canonical one (RFC 8785)".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether its holder has signed what it says.
    ///
    /// # Errors
    /// In words.
    pub fn check_holder(&self) -> Result<(), String> {
        let holder: Address = self
            .holder
            .parse()
            .map_err(|_| "its holder is no address".to_owned())?;
        let text = self.challenge.text(&self.gateway);
        is_signed(&text, holder, &self.signature).map_err(|refused| refused.to_string())
    }

    /// Whether it is of a time at which its challenge could be answered: what the wallet has signed names
    /// when that was given.
    ///
    /// # Errors
    /// In words.
    pub fn check_time(&self) -> Result<(), String> {
        let given_us = self.challenge.given_us;
        match self.at_us.checked_sub(given_us) {
            Some(0..=LIFE_US) => Ok(()),
            _ => Err(format!(
                "it says that somebody was admitted at {} by a challenge of {}, where 0 to {} s after it are right",
                moment::format(self.at_us),
                moment::format(given_us),
                LIFE_US / 1_000_000
            )),
        }
    }

    /// Its device.
    #[must_use]
    pub fn device(&self) -> &DeviceId {
        &self.challenge.device
    }
}

/// The SHA-256 of a receipt's text.
#[must_use]
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Looks that receipts follow on each other, each with its holder's signature of its time: `after` is
/// what is before the first, number and hash, `None` where that is not known. That no answer is noted
/// twice is for whoever has all of them to say.
///
/// # Errors
/// [`Error::Receipt`], [`Error::Chain`], [`Error::Holder`].
pub fn follow(texts: &[String], after: Option<(u64, [u8; 32])>) -> Result<Vec<Receipt>, Error> {
    let mut before = after;
    let mut chain: Option<String> = None;
    let mut read = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let receipt = Receipt::parse(text).map_err(|wrong| Error::Receipt { index, wrong })?;
        let number = receipt.number;
        let wrong = |wrong| Error::Chain { number, wrong };
        if chain.as_ref().is_some_and(|chain| *chain != receipt.chain) {
            return Err(wrong("it is of another chain"));
        }
        if !is_hex(&receipt.chain, 32) {
            return Err(wrong("its chain is not 32 hexadecimal digits"));
        }
        if let Some(left) = &receipt.left {
            if number != 1 {
                return Err(wrong(
                    "it names a chain that was left, and is not the first",
                ));
            }
            if !is_hex(&left.chain, 32) || !is_hex(&left.hash, 64) || left.chain == receipt.chain {
                return Err(wrong("the chain that it names as left cannot be one"));
            }
        }
        if let Some((last, hash)) = before {
            if last.checked_add(1) != Some(number) {
                return Err(wrong("its number is not the next one"));
            }
            if receipt.previous != hex::encode(hash) {
                return Err(wrong("it names another hash of the one before"));
            }
        }
        receipt
            .check_time()
            .and_then(|()| receipt.check_holder())
            .map_err(|wrong| Error::Holder { number, wrong })?;
        before = Some((number, hash(text)));
        chain = Some(receipt.chain.clone());
        read.push(receipt);
    }
    Ok(read)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// What the gateway signs.
fn signed(head: &Head, outcomes: &[String]) -> Vec<u8> {
    let mut bytes = SIGNED.to_vec();
    bytes.extend(head.chain.as_bytes());
    bytes.push(0);
    bytes.extend(head.number.to_be_bytes());
    bytes.extend(head.hash.as_bytes());
    for outcome in outcomes {
        bytes.push(0);
        bytes.extend(outcome.as_bytes());
    }
    bytes
}

impl Batch {
    /// Signs receipts that follow each other; `sign` signs a message by the certificate's key, ML-DSA-65
    /// with an empty context.
    ///
    /// # Errors
    /// Those of `sign`.
    pub fn sign<E>(
        receipts: Vec<String>,
        outcomes: Vec<String>,
        head: &Head,
        certificate: &[u8],
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let signature = sign(&signed(head, &outcomes))?;
        Ok(Self {
            receipts,
            outcomes,
            certificate: URL_SAFE_NO_PAD.encode(certificate),
            signature: URL_SAFE_NO_PAD.encode(signature),
        })
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Batch`], [`Error::Count`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |why: String| Error::Batch(why);
        let value =
            json::parse(bytes, MAX_BATCH_BYTES).map_err(|error| wrong(error.to_string()))?;
        let batch: Self =
            serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        let count = batch.receipts.len();
        if !(1..=MAX_AT_ONCE).contains(&count) {
            return Err(Error::Count(count));
        }
        let known = |outcome: &String| OUTCOMES.contains(&outcome.as_str());
        if batch.outcomes.len() != count || !batch.outcomes.iter().all(known) {
            let why = format!("each receipt has one outcome of {}", OUTCOMES.join(", "));
            return Err(wrong(why));
        }
        Ok(batch)
    }

    /// The gateway's certificate, DER.
    ///
    /// # Errors
    /// [`Error::Batch`]: it is no base64url.
    pub fn certificate(&self) -> Result<Vec<u8>, Error> {
        URL_SAFE_NO_PAD
            .decode(&self.certificate)
            .map_err(|_| Error::Batch("its certificate is no base64url".to_owned()))
    }

    /// Whether this key of ML-DSA-65 has signed the last receipt, which has been read by [`follow`].
    ///
    /// # Errors
    /// [`Error::Signature`].
    pub fn check_signature(&self, last: &Receipt, key: &[u8]) -> Result<(), Error> {
        let text = self.receipts.last().ok_or(Error::Count(0))?;
        let head = Head {
            chain: last.chain.clone(),
            number: last.number,
            hash: hex::encode(hash(text)),
        };
        let key = PublicKey::new(Algorithm::MlDsa65, key).map_err(|_| Error::Signature)?;
        let signature = URL_SAFE_NO_PAD
            .decode(&self.signature)
            .map_err(|_| Error::Signature)?;
        key.verify(&signed(&head, &self.outcomes), &signature)
            .map_err(|_| Error::Signature)
    }
}
