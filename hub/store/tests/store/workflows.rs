use stencil_store::{Error, MAX_DEFINITION};

use crate::{acme, fresh, other};

#[tokio::test]
async fn versions_never_change_and_the_newest_put_is_active() {
    let fresh = fresh().await;
    let port = &fresh.store.workflows;
    assert!(port.put(&acme(), "warm", 1, "id: warm", 5).await.unwrap());
    assert!(!port.put(&acme(), "warm", 1, "id: warm", 6).await.unwrap());
    let error = port
        .put(&acme(), "warm", 1, "id: other", 7)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");

    assert!(
        port.put(&acme(), "warm", 3, "id: warm # 3", 8)
            .await
            .unwrap()
    );
    let error = port
        .put(&acme(), "warm", 2, "id: warm # 2", 9)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");

    let active = port.active().await.unwrap();
    assert_eq!(active.len(), 1);
    assert_eq!(
        (active[0].1.version, active[0].1.yaml.as_str()),
        (3, "id: warm # 3")
    );
    let old = port.get(&acme(), "warm", Some(1)).await.unwrap().unwrap();
    assert_eq!(
        (old.active, old.yaml.as_str(), old.created_us),
        (false, "id: warm", 5)
    );
    assert_eq!(port.get(&acme(), "warm", Some(2)).await.unwrap(), None);
    let versions = port.versions(&acme(), "warm", None, 1).await.unwrap();
    assert_eq!(
        (versions.items[0].version, versions.next.as_deref()),
        (3, Some("3"))
    );
    let rest = port
        .versions(&acme(), "warm", versions.next.as_deref(), 1)
        .await
        .unwrap();
    assert_eq!((rest.items[0].version, rest.next), (1, None));
}

#[tokio::test]
async fn another_version_or_none_can_be_made_active() {
    let fresh = fresh().await;
    let port = &fresh.store.workflows;
    port.put(&acme(), "warm", 1, "a", 5).await.unwrap();
    port.put(&acme(), "warm", 2, "b", 5).await.unwrap();
    port.activate(&acme(), "warm", Some(1), 1).await.unwrap();
    assert_eq!(
        port.get(&acme(), "warm", None)
            .await
            .unwrap()
            .unwrap()
            .version,
        1
    );
    port.activate(&acme(), "warm", None, 1).await.unwrap();
    assert_eq!(port.active().await.unwrap(), []);
    assert_eq!(
        port.get(&acme(), "warm", None)
            .await
            .unwrap()
            .unwrap()
            .version,
        2
    );
    port.activate(&acme(), "warm", Some(2), 1).await.unwrap();
    let error = port
        .activate(&acme(), "warm", Some(9), 1)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    // What failed changed nothing.
    assert_eq!(port.active().await.unwrap().len(), 1);
}

#[tokio::test]
async fn since_when_a_workflow_is_in_force_outlasts_its_versions() {
    let fresh = fresh().await;
    let port = &fresh.store.workflows;
    let since = async || {
        let active = port.active().await.unwrap();
        let since = active
            .iter()
            .map(|(_, it)| (it.version, it.since_us.unwrap()));
        since.collect::<Vec<_>>()
    };
    port.put(&acme(), "warm", 1, "a", 5).await.unwrap();
    port.put(&acme(), "warm", 2, "b", 6).await.unwrap();
    assert_eq!(since().await, [(2, 5)]);
    port.activate(&acme(), "warm", Some(1), 7).await.unwrap();
    assert_eq!(since().await, [(1, 5)]);
    let old = port.get(&acme(), "warm", Some(2)).await.unwrap().unwrap();
    assert_eq!(old.since_us, None);
    // A break ends it.
    port.activate(&acme(), "warm", None, 8).await.unwrap();
    port.activate(&acme(), "warm", Some(1), 9).await.unwrap();
    assert_eq!(since().await, [(1, 9)]);
    port.activate(&acme(), "warm", None, 10).await.unwrap();
    port.put(&acme(), "warm", 3, "c", 11).await.unwrap();
    assert_eq!(since().await, [(3, 11)]);
}

#[tokio::test]
async fn the_list_has_each_workflow_once() {
    let fresh = fresh().await;
    let port = &fresh.store.workflows;
    for (id, version) in [("a", 1), ("a", 2), ("b", 1), ("c", 4)] {
        port.put(&acme(), id, version, "x", 5).await.unwrap();
    }
    port.put(&other(), "z", 1, "x", 5).await.unwrap();
    let first = port.list(&acme(), None, 2).await.unwrap();
    let rest = port.list(&acme(), first.next.as_deref(), 2).await.unwrap();
    let found: Vec<_> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|w| (w.id.as_str(), w.version))
        .collect();
    assert_eq!(found, [("a", 2), ("b", 1), ("c", 4)]);
    assert_eq!(rest.next, None);
}

#[tokio::test]
async fn bad_definitions_are_refused() {
    let fresh = fresh().await;
    let port = &fresh.store.workflows;
    for (id, version, yaml) in [
        ("", 1, "x".to_owned()),
        (&*"x".repeat(65), 1, "x".to_owned()),
        ("a", 0, "x".to_owned()),
        ("a", 1, "x".repeat(MAX_DEFINITION + 1)),
    ] {
        let error = port.put(&acme(), id, version, &yaml, 5).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
    let nobody = stencil_protocol::id::TenantId::parse("nobody").unwrap();
    let error = port.put(&nobody, "a", 1, "x", 5).await.unwrap_err();
    assert!(
        matches!(error, Error::NotFound { what: "tenant", .. }),
        "{error}"
    );
}
