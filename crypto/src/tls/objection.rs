use std::fmt::Debug;

use rustls::server::ClientHello;
use rustls::{CipherSuite, NamedGroup, ServerConfig};

/// How many entries of a client's list a log line shows.
const SHOWN: usize = 16;

/// What a client offers, for a log line: groups and signature schemes.
///
/// The lists are the client's own and are cut after 16 entries.
#[must_use]
pub fn offered(client: &ClientHello<'_>) -> String {
    format!(
        "groups {}, signatures {}",
        list(client.named_groups().unwrap_or(&[])),
        list(client.signature_schemes())
    )
}

/// Why a listener with `config` will refuse this client, in words for a log line;
/// `None` if nothing in its first message speaks against it.
///
/// rustls itself refuses; this says why, as its own errors don't name what was offered.
#[must_use]
pub fn objection(config: &ServerConfig, client: ClientHello<'_>) -> Option<String> {
    let groups = client.named_groups().unwrap_or(&[]);
    let accepted: Vec<NamedGroup> = config
        .crypto_provider()
        .kx_groups
        .iter()
        .map(|group| group.name())
        .collect();
    let schemes = list(client.signature_schemes());
    if !client.cipher_suites().iter().any(|suite| is_tls13(*suite)) {
        Some("the client speaks no TLS 1.3, which this listener requires".to_owned())
    } else if !groups.iter().any(|group| accepted.contains(group)) {
        Some(format!(
            "this listener requires the key exchange {}, the client offers {}",
            list(&accepted),
            list(groups),
        ))
    } else if config.cert_resolver.resolve(client).is_none() {
        Some(format!(
            "the client can check none of this listener's certificates: it knows the \
             signatures {schemes}",
        ))
    } else {
        None
    }
}

fn is_tls13(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    )
}

fn list<T: Debug>(items: &[T]) -> String {
    if items.is_empty() {
        return "nothing".to_owned();
    }
    let mut text = items
        .iter()
        .take(SHOWN)
        .map(|item| format!("{item:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    if items.len() > SHOWN {
        text.push_str(&format!(" and {} more", items.len() - SHOWN));
    }
    text
}
