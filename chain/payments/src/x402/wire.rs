//! What is on the wire: sections 5.1 to 5.4 of the specification.
//!
//! Amounts, times and numbers of an authorisation are strings of decimal digits. Fields that are not
//! known are left alone when something is read: later versions may have more.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Reason;

/// What is to be paid for a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequired {
    /// 2.
    pub x402_version: u32,
    /// Why it has to be paid, for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// What is paid for.
    pub resource: Resource,
    /// What would do; any one of them.
    pub accepts: Vec<Requirements>,
    /// Extensions of the protocol.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub extensions: Option<Value>,
}

/// What is paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Where it is.
    pub url: String,
    /// What it is, for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mime_type: Option<String>,
}

/// One way to pay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// `exact`.
    pub scheme: String,
    /// The chain in the form of CAIP-2, such as `eip155:8453`.
    pub network: String,
    /// How much, base units.
    pub amount: String,
    /// The token's contract.
    pub asset: String,
    /// Who gets it.
    pub pay_to: String,
    /// How long an authorisation has to hold, seconds from when it is signed.
    pub max_timeout_seconds: u64,
    /// What a scheme needs besides.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub extra: Option<Extra>,
}

/// What `exact` needs besides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extra {
    /// The name of the token's EIP-712 domain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The version of the token's EIP-712 domain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// `eip3009`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub asset_transfer_method: Option<String>,
    /// What else there is.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentPayload {
    /// 2.
    pub x402_version: u32,
    /// What is paid for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resource: Option<Resource>,
    /// Which of the ways to pay.
    pub accepted: Requirements,
    /// What the scheme says: an [`ExactPayload`].
    pub payload: Value,
    /// Extensions of the protocol.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub extensions: Option<Value>,
}

/// What `exact` by `eip3009` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactPayload {
    /// 0x and hexadecimal digits.
    pub signature: String,
    /// What is signed.
    pub authorization: Authorization,
}

/// An authorisation of EIP-3009 as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// Who pays.
    pub from: String,
    /// Who gets it.
    pub to: String,
    /// How much, base units.
    pub value: String,
    /// Seconds since the epoch.
    pub valid_after: String,
    /// Seconds since the epoch.
    pub valid_before: String,
    /// 0x and 64 hexadecimal digits.
    pub nonce: String,
}

/// What came of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettleResponse {
    /// Whether it was settled.
    pub success: bool,
    /// The hash of the transaction; empty where there is none.
    pub transaction: String,
    /// The chain in the form of CAIP-2.
    pub network: String,
    /// Who paid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payer: Option<String>,
    /// Why not, by the specification's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_reason: Option<String>,
    /// How much was settled, base units.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub amount: Option<String>,
}

impl SettleResponse {
    /// It was settled by a transaction.
    #[must_use]
    pub fn settled(network: &str, payer: &str, transaction: &str, amount: &str) -> Self {
        Self {
            success: true,
            transaction: transaction.to_owned(),
            network: network.to_owned(),
            payer: Some(payer.to_owned()),
            error_reason: None,
            amount: Some(amount.to_owned()),
        }
    }

    /// It was not, or it is not known whether it was.
    #[must_use]
    pub fn failed(network: &str, payer: Option<&str>, reason: Reason) -> Self {
        Self {
            success: false,
            transaction: String::new(),
            network: network.to_owned(),
            payer: payer.map(str::to_owned),
            error_reason: Some(reason.name().to_owned()),
            amount: None,
        }
    }
}

/// Whether a payment would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyResponse {
    /// Whether it would.
    pub is_valid: bool,
    /// Why not, by the specification's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub invalid_reason: Option<String>,
    /// Who pays.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payer: Option<String>,
}
