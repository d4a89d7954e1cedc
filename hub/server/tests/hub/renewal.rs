//! Server certificates that end soon.

use std::path::Path;
use std::time::SystemTime;

use stencil_crypto::authority::{Algorithm, Authority, Validity};
use stencil_crypto::tls::Identity;
use stencil_server::{Layout, Service};

use crate::support::{Client, gateway, options, prepare, tenant};

const ALGORITHMS: [(Algorithm, &str); 2] = [
    (Algorithm::MlDsa65, "server"),
    (Algorithm::EcdsaP256, "classical-server"),
];

/// Puts certificates of this authority that have so many days left in the hub's place.
fn put(layout: &Layout, authority: &Authority, days: u32) {
    for (algorithm, name) in ALGORITHMS {
        let validity = Validity::days_from(SystemTime::now(), days);
        let issued = authority
            .issue_server_with(&["localhost", "127.0.0.1"], algorithm, validity)
            .unwrap();
        let file = |end| layout.server().join(format!("{name}.{end}"));
        issued.write(file("pem"), file("key")).unwrap();
    }
}

/// When they end, in seconds since the Unix epoch.
fn ends(layout: &Layout) -> [u64; 2] {
    ALGORITHMS.map(|(_, name)| {
        let file = |end| layout.server().join(format!("{name}.{end}"));
        let identity = Identity::load(file("pem"), file("key")).unwrap();
        Validity::of(&identity.chain()[0]).unwrap().not_after_s()
    })
}

/// When something ends that has so many days left.
fn in_days(days: u32) -> u64 {
    Validity::days_from(SystemTime::now(), days).not_after_s()
}

async fn start_once(data_dir: &Path) {
    let running = Service::start(options(data_dir)).await.unwrap();
    running.shutdown().await.unwrap();
}

#[tokio::test]
async fn they_are_renewed_at_start() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path()).await;
    let layout = Layout::new(dir.path());
    let authority = Authority::open(layout.authority()).unwrap();
    put(&layout, &authority, 62);
    let before = ends(&layout);
    start_once(dir.path()).await;
    assert_eq!(ends(&layout), before, "they are in time");

    put(&layout, &authority, 59);
    let files = stencil_server::add_gateway(
        dir.path(),
        &tenant("acme"),
        &gateway("gw-1"),
        &dir.path().join("gw"),
    )
    .unwrap();
    let running = Service::start(options(dir.path())).await.unwrap();
    let renewed = ends(&layout);
    assert!(renewed.iter().all(|end| *end > in_days(396)), "{renewed:?}");
    // Who trusts the fleet's root trusts the new one.
    Client::with_certificate("gw-1", running.addresses().strict, &files).await;
    running.shutdown().await.unwrap();
    start_once(dir.path()).await;
    assert_eq!(ends(&layout), renewed, "once");
}

#[tokio::test]
async fn without_the_authority_the_hub_starts_and_leaves_them() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path()).await;
    let layout = Layout::new(dir.path());
    let authority = Authority::open(layout.authority()).unwrap();
    put(&layout, &authority, 10);
    for key in ["root.key", "classical-root.key"] {
        std::fs::rename(layout.authority().join(key), dir.path().join(key)).unwrap();
    }
    let before = ends(&layout);
    start_once(dir.path()).await;
    assert_eq!(ends(&layout), before);
}

#[tokio::test]
async fn those_of_another_authority_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path()).await;
    let layout = Layout::new(dir.path());
    let other = Authority::create(dir.path().join("other"), "Another").unwrap();
    put(&layout, &other, 10);
    let before = ends(&layout);
    start_once(dir.path()).await;
    assert_eq!(ends(&layout), before);
}
