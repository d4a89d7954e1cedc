//! Several processes may open one file; two cannot commit as the pipeline.

use stencil_protocol::sample::OwnedValue;
use stencil_store::{Commit, Error, Role, TokenKind};

use crate::{acme, at, device, fresh, point, reopen};

#[tokio::test]
async fn a_command_beside_the_hub_can_write() {
    let fresh = fresh().await;
    let beside = reopen(fresh.folder.path(), Default::default()).await;
    let kind = TokenKind::Api { role: Role::Viewer };
    let issued = beside
        .tenancy
        .create_token(&acme(), kind, "x", None, 1)
        .await
        .unwrap();
    fresh.store.pipeline.commit(at(1)).await.unwrap();
    assert!(
        fresh
            .store
            .tenancy
            .verify_token(issued.secret.reveal(), 7)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_second_pipeline_is_fenced_off_until_it_knows_what_the_first_did() {
    let fresh = fresh().await;
    let second = reopen(fresh.folder.path(), Default::default()).await;
    let commit = |position: u64, value: i64| Commit {
        points: vec![point("count", value, OwnedValue::Integer(value))].into(),
        ..at(position)
    };
    second.pipeline.commit(commit(1, 1)).await.unwrap();
    fresh.store.pipeline.commit(commit(2, 2)).await.unwrap();
    let error = second.pipeline.commit(commit(3, 3)).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    second.pipeline.commit(commit(3, 3)).await.unwrap();
    let id = device("freezer-1");
    let points = second
        .series
        .range(&acme(), &id, "count", 0, 9, 9)
        .await
        .unwrap();
    assert_eq!(points.len(), 3);
}
