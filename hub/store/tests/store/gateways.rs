//! What gateways shall be like, and say that they are like.

use std::collections::BTreeMap;

use stencil_protocol::desired::{Few, Flaw, Judged, Revision, Section, State, Verdict};
use stencil_protocol::id::DeviceId;
use stencil_store::{
    Commit, DesiredOf, Effective, Erased, Error, Gateway, GatewaySaid, LinkInfo, Store,
};

use crate::{Fresh, acme, at, fresh, gateway, other};

fn texts(of: &[(Section, &str)]) -> BTreeMap<Section, String> {
    of.iter()
        .map(|(section, text)| (*section, (*text).to_owned()))
        .collect()
}

fn of_gateway(name: &str) -> DesiredOf {
    DesiredOf::Gateway(gateway(name))
}

async fn set(
    store: &Store,
    of: &DesiredOf,
    sections: &[(Section, &str)],
    replaces: u64,
) -> Result<u64, Error> {
    let sections = texts(sections);
    let gateways = &store.gateways;
    gateways
        .set_desired(&acme(), of, &sections, replaces, "user ann", 5)
        .await
}

async fn effective(store: &Store, name: &str) -> Option<Effective> {
    let found = store.gateways.effective(&acme(), &gateway(name)).await;
    found.unwrap()
}

/// Its number, and its texts by section.
async fn follows(store: &Store, name: &str) -> (u64, BTreeMap<Section, String>) {
    let effective = effective(store, name).await.unwrap();
    let mut found = BTreeMap::new();
    for section in &effective.sections {
        let text = store.gateways.desired_text(&acme(), &section.digest).await;
        let text = text.unwrap().expect("its text is there");
        assert_eq!(text.len(), section.length as usize);
        found.insert(section.section, text);
    }
    (effective.revision.number, found)
}

async fn shown(store: &Store, name: &str) -> Gateway {
    let found = store.gateways.gateway(&acme(), &gateway(name)).await;
    found.unwrap().expect("it is known")
}

async fn says(store: &Store, position: u64, name: &str, last: Option<Judged>) {
    let runs = last
        .as_ref()
        .filter(|last| last.verdict == Verdict::Applied)
        .map(|last| last.revision);
    let commit = Commit {
        gateways: vec![GatewaySaid {
            tenant: acme(),
            gateway: gateway(name),
            state: State {
                version: "1.2.3".to_owned(),
                started_us: 1,
                at_us: 2,
                runs,
                last,
                spool_bytes: 10,
                waiting_bytes: 3,
                links: 4,
                certificate_end_us: Some(99),
                field_devices: Some(5),
                silent: Some(Few {
                    count: 2,
                    first: vec![DeviceId::parse("press-1").unwrap()],
                }),
                unused_keys: None,
            },
            link: LinkInfo {
                suite: None,
                group: Some("X25519MLKEM768".to_owned()),
                post_quantum: true,
            },
            received_us: 7,
        }],
        ..at(position)
    };
    store.pipeline.commit(commit).await.unwrap();
}

fn judged(revision: Revision, verdict: Verdict) -> Judged {
    let flaws = match verdict {
        Verdict::Applied | Verdict::Trying => Vec::new(),
        _ => vec![Flaw::new(Some(Section::Mapping), 2, 3, "no")],
    };
    Judged {
        revision,
        verdict,
        at_us: 6,
        flaws,
    }
}

async fn undecided(store: &Store) -> Vec<String> {
    let found = store.gateways.undecided(10).await.unwrap();
    found.iter().map(|(_, name)| name.to_string()).collect()
}

