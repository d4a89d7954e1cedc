//! What an invoice is about beside the money, and how both are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stencil_payments::cause::Key;
use stencil_payments::invoice::{Invoice, refund};
use stencil_payments::{Address, B256};
use stencil_store::StoredInvoice;

/// The longest reference, in bytes.
pub(crate) const MAX_REFERENCE: usize = 128;
/// The longest title, in bytes.
pub(crate) const MAX_TITLE: usize = 128;
/// The longest description, in bytes.
pub(crate) const MAX_DESCRIPTION: usize = 1_024;
/// Keys of metadata.
pub(crate) const MAX_METADATA: usize = 16;
/// The longest key of metadata, in bytes.
pub(crate) const MAX_METADATA_KEY: usize = 64;
/// The longest value of metadata, in bytes.
pub(crate) const MAX_METADATA_VALUE: usize = 512;
/// The longest address to return to, in bytes.
pub(crate) const MAX_URL: usize = 1_024;

/// What an invoice is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct About {
    /// What workflows and the tenant's programs know it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// What is bought, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The same at length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the tenant's programs want to find again; the payer does not see it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Where the payer goes afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
    /// Where refunds go.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refunds_to: BTreeMap<refund::Id, RefundTo>,
    /// By which transactions the tenant has sent refunds itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<refund::Id, Told>,
    /// Since when the hub has known it as paid, µs since the epoch, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_us: Option<i64>,
    /// The authorisation of a payer (EIP-3009) that was ordered last, by the order's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bringing: Option<String>,
    /// Who has signed that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bringing_of: Option<Address>,
    /// Authorisations that the hub has brought to the chain in vain: each has cost gas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
}

/// An authorisation that has come to nothing on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failed {
    /// Who had signed it.
    pub payer: Address,
    /// When that was noticed, µs since the epoch.
    pub at_us: i64,
}

/// How many authorisations for an invoice the hub brings to the chain in vain.
pub(crate) const MOST_FAILED: usize = 3;

/// Where a refund goes, and who has said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundTo {
    /// The address.
    pub address: Address,
    /// Who has said so: `payer`, or `user ann`.
    pub by: String,
    /// Which payer, where one has said so by a signature.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payer: Option<Address>,
    /// Why, where the tenant has said so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// How often the refund had failed when it was said.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub failures: u32,
    /// The how manieth address of the refund this is, from 1.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub number: u32,
    /// Why it is not sent as things stand.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waits: Option<Waits>,
}

/// Why a refund is not sent, and how things stood then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Waits {
    /// Why, for the tenant.
    pub why: String,
    /// When it was tried, µs since the epoch.
    pub at_us: i64,
    /// Names the tenant's limits, where it was refused for one of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limits: Option<Key>,
}

/// The transaction by which the tenant says to have sent a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Told {
    /// The transaction.
    pub tx: B256,
    /// By which of its movements, `CHAIN:0xTRANSACTION:ORDINAL`; of one that no chain shows,
    /// `CHAIN:0xTRANSACTION@ADDRESS`.
    pub movement: String,
    /// The how manieth that was told of the refund, from 1.
    pub number: u32,
    /// Which account has sent it, and by which nonce; not known of one that is told without a chain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<(Address, u64)>,
    /// Since when it is in no block any more, µs since the epoch, as long as it is in none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub missing_us: Option<i64>,
    /// The block that was the newest when its nonce was first seen as used, as long as it is in none and has been so
    /// at each look since.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub used_by: Option<u64>,
    /// It has not sent the refund after all.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub failed: bool,
}

/// How often a refund is sent to one address in vain: each time costs gas.
pub(crate) const MOST_FAILURES: u32 = 2;

