//! The strict policy: post-quantum on both sides, or no connection.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fleet;

use std::sync::Arc;

use aws_lc_rs::signature::{KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use fleet::{Fleet, HUB, Refused, connect, identity};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, HandshakeKind, PeerIncompatible,
    RootCertStore,
};
use stencil_crypto::authority::{Authority, Subject};
use stencil_crypto::tls::{self, Identity, Negotiated, Policy, Roots, ServerIdentity};

/// A client of the open web, with algorithms of its own, that trusts this fleet.
fn foreign(fleet: &Fleet, provider: CryptoProvider) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for pem in [
        fleet.authority.root_pem(),
        fleet.authority.classical_root_pem(),
    ] {
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
    }
    Arc::new(
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

#[test]
fn both_sides_prove_themselves_by_ml_dsa_65() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Strict, &fleet.hub(), &fleet.roots()).unwrap();
    let client = tls::client(Policy::Strict, &fleet.roots(), Some(&fleet.gateway())).unwrap();
    let (client, server) = connect(&client, &server).unwrap();

    for connection in [
        Negotiated::of(&client).unwrap(),
        Negotiated::of(&server).unwrap(),
    ] {
        assert_eq!(connection.group, "X25519MLKEM768");
        assert!(connection.post_quantum);
        assert_eq!(connection.version, "TLSv1_3");
        assert_eq!(connection.cipher_suite, "TLS13_AES_256_GCM_SHA384");
        assert_eq!(connection.signature.as_deref(), Some("ML-DSA-65"));
    }
    let certificate = Negotiated::of(&server).unwrap().certificate.unwrap();
    let gateway = Subject::Gateway {
        tenant: "acme".to_owned(),
        gateway: "gw-1".to_owned(),
    };
    assert_eq!(Subject::of(&certificate).unwrap(), gateway);
}

#[test]
fn nothing_is_negotiated_before_the_handshake_ends() {
    let fleet = Fleet::new();
    let config = tls::client(Policy::Strict, &fleet.roots(), None).unwrap();
    let client = ClientConnection::new(config, HUB.try_into().unwrap()).unwrap();
    assert_eq!(Negotiated::of(&client), None);
}

#[test]
fn a_client_without_certificate_is_left_to_the_caller() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Strict, &fleet.hub(), &fleet.roots()).unwrap();
    let client = tls::client(Policy::Strict, &fleet.roots(), None).unwrap();
    let (_, server) = connect(&client, &server).unwrap();
    let connection = Negotiated::of(&server).unwrap();
    assert_eq!((connection.certificate, connection.signature), (None, None));
    assert!(connection.post_quantum);
}

#[test]
fn a_classical_client_is_refused() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Strict, &fleet.hub(), &fleet.roots()).unwrap();
    let client = foreign(
        &fleet,
        CryptoProvider {
            kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
            ..default_provider()
        },
    );
    assert_eq!(
        connect(&client, &server).err(),
        Some(Refused::Server(Error::PeerIncompatible(
            PeerIncompatible::NoKxGroupsInCommon
        )))
    );
}

#[test]
fn a_client_that_knows_no_ml_dsa_is_refused() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Strict, &fleet.hub(), &fleet.roots()).unwrap();
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519MLKEM768];
    provider.signature_verification_algorithms.mapping =
        &provider.signature_verification_algorithms.mapping[..4];
    let client = foreign(&fleet, provider);
    assert!(matches!(connect(&client, &server), Err(Refused::Server(_))));
}

#[test]
fn a_strict_client_refuses_a_classical_server() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Prefer, &fleet.hub(), &fleet.roots()).unwrap();
    let mut classical = (*server).clone();
    let provider = CryptoProvider {
        kx_groups: vec![kx_group::X25519],
        ..tls::provider(Policy::Prefer)
    };
    classical = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&classical.cert_resolver));
    let client = tls::client(Policy::Strict, &fleet.roots(), None).unwrap();
    assert!(connect(&client, &Arc::new(classical)).is_err());
}

#[test]
fn a_client_certificate_of_another_authority_is_refused() {
    let (fleet, stranger) = (Fleet::new(), Fleet::new());
    let server = tls::server(Policy::Strict, &fleet.hub(), &fleet.roots()).unwrap();
    let client = tls::client(Policy::Strict, &fleet.roots(), Some(&stranger.gateway())).unwrap();
    let refused = connect(&client, &server).err().unwrap();
    // Both authorities have one name: only the signature tells them apart.
    let Refused::Server(Error::InvalidCertificate(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        matches!(
            why,
            CertificateError::UnknownIssuer | CertificateError::BadSignature
        ),
        "{why:?}"
    );
}

#[test]
fn a_server_of_another_authority_is_refused() {
    let (fleet, stranger) = (Fleet::new(), Fleet::new());
    let server = tls::server(Policy::Strict, &stranger.hub(), &fleet.roots()).unwrap();
    let client = tls::client(Policy::Strict, &fleet.roots(), Some(&fleet.gateway())).unwrap();
    let refused = connect(&client, &server).err().unwrap();
    assert!(
        matches!(refused, Refused::Client(Error::InvalidCertificate(_))),
        "{refused:?}"
    );
}

#[test]
fn a_server_under_another_name_is_refused() {
    let fleet = Fleet::new();
    let hub = ServerIdentity {
        post_quantum: identity(&fleet.authority.issue_server(&["other.example"]).unwrap()),
        classical: None,
    };
    let server = tls::server(Policy::Strict, &hub, &fleet.roots()).unwrap();
    let client = tls::client(Policy::Strict, &fleet.roots(), None).unwrap();
    let refused = connect(&client, &server).err().unwrap();
    assert!(
        matches!(
            refused,
            Refused::Client(Error::InvalidCertificate(
                CertificateError::NotValidForNameContext { .. }
            ))
        ),
        "{refused:?}"
    );
}

#[test]
fn a_gateway_cannot_pose_as_the_hub_nor_the_hub_as_a_gateway() {
    let fleet = Fleet::new();
    let impostor = ServerIdentity {
        post_quantum: fleet.gateway(),
        classical: None,
    };
    let server = tls::server(Policy::Strict, &impostor, &fleet.roots()).unwrap();
    let client = tls::client(Policy::Strict, &fleet.roots(), None).unwrap();
    assert!(matches!(
        connect(&client, &server),
        Err(Refused::Client(Error::InvalidCertificate(_)))
    ));

    let server = tls::server(Policy::Strict, &fleet.hub(), &fleet.roots()).unwrap();
    let hub = fleet.hub().post_quantum;
    let client = tls::client(Policy::Strict, &fleet.roots(), Some(&hub)).unwrap();
    assert!(matches!(
        connect(&client, &server),
        Err(Refused::Server(Error::InvalidCertificate(_)))
    ));
}

/// A gateway's key, used to sign certificates.
struct Own(PqdsaKeyPair);

impl rcgen::PublicKeyData for Own {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ML_DSA_65
    }
}

