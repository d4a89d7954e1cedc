//! Gateways' certificates: which let a gateway in, what follows them, and how they end.

use stencil_protocol::id::TenantId;
use stencil_store::{
    AuditFilter, CertificateState, Commit, Error, Fingerprint, GatewayHolds, NewCertificate,
    Presented, Renewable, Store,
};

use crate::{Fresh, acme, at, fresh, gateway, other};

/// The certificate of this number, which begins then.
fn certificate(n: u8, not_before_us: i64) -> NewCertificate {
    NewCertificate {
        fingerprint: [n; 32],
        serial: format!("{n:02x}"),
        key: [n ^ 0x80; 32],
        not_before_us,
        not_after_us: not_before_us + 1_000,
    }
}

async fn add(store: &Store, n: u8, at_us: i64) {
    let (tenant, gateway) = (acme(), gateway("g1"));
    let (certificates, it) = (&store.certificates, certificate(n, at_us));
    let added = certificates.add_certified(&tenant, &gateway, &it, at_us);
    added.await.unwrap();
}

async fn come(store: &Store, n: u8, not_before_us: i64, in_time: bool) -> Presented {
    let (tenant, gateway) = (acme(), gateway("g1"));
    let it = certificate(n, not_before_us);
    let certificates = &store.certificates;
    let presented = certificates.present(&tenant, &gateway, &it, in_time, not_before_us + 1);
    presented.await.unwrap()
}

async fn renew(store: &Store, of: u8, n: u8, at_us: i64) -> bool {
    let (tenant, gateway, it) = (acme(), gateway("g1"), certificate(n, at_us));
    let (certificates, of) = (&store.certificates, [of; 32]);
    let kept = certificates.keep_renewed(&tenant, &gateway, &of, &it, "chain", at_us);
    kept.await.unwrap()
}

async fn renewable(store: &Store, of: u8, n: u8) -> Renewable {
    let (tenant, gateway, key) = (acme(), gateway("g1"), certificate(n, 0).key);
    let (certificates, of) = (&store.certificates, [of; 32]);
    let found = certificates.renewable(&tenant, &gateway, &of, &key);
    found.await.unwrap()
}

async fn revoke(store: &Store) -> Option<Vec<Fingerprint>> {
    let (tenant, gateway) = (acme(), gateway("g1"));
    let revoked = store.certificates.revoke_gateway(&tenant, &gateway, 50);
    revoked.await.unwrap()
}

async fn states(store: &Store) -> Vec<(u8, CertificateState)> {
    let (tenant, gateway) = (acme(), gateway("g1"));
    let found = store.certificates.certificates(&tenant, &gateway);
    let found = found.await.unwrap().into_iter();
    found.map(|it| (it.fingerprint[0], it.state)).collect()
}

#[tokio::test]
async fn the_first_use_of_a_later_one_ends_those_before() {
    let Fresh { store, folder: _f } = fresh().await;
    add(&store, 1, 10).await;
    assert_eq!(come(&store, 1, 10, true).await, Presented::First(vec![]));
    assert_eq!(come(&store, 1, 10, true).await, Presented::Current);

    let Renewable::Current { last_us: None, .. } = renewable(&store, 1, 2).await else {
        panic!("nothing was made yet");
    };
    assert!(renew(&store, 1, 2, 20).await);
    // Both are good until the new one was used; asked for again, it is the same.
    assert_eq!(come(&store, 1, 10, true).await, Presented::Current);
    assert_eq!(
        renewable(&store, 1, 2).await,
        Renewable::Made("chain".into())
    );
    // For another key there is another one, and the one that was not used is over.
    let Renewable::Current { last_us, .. } = renewable(&store, 1, 3).await else {
        panic!("there is none for this key");
    };
    assert_eq!(last_us, Some(20));
    assert!(renew(&store, 1, 3, 30).await);
    assert_eq!(come(&store, 2, 20, true).await, Presented::Superseded);

    let first = come(&store, 3, 30, true).await;
    assert_eq!(first, Presented::First(vec![[1; 32]]));
    assert_eq!(come(&store, 1, 10, true).await, Presented::Superseded);
    assert_eq!(renewable(&store, 1, 9).await, Renewable::Not);
    assert!(
        !renew(&store, 1, 9, 40).await,
        "a stolen copy renews nothing"
    );
    use CertificateState::{Current, Superseded};
    assert_eq!(
        states(&store).await,
        [(3, Current), (2, Superseded), (1, Superseded)]
    );
    let filter = AuditFilter::default();
    let tenant = acme();
    let log = store.audit.entries(&tenant, &filter, None, 10);
    let log = log.await.unwrap().items;
    let actions: Vec<_> = log.iter().rev().map(|it| it.action.as_str()).collect();
    let (used, issued) = ("gateways.certify", "gateways.renew");
    assert_eq!(actions, [used, issued, issued, used]);
    assert_eq!(store.certificates.ending_before(1_030).await.unwrap(), 0);
    assert_eq!(store.certificates.ending_before(1_031).await.unwrap(), 1);
}

