#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use super::*;
use crate::sqlite;
use crate::{Error, Tenancy as _};

/// A reorganisation takes hundreds of logs away that are nobody's money.
#[tokio::test]
async fn what_is_not_there_is_forgotten_without_the_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite::open(folder.path().join("hub.db")).await.unwrap();
    let acme = TenantId::parse("acme").unwrap();
    store.create_tenant(&acme, 1).await.unwrap();
    let stray = UnmatchedCredit {
        credit: "1:0xab:0".into(),
        body: "{}".into(),
        at_us: 5,
    };
    assert!(store.put_unmatched(&acme, &stray).await.unwrap());
    let writer = store.write().await.unwrap();
    let patience = Duration::from_secs(5);
    let forgotten = tokio::time::timeout(patience, store.forget_unmatched("1:0xab:1")).await;
    assert!(!forgotten.expect("it waits for the writer").unwrap());
    writer.end(Ok::<_, Error>(())).await.unwrap();
    assert!(store.forget_unmatched("1:0xab:0").await.unwrap());
    assert!(!store.forget_unmatched("1:0xab:0").await.unwrap());
}
