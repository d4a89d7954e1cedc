//! The status lists that gateways go by, where rights are in many of them.

use serde_json::Value;
use stencil_access::Trust;
use stencil_access::trust::{MAX_LISTS, MAX_NEWEST, Policy};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_store::{CredentialStanding, KeptCredential, NewRight, StoredCredential};

use super::access::{API, World};
use super::{NOW_US, seed};
use crate::access::Standings;

/// A right without end that has a bit in this list.
async fn right_in(world: &World, list: u32) {
    let acme = seed::acme();
    let credential = StoredCredential {
        credential: format!("urn:uuid:in-{list}"),
        kind: "DeviceAccessCredential".into(),
        subject: "did:pkh:eip155:1:0x07".into(),
        list,
        bit: 77,
        standing: CredentialStanding::Good,
        cause: None,
        issued_by: None,
        body: "{}".into(),
        issued_us: NOW_US,
        valid_until_us: None,
        changed_us: NOW_US,
    };
    let store = &world.served.store;
    let kept = store.credentials.keep_credential(&acme, &credential).await;
    assert_eq!(kept.unwrap(), KeptCredential::Made);
    let right = NewRight {
        right: credential.credential,
        holder: [7; 20],
        device: DeviceId::parse("freezer-marked").unwrap(),
        source: "api".into(),
        body: r#"{"chain":1,"commands":["open"]}"#.into(),
        cause: None,
        until_us: None,
        made_us: NOW_US,
    };
    assert!(store.access.put_right(&acme, &right).await.unwrap());
}

#[tokio::test]
async fn a_right_of_long_ago_stands_in_a_list_that_gateways_are_told() {
    let world = World::new().await;
    let (acme, gateway) = (seed::acme(), GatewayId::parse("gw-1").unwrap());
    // The tenant's keys are made with the first one.
    let wanted = World::wanted();
    let given = world.rights.grant(&acme, &wanted, API, NOW_US);
    given.await.unwrap();
    let most = u32::try_from(MAX_LISTS / 2).unwrap();
    // With one of long ago more than any gateway keeps.
    for list in 100..=100 + most {
        right_in(&world, list).await;
    }
    let mut standings = Standings::default();
    standings.look(&world.rights, &acme, NOW_US).await.unwrap();
    let told = standings.of(&acme).unwrap();
    assert_eq!(told.lists.len(), MAX_LISTS);
    let numbers: Vec<u32> = (101..=100 + most).rev().collect();
    let terms = world
        .identity
        .terms(&acme, &gateway, Policy::default(), &numbers)
        .await
        .unwrap()
        .unwrap();
    // Gateways of before take no more in one place.
    assert_eq!(terms.lists.len(), MAX_NEWEST);
    assert!(terms.lists[0].ends_with(&format!("/{}", 100 + most)));
    assert!(terms.names(&terms.older[MAX_LISTS - MAX_NEWEST - 1]));
    let mut trust = Trust::new(terms).unwrap();
    for list in &told.lists {
        let url = trust.take_list(list).unwrap();
        let kept = serde_json::to_vec::<Value>(list).unwrap().len();
        assert!(kept < 64 * 1024, "{url}: {kept}");
    }
    assert!(trust.admits_until_us().is_some());
}
