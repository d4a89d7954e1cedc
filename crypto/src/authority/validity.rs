use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{FromDer, X509Certificate};

use super::Error;

/// When a certificate is valid, in seconds since the Unix epoch, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    not_before_s: u64,
    not_after_s: u64,
}

/// 9999-12-31T23:59:59Z, the last instant of X.509 (RFC 5280, section 4.1.2.5).
const LAST_S: u64 = 253_402_300_799;

/// How far a peer's clock may be behind ours, so that a new certificate works at once.
const SKEW: Duration = Duration::from_secs(3600);

const DAY_S: u64 = 86_400;

impl Validity {
    /// Valid from `not_before_s` to `not_after_s`.
    ///
    /// # Errors
    /// [`Error::Validity`] if it ends before it begins or after the year 9999.
    pub fn between(not_before_s: u64, not_after_s: u64) -> Result<Self, Error> {
        if not_before_s <= not_after_s && not_after_s <= LAST_S {
            Ok(Self {
                not_before_s,
                not_after_s,
            })
        } else {
            Err(Error::Validity {
                not_before_s,
                not_after_s,
            })
        }
    }

    /// Valid for `days` from `now`, and for the hour before it: clocks differ.
    #[must_use]
    pub fn days_from(now: SystemTime, days: u32) -> Self {
        let now_s = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let not_before_s = now_s.saturating_sub(SKEW.as_secs()).min(LAST_S);
        let not_after_s = now_s.saturating_add(u64::from(days) * DAY_S).min(LAST_S);
        Self {
            not_before_s,
            not_after_s,
        }
    }

    /// When the certificate in `der` is valid.
    ///
    /// # Errors
    /// [`Error::Certificate`] if it is none.
    pub fn of(der: &[u8]) -> Result<Self, Error> {
        Self::read(&parse(der)?)
    }

    pub(super) fn read(certificate: &X509Certificate<'_>) -> Result<Self, Error> {
        let seconds = |timestamp: i64| u64::try_from(timestamp).unwrap_or(0);
        Self::between(
            seconds(certificate.validity().not_before.timestamp()),
            seconds(certificate.validity().not_after.timestamp()),
        )
    }

    /// How many whole days are left at `now`; 0 when it is over.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> u64 {
        let now_s = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        self.not_after_s.saturating_sub(now_s) / DAY_S
    }

    /// The first second of validity.
    #[must_use]
    pub fn not_before_s(&self) -> u64 {
        self.not_before_s
    }

    /// The last second of validity.
    #[must_use]
    pub fn not_after_s(&self) -> u64 {
        self.not_after_s
    }

    /// The part of this validity that lies within `outer`.
    pub(super) fn within(self, outer: Self) -> Result<Self, Error> {
        Self::between(
            self.not_before_s.max(outer.not_before_s),
            self.not_after_s.min(outer.not_after_s),
        )
        .map_err(|_| Error::Outlived {
            not_before_s: self.not_before_s,
            not_after_s: outer.not_after_s,
        })
    }
}

/// Reads a certificate in DER.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(malformed)
}

pub(super) fn malformed(error: impl std::fmt::Display) -> Error {
    Error::Certificate(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_never_outlives_its_root() {
        let root = Validity::between(1_000, 2_000).unwrap();
        let leaf = Validity::between(500, 9_000).unwrap();
        assert_eq!(leaf.within(root).unwrap(), root);
        let late = Validity::between(2_001, 9_000).unwrap();
        assert!(matches!(late.within(root), Err(Error::Outlived { .. })));
    }

    #[test]
    fn impossible_times_are_refused() {
        assert!(Validity::between(2, 1).is_err());
        assert!(Validity::between(0, u64::MAX).is_err());
        let far = Validity::days_from(UNIX_EPOCH + Duration::from_secs(LAST_S), u32::MAX);
        assert_eq!(far.not_after_s(), LAST_S);
    }
}