#[tokio::test]
async fn what_a_copy_was_given_ends_when_the_gateway_is_made_anew() {
    let Fresh { store, folder: _f } = fresh().await;
    add(&store, 1, 10).await;
    come(&store, 1, 10, true).await;
    add(&store, 2, 20).await;
    assert!(renew(&store, 1, 3, 30).await, "by whoever has the old one");
    // A second that was added and waits to be used is not ended by the first.
    add(&store, 4, 40).await;
    let ended = come(&store, 2, 20, true).await;
    assert_eq!(ended, Presented::First(vec![[1; 32], [3; 32]]));
    assert_eq!(come(&store, 3, 30, true).await, Presented::Superseded);
    let ended = come(&store, 4, 40, true).await;
    assert_eq!(ended, Presented::First(vec![[2; 32]]));
}

#[tokio::test]
async fn one_that_was_not_heard_of_is_taken_only_where_it_is_the_newest() {
    let Fresh { store, folder: _f } = fresh().await;
    // A gateway from before certificates were kept, or a hub that was restored from a backup.
    assert_eq!(
        come(&store, 1, 10, false).await,
        Presented::Unknown,
        "it is over"
    );
    assert_eq!(come(&store, 1, 10, true).await, Presented::Met(vec![]));
    assert_eq!(
        come(&store, 1, 10, false).await,
        Presented::Current,
        "it is known"
    );
    assert_eq!(come(&store, 2, 9, true).await, Presented::Unknown);
    let met = come(&store, 3, 30, true).await;
    assert_eq!(met, Presented::Met(vec![[1; 32]]));
    // That is another tenant's gateway.
    let (tenant, name) = (other(), gateway("g1"));
    let of = store.certificates.certificates(&tenant, &name);
    assert!(of.await.unwrap().is_empty());
}

#[tokio::test]
async fn a_revoked_gateway_stays_out_until_it_is_made_anew() {
    let Fresh { store, folder: _f } = fresh().await;
    let (acme, g1) = (acme(), gateway("g1"));
    let unknown = store.certificates.revoke_gateway(&acme, &g1, 50).await;
    assert!(
        matches!(unknown, Err(Error::NotFound { .. })),
        "{unknown:?}"
    );
    add(&store, 1, 10).await;
    come(&store, 1, 10, true).await;
    assert!(renew(&store, 1, 2, 20).await);
    let says = |position, key: u8| {
        let commit = Commit {
            holds: vec![GatewayHolds {
                tenant: acme.clone(),
                gateway: g1.clone(),
                epoch: 0,
                revision: 0,
                public_key: Some(vec![key; 8]),
                received_us: 30,
            }],
            ..at(position)
        };
        let pipeline = &store.pipeline;
        async move { pipeline.commit(commit).await.unwrap() }
    };
    says(1, 7).await;
    let mut ended = revoke(&store).await.expect("it is news");
    ended.sort_unstable();
    assert_eq!(ended, [[1; 32], [2; 32]]);
    assert_eq!(revoke(&store).await, None);
    for (n, from) in [(1, 10), (2, 20), (3, 60)] {
        assert_eq!(come(&store, n, from, true).await, Presented::Revoked, "{n}");
    }
    assert_eq!(renewable(&store, 1, 4).await, Renewable::Not);
    assert!(!renew(&store, 1, 4, 60).await);
    // What it had said before and is applied now gives it no keys.
    says(2, 7).await;
    let found = store.registry.registered_gateways(&acme).await.unwrap();
    assert_eq!(found[0].registered_us, Some(30));
    let shown = store.gateways.gateway(&acme, &g1).await.unwrap().unwrap();
    assert_eq!(shown.revoked_us, Some(50));

    add(&store, 5, 70).await;
    assert_eq!(come(&store, 5, 70, true).await, Presented::First(vec![]));
    assert_eq!(come(&store, 1, 10, true).await, Presented::Revoked);
    assert_eq!(come(&store, 6, 15, true).await, Presented::Unknown);
    let shown = store.gateways.gateway(&acme, &g1).await.unwrap().unwrap();
    assert_eq!(shown.revoked_us, None);
    assert_eq!(shown.certificate_end_us, Some(1_070));
    // It has no key until it says one, and that is no intrusion.
    assert_eq!(says(3, 8).await.rekeyed, []);
}

#[tokio::test]
async fn one_that_is_older_than_the_tenant_is_of_another_of_its_name() {
    const S: i64 = 1_000_000;
    let Fresh { store, folder: _f } = fresh().await;
    let (tenant, made_us) = (TenantId::parse("again").unwrap(), 10_000 * S + 17);
    let tenancy = &store.tenancy;
    assert_eq!(tenancy.tenant_made(&tenant).await.unwrap(), None);
    tenancy.create_tenant(&tenant, made_us).await.unwrap();
    let made = tenancy.tenant_made(&tenant).await.unwrap();
    assert_eq!(made, Some(made_us));
    let present = async |of: &str, it: &NewCertificate| {
        let (certificates, gateway) = (&store.certificates, gateway(of));
        let presented = certificates.present(&tenant, &gateway, it, true, made_us + 1);
        presented.await.unwrap()
    };
    // The authority dates them back by an hour.
    let before = certificate(1, (10_000 - 3_600 - 1) * S);
    assert_eq!(present("g1", &before).await, Presented::Former);
    let after = certificate(2, (10_000 - 3_600) * S);
    assert_eq!(present("g1", &after).await, Presented::Met(vec![]));
    // One that the hub has issued to this tenant is its own, whatever the clock said.
    let (certificates, g2) = (&store.certificates, gateway("g2"));
    let added = certificates.add_certified(&tenant, &g2, &before, 5);
    added.await.unwrap();
    assert_eq!(present("g2", &before).await, Presented::First(vec![]));
}
