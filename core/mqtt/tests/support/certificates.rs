//! Certificates made on the spot, and TLS configurations on them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, SignatureAlgorithm};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub const HYBRID: &[&dyn SupportedKxGroup] = &[aws_lc_rs::kx_group::X25519MLKEM768];
pub const CLASSICAL: &[&dyn SupportedKxGroup] = &[aws_lc_rs::kx_group::X25519];

/// A root that issues certificates by one algorithm.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    algorithm: &'static SignatureAlgorithm,
}

pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Identity {
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

impl Authority {
    pub fn new(algorithm: &'static SignatureAlgorithm) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(algorithm).unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            algorithm,
        }
    }

    pub fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate_for(self.algorithm).unwrap();
        let certificate = CertificateParams::new([name.to_owned()])
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: key.serialize_der(),
        }
    }

    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A TLS 1.3 server that asks for client certificates and takes clients
    /// without one.
    pub fn server(&self, groups: &[&'static dyn SupportedKxGroup]) -> Arc<ServerConfig> {
        let provider = provider(groups);
        let identity = self.issue("localhost");
        let clients =
            WebPkiClientVerifier::builder_with_provider(self.roots(), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(identity.chain.clone(), identity.key())
            .unwrap();
        Arc::new(config)
    }

    /// A client that trusts this authority.
    pub fn client(
        &self,
        groups: &[&'static dyn SupportedKxGroup],
        identity: Option<Identity>,
    ) -> Arc<ClientConfig> {
        client(provider(groups), self.roots(), identity)
    }
}

pub fn client(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    identity: Option<Identity>,
) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        Some(identity) => config
            .with_client_auth_cert(identity.chain.clone(), identity.key())
            .unwrap(),
        None => config.with_no_client_auth(),
    })
}

pub fn provider(groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: groups.to_vec(),
        ..aws_lc_rs::default_provider()
    })
}
