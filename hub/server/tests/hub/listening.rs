//! The listeners: what each lets in, and what is shown of it.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::support::{Client, TestHub, device, eventually, gateway, tenant};

const TOPIC: &str = "v1/devices/me/telemetry";

/// TLS as a client has it that knows nothing post-quantum.
fn classical(test: &TestHub) -> Arc<rustls::ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let known = provider.signature_verification_algorithms;
    let mapping: Vec<_> = known
        .mapping
        .iter()
        .copied()
        .filter(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256)
        .collect();
    provider.signature_verification_algorithms = WebPkiSupportedAlgorithms {
        all: known.all,
        mapping: mapping.leak(),
    };
    let layout = stencil_server::Layout::new(&test.data_dir());
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(layout.classical_root()).unwrap())
        .unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[tokio::test]
async fn a_classical_client_is_refused_by_strict_and_shown_as_such_by_prefer() {
    let any = "127.0.0.1:0".parse().unwrap();
    let test = TestHub::start_with(|options| options.mqtt.prefer = Some(any)).await;
    let token = test.token("kiosk").await;
    let addresses = test.running.addresses();

    let strict = Client::over_tls(addresses.strict, classical(&test), token.reveal()).await;
    assert!(strict.is_err());
    let refused = test.hub().metrics_text();
    let refused = refused
        .lines()
        .find(|line| line.starts_with("stencil_hub_mqtt_tls_refused_total{"));
    assert!(
        refused.is_some_and(|line| line.ends_with(" 1")),
        "{refused:?}"
    );

    let prefer = addresses.prefer.unwrap();
    let client = Client::over_tls(prefer, classical(&test), token.reveal())
        .await
        .unwrap();
    client
        .publish(TOPIC, r#"{"temperature": 21.5}"#)
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    let store = test.hub().store();
    let latest = store
        .devices
        .latest(&tenant("acme"), &device("kiosk"))
        .await
        .unwrap();
    let link = latest[0].link.as_ref().unwrap();
    assert_eq!(link.group.as_deref(), Some("X25519"));
    assert!(!link.post_quantum);
}

#[tokio::test]
async fn a_certificate_of_a_tenant_that_the_hub_does_not_have_opens_nothing() {
    let test = TestHub::start().await;
    let files = stencil_server::add_gateway(
        &test.data_dir(),
        &tenant("nobody"),
        &gateway("gw-1"),
        test.dir.path(),
    )
    .unwrap();
    let address = test.running.addresses().strict;
    assert!(
        Client::try_certificate("gw-1", address, &files)
            .await
            .is_err()
    );
    // Made while the hub runs, it is there at once; what is older than it may be another's of that name.
    let hub = test.hub().clone();
    let second = || hub.now_us() / 1_000_000;
    let older_s = second();
    eventually("the next second", async || second() > older_s).await;
    stencil_server::init(&test.data_dir(), &tenant("nobody"), &["localhost"])
        .await
        .unwrap();
    assert!(
        Client::try_certificate("gw-1", address, &files)
            .await
            .is_err()
    );
    let out = test.dir.path().join("after");
    let gateway = gateway("gw-1");
    let files = stencil_server::add_gateway(&test.data_dir(), &tenant("nobody"), &gateway, &out);
    Client::with_certificate("gw-1", address, &files.unwrap()).await;
}

#[tokio::test]
async fn http_is_served_and_ends_with_the_hub() {
    let test = TestHub::start().await;
    let http = test.running.addresses().http;
    // reqwest wants one, also where there is no TLS.
    let _ = aws_lc_rs::default_provider().install_default();
    let ready = reqwest::get(format!("http://{http}/readyz")).await.unwrap();
    assert_eq!(ready.status(), 200);
    let metrics = reqwest::get(format!("http://{http}/metrics"))
        .await
        .unwrap();
    assert!(
        metrics
            .text()
            .await
            .unwrap()
            .contains("stencil_hub_samples_stored_total 0")
    );
    let devices = reqwest::get(format!("http://{http}/api/v1/devices"))
        .await
        .unwrap();
    assert_eq!(devices.status(), 401);
    test.running.shutdown().await.unwrap();
    assert!(reqwest::get(format!("http://{http}/livez")).await.is_err());
}
