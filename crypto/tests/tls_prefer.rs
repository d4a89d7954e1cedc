//! The prefer policy: classical clients are let in, and seen as what they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fleet;

use std::sync::Arc;

use fleet::{Fleet, connect, identity};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use stencil_crypto::tls::{self, Negotiated, Policy, Roots, ServerIdentity};

/// What OpenSSL 3.0 knows: neither ML-KEM nor ML-DSA.
fn of_debian_12() -> CryptoProvider {
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1];
    let known = provider.signature_verification_algorithms;
    provider.signature_verification_algorithms.mapping = &known.mapping[..known.mapping.len() - 3];
    assert!(
        !provider
            .signature_verification_algorithms
            .supported_schemes()
            .contains(&rustls::SignatureScheme::ML_DSA_65)
    );
    provider
}

fn foreign(provider: CryptoProvider, root_pem: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap())
        .unwrap();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[test]
fn a_classical_client_gets_the_ecdsa_certificate_and_is_seen_as_classical() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Prefer, &fleet.hub(), &fleet.roots()).unwrap();
    let client = Arc::new(foreign(
        of_debian_12(),
        fleet.authority.classical_root_pem(),
    ));
    let (client, server) = connect(&client, &server).unwrap();

    let seen = Negotiated::of(&server).unwrap();
    assert_eq!(seen.group, "X25519");
    assert!(!seen.post_quantum);
    assert_eq!(seen.certificate, None);
    let seen = Negotiated::of(&client).unwrap();
    assert!(!seen.post_quantum);
    assert_eq!(seen.signature.as_deref(), Some("ECDSA P-256"));
}

#[test]
fn a_client_that_only_has_p_256_is_let_in_too() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Prefer, &fleet.hub(), &fleet.roots()).unwrap();
    let provider = CryptoProvider {
        kx_groups: vec![kx_group::SECP256R1],
        ..of_debian_12()
    };
    let client = Arc::new(foreign(provider, fleet.authority.classical_root_pem()));
    let (_, server) = connect(&client, &server).unwrap();
    let seen = Negotiated::of(&server).unwrap();
    assert_eq!(
        (seen.group.as_str(), seen.post_quantum),
        ("secp256r1", false)
    );
}

#[test]
fn a_browser_with_ml_kem_but_no_ml_dsa_gets_both_halves_right() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Prefer, &fleet.hub(), &fleet.roots()).unwrap();
    let provider = CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..of_debian_12()
    };
    let client = Arc::new(foreign(provider, fleet.authority.classical_root_pem()));
    let (client, server) = connect(&client, &server).unwrap();
    assert!(Negotiated::of(&server).unwrap().post_quantum);
    assert_eq!(
        Negotiated::of(&client).unwrap().signature.as_deref(),
        Some("ECDSA P-256")
    );
}

#[test]
fn between_groups_that_both_know_the_order_of_the_client_decides() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Prefer, &fleet.hub(), &fleet.roots()).unwrap();
    let group = |kx_groups| {
        let provider = CryptoProvider {
            kx_groups,
            ..default_provider()
        };
        let client = Arc::new(foreign(provider, fleet.authority.root_pem()));
        let (_, server) = connect(&client, &server).unwrap();
        Negotiated::of(&server).unwrap()
    };
    let seen = group(vec![kx_group::X25519MLKEM768, kx_group::X25519]);
    assert_eq!(
        (seen.group.as_str(), seen.post_quantum),
        ("X25519MLKEM768", true)
    );
    // rustls follows the client; what came out is recorded, and only strict forbids it.
    let seen = group(vec![kx_group::X25519, kx_group::X25519MLKEM768]);
    assert_eq!((seen.group.as_str(), seen.post_quantum), ("X25519", false));
}

#[test]
fn a_strict_gateway_on_a_prefer_listener_stays_post_quantum() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Prefer, &fleet.hub(), &fleet.roots()).unwrap();
    let client = tls::client(Policy::Strict, &fleet.roots(), Some(&fleet.gateway())).unwrap();
    let (client, server) = connect(&client, &server).unwrap();
    let seen = Negotiated::of(&server).unwrap();
    assert!(seen.post_quantum);
    assert_eq!(seen.signature.as_deref(), Some("ML-DSA-65"));
    assert_eq!(
        Negotiated::of(&client).unwrap().signature.as_deref(),
        Some("ML-DSA-65")
    );
}

#[test]
fn without_a_classical_identity_only_ml_dsa_clients_are_let_in() {
    let fleet = Fleet::new();
    let hub = ServerIdentity {
        post_quantum: fleet.hub().post_quantum,
        classical: None,
    };
    let server = tls::server(Policy::Prefer, &hub, &fleet.roots()).unwrap();
    let client = Arc::new(foreign(
        of_debian_12(),
        fleet.authority.classical_root_pem(),
    ));
    assert!(connect(&client, &server).is_err());
}

#[test]
fn a_classical_client_certificate_identifies_nobody() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Prefer, &fleet.hub(), &fleet.roots()).unwrap();
    // ECDSA, under the classical root of this very fleet, with a gateway's name.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(
        "stencil:tenant/acme/gateway/gw-1".try_into().unwrap(),
    )];
    let certificate = params.self_signed(&key).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    let root = fleet.authority.classical_root_pem();
    roots
        .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
        .unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(of_debian_12()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate.der().clone()], key)
        .unwrap();
    match connect(&Arc::new(client), &server) {
        Ok((_, server)) => assert_eq!(Negotiated::of(&server).unwrap().certificate, None),
        Err(refused) => panic!("without a usable certificate it is a client without: {refused:?}"),
    }
}

#[test]
fn a_call_to_a_system_of_others_takes_what_the_system_has() {
    let fleet = Fleet::new();
    // The other system: an ECDSA certificate, X25519 only.
    let issued = fleet
        .authority
        .issue_classical_server(&[fleet::HUB])
        .unwrap();
    let classical = identity(&issued);
    let hub = ServerIdentity {
        post_quantum: fleet.hub().post_quantum,
        classical: Some(classical),
    };
    let ours = tls::server(Policy::Prefer, &hub, &fleet.roots()).unwrap();
    let provider = CryptoProvider {
        kx_groups: vec![kx_group::X25519],
        ..tls::provider(Policy::Prefer)
    };
    let chain = hub.classical.as_ref().unwrap().chain().to_vec();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let other = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();

    let both = [
        fleet.authority.classical_root_pem(),
        fleet.authority.root_pem(),
    ]
    .concat();
    let calls = tls::client(Policy::Prefer, &Roots::from_pem(&both).unwrap(), None).unwrap();
    let (client, _) = connect(&calls, &Arc::new(other)).unwrap();
    let seen = Negotiated::of(&client).unwrap();
    assert_eq!((seen.group.as_str(), seen.post_quantum), ("X25519", false));
    assert_eq!(seen.signature.as_deref(), Some("ECDSA P-256"));

    // The next call under this name begins with the hybrid again: no group is remembered.
    let (client, _) = connect(&calls, &ours).unwrap();
    let seen = Negotiated::of(&client).unwrap();
    assert_eq!(
        (seen.group.as_str(), seen.post_quantum),
        ("X25519MLKEM768", true)
    );
    assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
}