impl RefundTo {
    /// Whether a refund that has failed so often went there in vain, and somebody has to say where it goes
    /// anew.
    pub(crate) fn is_worn_out(&self, failures: u32) -> bool {
        failures.saturating_sub(self.failures) >= MOST_FAILURES
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
pub(crate) fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl About {
    /// Whether the hub brings a further authorisation to the chain.
    pub(crate) fn brings(&self) -> bool {
        self.failed.len() < MOST_FAILED
    }

    /// Whether all of it is within bounds.
    ///
    /// # Errors
    /// Which field is wrong, and what would be right.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        // Who pays must read what was written: marks of direction make other words of it.
        for (field, text) in [
            ("reference", &self.reference),
            ("title", &self.title),
            ("description", &self.description),
        ] {
            if text.as_deref().is_some_and(|text| text.chars().any(turns)) {
                let why = "it has characters that turn the direction of writing (U+202A to U+202E, U+2066 to \
                           U+2069): leave them out";
                return Err((field, why.to_owned()));
            }
        }
        line("reference", self.reference.as_deref(), MAX_REFERENCE)?;
        line("title", self.title.as_deref(), MAX_TITLE)?;
        if let Some(text) = &self.description
            && (text.len() > MAX_DESCRIPTION || text.chars().any(|c| c.is_control() && c != '\n'))
        {
            let why =
                format!("at most {MAX_DESCRIPTION} bytes without control characters are right");
            return Err(("description", why));
        }
        if self.metadata.len() > MAX_METADATA {
            let why = format!(
                "{} keys are too many: at most {MAX_METADATA}",
                self.metadata.len()
            );
            return Err(("metadata", why));
        }
        for (key, value) in &self.metadata {
            line("metadata", Some(key), MAX_METADATA_KEY)?;
            if value.len() > MAX_METADATA_VALUE {
                let key: String = key.chars().take(MAX_METADATA_KEY).collect();
                let why = format!("the value of `{key}` is longer than {MAX_METADATA_VALUE} bytes");
                return Err(("metadata", why));
            }
        }
        if let Some(url) = &self.return_url {
            let parsed = url.parse::<http::Uri>().ok();
            let good = parsed.is_some_and(|url| {
                matches!(url.scheme_str(), Some("https" | "http")) && url.host().is_some()
            });
            if url.len() > MAX_URL || !good {
                let why = format!(
                    "it has to begin with https:// (or http://) and have at most {MAX_URL} bytes"
                );
                return Err(("return_url", why));
            }
        }
        Ok(())
    }
}

/// Whether a character turns the direction of writing by itself (Unicode's bidirectional algorithm).
fn turns(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn line(
    field: &'static str,
    text: Option<&str>,
    most: usize,
) -> Result<(), (&'static str, String)> {
    let good = text.is_none_or(|text| {
        !text.trim().is_empty() && text.len() <= most && !text.chars().any(char::is_control)
    });
    if good {
        Ok(())
    } else {
        Err((field, format!("1 to {most} bytes in one line are right")))
    }
}

/// An invoice with what it is about: the body of a [`StoredInvoice`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// What is paid.
    pub invoice: Invoice,
    /// What for.
    pub about: About,
}

impl Kept {
    pub(crate) fn read(stored: &StoredInvoice) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&stored.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_its_bound_and_says_so() {
        let about = |change: fn(&mut About)| {
            let mut about = About::default();
            change(&mut about);
            about.check().map_err(|(field, _)| field)
        };
        assert_eq!(about(|_| {}), Ok(()));
        assert_eq!(about(|a| a.reference = Some("locker-7".into())), Ok(()));
        assert_eq!(
            about(|a| a.reference = Some("a\nb".into())),
            Err("reference")
        );
        assert_eq!(about(|a| a.title = Some(String::new())), Err("title"));
        assert_eq!(
            about(|a| a.title = Some("Locker \u{202e}7 rekcoL".into())),
            Err("title")
        );
        assert_eq!(
            about(|a| a.description = Some("a\u{2066}b".into())),
            Err("description")
        );
        // Writing from right to left needs none of them.
        assert_eq!(about(|a| a.title = Some("לוקר 7".into())), Ok(()));
        assert_eq!(about(|a| a.title = Some("t".repeat(129))), Err("title"));
        assert_eq!(
            about(|a| a.description = Some("d".repeat(1_025))),
            Err("description")
        );
        assert_eq!(
            about(|a| a.metadata = (0..17).map(|n| (n.to_string(), String::new())).collect()),
            Err("metadata")
        );
        assert_eq!(
            about(|a| {
                a.metadata.insert("k".into(), "v".repeat(513));
            }),
            Err("metadata")
        );
        for (url, good) in [
            ("https://shop.example/thanks?order=7", true),
            ("javascript:alert(1)", false),
            ("/thanks", false),
            ("https://", false),
        ] {
            let about = About {
                return_url: Some(url.into()),
                ..About::default()
            };
            assert_eq!(about.check().is_ok(), good, "{url}");
        }
    }
}
