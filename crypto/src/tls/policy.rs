use std::fmt;
use std::slice;
use std::str::FromStr;

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};

/// Whether a connection must be post-quantum or may be classical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// Refuse what is not post-quantum.
    #[default]
    Strict,
    /// Take the best that the peer has, and record it.
    Prefer,
}

impl Policy {
    /// The name in settings and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Prefer => "prefer",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is no policy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no TLS policy: it must be \"strict\" or \"prefer\"")]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        [Self::Strict, Self::Prefer]
            .into_iter()
            .find(|policy| policy.name() == name)
            .ok_or_else(|| UnknownPolicy(name.chars().take(64).collect()))
    }
}

/// The algorithms of `policy`, over AWS-LC.
#[must_use]
pub fn provider(policy: Policy) -> CryptoProvider {
    let web = default_provider();
    match policy {
        Policy::Strict => CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![kx_group::X25519MLKEM768],
            signature_verification_algorithms: only(
                web.signature_verification_algorithms,
                SignatureScheme::ML_DSA_65,
            ),
            ..web
        },
        Policy::Prefer => CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
                cipher_suite::TLS13_AES_128_GCM_SHA256,
            ],
            kx_groups: vec![
                kx_group::X25519MLKEM768,
                kx_group::X25519,
                kx_group::SECP256R1,
            ],
            ..web
        },
    }
}

/// Of `algorithms`, those of one scheme; none if it is not among them, so that
/// nothing verifies rather than too much.
fn only(
    algorithms: WebPkiSupportedAlgorithms,
    scheme: SignatureScheme,
) -> WebPkiSupportedAlgorithms {
    match algorithms
        .mapping
        .iter()
        .find(|(candidate, _)| *candidate == scheme)
    {
        Some(entry) => WebPkiSupportedAlgorithms {
            all: entry.1,
            mapping: slice::from_ref(entry),
        },
        None => WebPkiSupportedAlgorithms {
            all: &[],
            mapping: &[],
        },
    }
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;

    #[test]
    fn strict_knows_one_group_and_one_signature() {
        let provider = provider(Policy::Strict);
        let groups: Vec<_> = provider
            .kx_groups
            .iter()
            .map(|group| group.name())
            .collect();
        assert_eq!(groups, [NamedGroup::X25519MLKEM768]);
        assert_eq!(
            provider
                .signature_verification_algorithms
                .supported_schemes(),
            [SignatureScheme::ML_DSA_65]
        );
        assert_eq!(provider.signature_verification_algorithms.all.len(), 1);
    }

    #[test]
    fn prefer_asks_for_the_hybrid_first() {
        let provider = provider(Policy::Prefer);
        let groups: Vec<_> = provider
            .kx_groups
            .iter()
            .map(|group| group.name())
            .collect();
        assert_eq!(
            groups,
            [
                NamedGroup::X25519MLKEM768,
                NamedGroup::X25519,
                NamedGroup::secp256r1
            ]
        );
    }

    #[test]
    fn policies_are_read_by_name() {
        assert_eq!("strict".parse(), Ok(Policy::Strict));
        assert_eq!("prefer".parse(), Ok(Policy::Prefer));
        assert!("Strict".parse::<Policy>().is_err());
        assert_eq!(Policy::default(), Policy::Strict);
    }
}
