//! Secrets that sign webhooks.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stencil_protocol::id::TenantId;
use zeroize::Zeroizing;

const PREFIX: &str = "whsec_";

/// Why a text is no secret. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The prefix is missing.
    #[error("a webhook secret begins with `{PREFIX}`, followed by base64")]
    Prefix,
    /// The rest is no base64.
    #[error("what follows `{PREFIX}` is not base64")]
    Base64,
    /// Too short to be secret, or longer than the standard has it.
    #[error("a webhook secret has 24 to 64 bytes, this one has {bytes}")]
    Size {
        /// How many bytes it has.
        bytes: usize,
    },
}

/// A secret that signs webhooks, shown to nobody.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Reads `whsec_` and base64 of 24 to 64 bytes, as Standard Webhooks
    /// writes it; white space around it does not count.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(Error::Prefix)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| Error::Base64)?);
        match bytes.len() {
            24..=64 => Ok(Self(bytes)),
            bytes => Err(Error::Size { bytes }),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Secrets by tenant and name: under one name the current one first, then those
/// that it replaces.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<TenantId, BTreeMap<String, Vec<Secret>>>);

impl Secrets {
    /// Adds or replaces what is under a name.
    pub fn insert(&mut self, tenant: TenantId, name: String, secrets: Vec<Secret>) {
        self.0.entry(tenant).or_default().insert(name, secrets);
    }

    /// A tenant's secrets of this name.
    pub fn get(&self, tenant: &TenantId, name: &str) -> Option<&[Secret]> {
        self.0.get(tenant)?.get(name).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_secret_looks_like() {
        let good = format!("whsec_{}\n", STANDARD.encode([7; 24]));
        let secret = Secret::parse(&good).unwrap();
        assert_eq!(secret.bytes(), [7; 24]);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(Secret::parse("hunter2").unwrap_err(), Error::Prefix);
        assert_eq!(Secret::parse("whsec_?").unwrap_err(), Error::Base64);
        assert_eq!(
            Secret::parse("whsec_AAAA").unwrap_err(),
            Error::Size { bytes: 3 }
        );
    }

    #[test]
    fn secrets_do_not_cross_tenants() {
        let secret = Secret::parse(&format!("whsec_{}", STANDARD.encode([7; 32]))).unwrap();
        let (ours, theirs) = (TenantId::parse("a").unwrap(), TenantId::parse("b").unwrap());
        let mut secrets = Secrets::default();
        secrets.insert(ours.clone(), "ops".to_owned(), vec![secret]);
        assert!(secrets.get(&ours, "ops").is_some());
        assert!(secrets.get(&theirs, "ops").is_none());
        assert!(secrets.get(&ours, "other").is_none());
    }
}