impl rcgen::SigningKey for Own {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut signature = vec![0; self.0.algorithm().signature_len()];
        self.0.sign(message, &mut signature).unwrap();
        Ok(signature)
    }
}

#[test]
fn a_gateway_cannot_issue_certificates() {
    let fleet = Fleet::new();
    // A gateway that uses its own key as an authority's, and sends both certificates.
    let gateway = fleet.authority.issue_gateway("acme", "gw-1").unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(gateway.key_pem.as_bytes()).unwrap();
    let key = PqdsaKeyPair::from_pkcs8(&ML_DSA_65_SIGNING, key.secret_pkcs8_der()).unwrap();
    let certificate = CertificateDer::from(gateway.certificate_der.clone());
    let issuer = rcgen::Issuer::from_ca_cert_der(&certificate, Own(key)).unwrap();
    let forged_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ML_DSA_65).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(
        "stencil:tenant/other/gateway/gw-9".try_into().unwrap(),
    )];
    let forged = params.signed_by(&forged_key, &issuer).unwrap();
    let chain = forged.pem() + &gateway.chain_pem;
    let forged = Identity::from_pem(&chain, &forged_key.serialize_pem()).unwrap();

    let server = tls::server(Policy::Strict, &fleet.hub(), &fleet.roots()).unwrap();
    let client = tls::client(Policy::Strict, &fleet.roots(), Some(&forged)).unwrap();
    assert!(matches!(
        connect(&client, &server),
        Err(Refused::Server(Error::InvalidCertificate(_)))
    ));
}

#[test]
fn every_connection_is_a_full_handshake() {
    let fleet = Fleet::new();
    let server = tls::server(Policy::Strict, &fleet.hub(), &fleet.roots()).unwrap();
    let client = tls::client(Policy::Strict, &fleet.roots(), Some(&fleet.gateway())).unwrap();
    for _ in 0..3 {
        let (client, server) = connect(&client, &server).unwrap();
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(client.tls13_tickets_received(), 0);
    }
}

#[test]
fn identities_of_the_wrong_algorithm_are_refused_at_the_start() {
    let fleet = Fleet::new();
    let classical = fleet.hub().classical.unwrap();
    let hub = ServerIdentity {
        post_quantum: classical.clone(),
        classical: None,
    };
    let refused = tls::server(Policy::Strict, &hub, &fleet.roots())
        .err()
        .unwrap();
    assert_eq!(
        refused.to_string(),
        "the server's post-quantum identity must have a key for ML-DSA-65"
    );
    let refused = tls::client(Policy::Strict, &fleet.roots(), Some(&classical))
        .err()
        .unwrap();
    assert_eq!(
        refused.to_string(),
        "the client's identity must have a key for ML-DSA-65"
    );
    let hub = ServerIdentity {
        post_quantum: fleet.hub().post_quantum,
        classical: Some(fleet.hub().post_quantum),
    };
    let refused = tls::server(Policy::Prefer, &hub, &fleet.roots())
        .err()
        .unwrap();
    assert_eq!(
        refused.to_string(),
        "the server's classical identity must have a key for ECDSA P-256"
    );
}

#[test]
fn a_key_of_another_certificate_is_refused_at_the_start() {
    let fleet = Fleet::new();
    let one = fleet.authority.issue_gateway("acme", "gw-1").unwrap();
    let other = fleet.authority.issue_gateway("acme", "gw-2").unwrap();
    let mixed = Identity::from_pem(&one.chain_pem, &other.key_pem).unwrap();
    assert!(tls::client(Policy::Strict, &fleet.roots(), Some(&mixed)).is_err());
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(dir.path(), "Test").unwrap();
    let issued = authority.issue_gateway("acme", "gw-1").unwrap();
    let (chain, key) = (dir.path().join("gw.pem"), dir.path().join("gw.key"));
    issued.write(&chain, &key).unwrap();
    Identity::load(&chain, &key).unwrap();
    Roots::load(dir.path().join("root.pem")).unwrap();

    let refused = Identity::load(&key, &key).err().unwrap().to_string();
    assert!(
        refused.contains("gw.key") && refused.contains("no CERTIFICATE"),
        "{refused}"
    );
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let refused = Roots::load(&empty).err().unwrap().to_string();
    assert!(
        refused.contains("empty.pem: no root certificate"),
        "{refused}"
    );
    let refused = Roots::load(dir.path().join("none.pem"))
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.contains("none.pem") && refused.contains("No such file"),
        "{refused}"
    );
}
