//! A full disk refuses writes, clearly, and harms nothing.

use stencil_protocol::sample::OwnedValue;
use stencil_store::sqlite::Options;
use stencil_store::{Commit, Error, Fields};

use crate::{acme, at, device, fresh_with, point, reopen, twin};

#[tokio::test]
async fn nothing_of_a_refused_commit_is_stored_and_it_succeeds_with_room() {
    let options = Options {
        max_bytes: Some(1024 * 1024),
        ..Options::default()
    };
    let fresh = fresh_with(options).await;
    let commit = |position: u64| {
        let start = i64::try_from(position).unwrap() * 1_000;
        let points = (0..200)
            .map(|n| point("log", start + n, OwnedValue::Text("x".repeat(200))))
            .collect();
        let value = OwnedValue::Integer(start);
        let mut twin = twin("freezer-1", start, 0.0);
        twin.value = value;
        Commit {
            points,
            twins: vec![twin],
            ..at(position)
        }
    };
    let mut stored = 0;
    let error = loop {
        match fresh.store.pipeline.commit(commit(stored + 1)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000, "the bound never held");
    };
    assert!(
        matches!(error, Error::DiskFull(_)) && error.retryable(),
        "{error}"
    );
    assert!(error.to_string().contains("free disk space"), "{error}");

    // State, position and points agree, and can still be read.
    let check = |store: stencil_store::Store, stored: u64| async move {
        let loaded = store.pipeline.load(1).await.unwrap();
        assert_eq!(loaded.position, stored);
        let newest = i64::try_from(stored).unwrap() * 1_000;
        assert_eq!(loaded.twins[0].value, OwnedValue::Integer(newest));
        let id = device("freezer-1");
        let points = store
            .series
            .range(&acme(), &id, "log", 0, i64::MAX, 100_000)
            .await
            .unwrap();
        assert_eq!(points.len() as u64, stored * 200);
    };
    check(fresh.store.clone(), stored).await;
    // Full again, not broken; the connection still works.
    let error = fresh
        .store
        .pipeline
        .commit(commit(stored + 1))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::DiskFull(_)), "{error}");
    check(fresh.store.clone(), stored).await;

    let roomy = reopen(fresh.folder.path(), Options::default()).await;
    roomy.pipeline.commit(commit(stored + 1)).await.unwrap();
    check(roomy, stored + 1).await;
}

#[tokio::test]
async fn content_is_refused_the_same_way() {
    let options = Options {
        max_bytes: Some(1024 * 1024),
        ..Options::default()
    };
    let fresh = fresh_with(options).await;
    let mut fields = Fields::new();
    fields.insert("text".into(), "x".repeat(50_000).into());
    let mut stored = 0;
    let error = loop {
        let key = format!("n{stored}");
        match fresh
            .store
            .content
            .upsert(&acme(), "notices", &key, &fields, None, 1)
            .await
        {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100, "the bound never held");
    };
    assert!(
        matches!(error, Error::DiskFull(_)) && error.retryable(),
        "{error}"
    );
    let found = fresh
        .store
        .content
        .list(&acme(), "notices", None, 100)
        .await
        .unwrap();
    assert_eq!(found.items.len(), stored);
}