#[tokio::test]
async fn a_section_comes_from_the_gateway_then_from_its_groups_in_their_order() {
    let Fresh { store, folder: _f } = fresh().await;
    let (first, second) = (gateway("cold"), gateway("north"));
    set(&store, &of_gateway("g1"), &[(Section::Settings, "own")], 0)
        .await
        .unwrap();
    let of_group = |group: &_| DesiredOf::Group(Clone::clone(group));
    let sections = [
        (Section::Settings, "cold"),
        (Section::Mapping, "cold mapping"),
    ];
    set(&store, &of_group(&first), &sections, 0).await.unwrap();
    let sections = [(Section::Mapping, "north mapping")];
    set(&store, &of_group(&second), &sections, 0).await.unwrap();
    assert_eq!(
        follows(&store, "g1").await,
        (1, texts(&[(Section::Settings, "own")]))
    );

    let groups = [first.clone(), second.clone()];
    let gateways = &store.gateways;
    gateways
        .set_groups(&acme(), &gateway("g1"), &groups, 5)
        .await
        .unwrap();
    let all = texts(&[
        (Section::Settings, "own"),
        (Section::Mapping, "cold mapping"),
    ]);
    assert_eq!(follows(&store, "g1").await, (2, all));
    assert_eq!(shown(&store, "g1").await.groups, groups);
    let listed = gateways.gateway_groups(&acme(), None, 10).await.unwrap();
    assert_eq!(listed.items, [(first.clone(), 1), (second.clone(), 1)]);

    // The group changes: so does what follows for its gateways, and for no other.
    set(&store, &of_gateway("g2"), &[], 0).await.unwrap();
    set(&store, &of_group(&first), &[], 1).await.unwrap();
    let left = texts(&[
        (Section::Settings, "own"),
        (Section::Mapping, "north mapping"),
    ]);
    assert_eq!(follows(&store, "g1").await, (3, left));
    assert_eq!(follows(&store, "g2").await, (1, BTreeMap::new()));

    // Texts that nobody names are gone.
    let digest = effective(&store, "g1").await.unwrap().sections[0].digest;
    set(&store, &of_gateway("g1"), &[], 1).await.unwrap();
    let text = gateways.desired_text(&acme(), &digest).await.unwrap();
    assert_eq!(text, None);

    let twice = [first.clone(), first];
    let again = gateways
        .set_groups(&acme(), &gateway("g1"), &twice, 5)
        .await;
    assert!(matches!(again, Err(Error::Invalid { .. })), "{again:?}");
}

#[tokio::test]
async fn a_change_names_the_version_that_it_replaces() {
    let Fresh { store, folder: _f } = fresh().await;
    let of = of_gateway("g1");
    let sections = [(Section::Settings, "a")];
    assert_eq!(set(&store, &of, &sections, 0).await.unwrap(), 1);
    for wrong in [0, 2] {
        let refused = set(&store, &of, &sections, wrong).await;
        assert!(
            matches!(&refused, Err(Error::Conflict(why)) if why.contains("version 1 is there")),
            "{refused:?}"
        );
    }
    // The same again is to be tried again.
    assert_eq!(set(&store, &of, &sections, 1).await.unwrap(), 2);
    assert_eq!(follows(&store, "g1").await.0, 2);
    let desired = store.gateways.desired(&acme(), &of).await.unwrap();
    assert_eq!(desired.version, 2);
    assert_eq!(desired.sections, texts(&sections));
    assert_eq!(desired.changed_by.as_deref(), Some("user ann"));
    // Another tenant has none of it.
    let rival = store.gateways.desired(&other(), &of).await.unwrap();
    assert_eq!(rival.version, 0);
    let rival = store.gateways.gateways(&other(), None, None, 10).await;
    assert!(rival.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_gateway_is_told_until_it_has_judged() {
    let Fresh { store, folder: _f } = fresh().await;
    let of = of_gateway("g1");
    set(&store, &of, &[(Section::Settings, "a")], 0)
        .await
        .unwrap();
    assert_eq!(undecided(&store).await, ["g1"]);
    let first = effective(&store, "g1").await.unwrap().revision;

    says(&store, 10, "g1", None).await;
    says(&store, 20, "g1", Some(judged(first, Verdict::Trying))).await;
    assert_eq!(undecided(&store).await, ["g1"]);
    let shown_now = shown(&store, "g1").await;
    assert_eq!(shown_now.last.unwrap().verdict, Verdict::Trying);
    says(&store, 30, "g1", Some(judged(first, Verdict::Applied))).await;
    assert!(undecided(&store).await.is_empty());
    let shown_now = shown(&store, "g1").await;
    assert_eq!(shown_now.applied_revision, Some(1));
    assert_eq!(shown_now.version.as_deref(), Some("1.2.3"));
    assert_eq!(
        (
            shown_now.spool_bytes,
            shown_now.waiting_bytes,
            shown_now.links
        ),
        (Some(10), Some(3), Some(4))
    );
    let silent = shown_now.silent.unwrap();
    assert_eq!((silent.count, silent.first.len()), (2, 1));
    assert_eq!(
        (shown_now.field_devices, shown_now.unused_keys),
        (Some(5), None)
    );
    assert!(shown_now.link.unwrap().post_quantum);

    set(&store, &of, &[(Section::Settings, "b")], 1)
        .await
        .unwrap();
    let second = effective(&store, "g1").await.unwrap().revision;
    assert_eq!(undecided(&store).await, ["g1"]);
    says(&store, 40, "g1", Some(judged(second, Verdict::RolledBack))).await;
    assert!(undecided(&store).await.is_empty());
    let last = shown(&store, "g1").await.last.unwrap();
    assert_eq!((last.revision, last.verdict), (2, Verdict::RolledBack));
    assert_eq!(last.why[0].section.as_deref(), Some("mapping"));
    assert_eq!(last.why[0].line, Some(2));

    // It has lost its disk: it is told again.
    says(&store, 50, "g1", None).await;
    assert_eq!(undecided(&store).await, ["g1"]);
}

#[tokio::test]
async fn after_a_restore_the_numbering_is_another_one() {
    let Fresh { store, folder: _f } = fresh().await;
    let of = of_gateway("g1");
    set(&store, &of, &[(Section::Settings, "a")], 0)
        .await
        .unwrap();
    let first = effective(&store, "g1").await.unwrap().revision;
    says(&store, 10, "g1", Some(judged(first, Verdict::Applied))).await;
    store.gateways.renumber_desired().await.unwrap();
    let again = effective(&store, "g1").await.unwrap().revision;
    assert_ne!(again.epoch, first.epoch);
    assert_eq!(undecided(&store).await, ["g1"]);

    // Also where the gateway knows of more than there is.
    let beyond = Revision {
        number: again.number + 5,
        ..again
    };
    says(&store, 20, "g1", Some(judged(beyond, Verdict::Applied))).await;
    assert_eq!(undecided(&store).await, ["g1"]);
    assert_ne!(
        effective(&store, "g1").await.unwrap().revision.epoch,
        again.epoch
    );
}

#[tokio::test]
async fn nothing_is_left_of_a_tenant_that_is_erased() {
    let Fresh { store, folder: _f } = fresh().await;
    set(&store, &of_gateway("g1"), &[(Section::Mapping, "a")], 0)
        .await
        .unwrap();
    let groups = [gateway("cold")];
    store
        .gateways
        .set_groups(&acme(), &gateway("g1"), &groups, 5)
        .await
        .unwrap();
    let erased = Erased::Tenant(acme());
    store.keeping.erase(10, &erased).await.unwrap();
    assert!(undecided(&store).await.is_empty());
    let left = store.gateways.gateways(&acme(), None, None, 10).await;
    assert!(left.unwrap().items.is_empty());
    // What it still says, finds nobody.
    says(&store, 20, "g1", None).await;
}

#[tokio::test]
async fn a_gateway_that_is_removed_is_forgotten_and_its_certificates_stay_out() {
    let Fresh { store, folder: _f } = fresh().await;
    let (gw, certificates) = (gateway("g1"), &store.certificates);
    let certificate = |n: u8| stencil_store::NewCertificate {
        fingerprint: [n; 32],
        serial: format!("{n:02x}"),
        key: [n; 32],
        not_before_us: i64::from(n),
        not_after_us: 1_000,
    };
    let (acme, first) = (acme(), certificate(1));
    let added = certificates.add_certified(&acme, &gw, &first, 5);
    added.await.unwrap();
    let used = certificates.present(&acme, &gw, &first, true, 6);
    used.await.unwrap();
    let of = DesiredOf::Gateway(gw.clone());
    set(&store, &of, &[(Section::Settings, "a")], 0)
        .await
        .unwrap();
    says(&store, 10, "g1", None).await;

    // While it is let in it is there.
    let refused = store.gateways.remove_gateway(&acme, &gw).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    certificates.revoke_gateway(&acme, &gw, 7).await.unwrap();
    assert!(store.gateways.remove_gateway(&acme, &gw).await.unwrap());
    assert!(!store.gateways.remove_gateway(&acme, &gw).await.unwrap());
    let found = store.gateways.gateway(&acme, &gw).await.unwrap();
    assert_eq!(found, None);
    let desired = store.gateways.desired(&acme, &of).await.unwrap();
    assert_eq!((desired.version, desired.sections.len()), (0, 0));
    // Neither the certificate that it had nor a later one that nobody added lets it in again.
    for n in [1, 2] {
        let it = certificate(n);
        let comes = certificates.present(&acme, &gw, &it, true, 8);
        assert_eq!(comes.await.unwrap(), stencil_store::Presented::Revoked);
    }
    // One that is made anew is a new one.
    let third = certificate(3);
    let again = certificates.add_certified(&acme, &gw, &third, 9);
    again.await.unwrap();
    assert_eq!(shown(&store, "g1").await.revoked_us, None);
    // What was only ever named goes without more ado.
    let of = DesiredOf::Gateway(gateway("slip"));
    set(&store, &of, &[(Section::Settings, "a")], 0)
        .await
        .unwrap();
    let slip = gateway("slip");
    assert!(store.gateways.remove_gateway(&acme, &slip).await.unwrap());
}
