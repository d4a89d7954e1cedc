use stencil_protocol::id::TenantId;
use stencil_store::{Begun, Erased, Keyed};

use crate::{acme, fresh, other};

fn keyed(tenant: Option<TenantId>, caller: &str, key: u8, request: u8) -> Keyed {
    Keyed {
        tenant,
        caller: caller.to_owned(),
        key: [key; 32],
        request: [request; 32],
    }
}

#[tokio::test]
async fn a_key_stands_for_one_request_of_one_caller() {
    let fresh = fresh().await;
    let port = &fresh.store.answers;
    let one = keyed(Some(acme()), "token a", 1, 1);
    assert_eq!(port.begin(&one, 0, 10).await.unwrap(), Begun::Fresh);
    assert_eq!(port.begin(&one, 0, 11).await.unwrap(), Begun::Unanswered);
    port.answer(&one, b"made").await.unwrap();
    let answered = Begun::Answered(b"made".to_vec());
    assert_eq!(port.begin(&one, 0, 12).await.unwrap(), answered);
    let another = keyed(Some(acme()), "token a", 1, 2);
    assert_eq!(port.begin(&another, 0, 13).await.unwrap(), Begun::Another);
    // An answer is not taken by another request's, nor forgotten.
    port.answer(&another, b"other").await.unwrap();
    port.forget(&one).await.unwrap();
    assert_eq!(port.begin(&one, 0, 14).await.unwrap(), answered);
    for others in [
        keyed(Some(acme()), "token b", 1, 1),
        keyed(Some(other()), "token a", 1, 1),
        keyed(None, "token a", 1, 1),
        keyed(Some(acme()), "token a", 2, 1),
    ] {
        assert_eq!(port.begin(&others, 0, 15).await.unwrap(), Begun::Fresh);
        port.forget(&others).await.unwrap();
        assert_eq!(port.begin(&others, 0, 16).await.unwrap(), Begun::Fresh);
    }
    // What is old stands for nothing any more.
    assert_eq!(port.begin(&one, 10, 20).await.unwrap(), answered);
    assert_eq!(port.begin(&one, 11, 20).await.unwrap(), Begun::Fresh);
}

#[tokio::test]
async fn answers_go_with_their_tenant() {
    let fresh = fresh().await;
    let port = &fresh.store.answers;
    let one = keyed(Some(acme()), "token a", 1, 1);
    assert_eq!(port.begin(&one, 0, 10).await.unwrap(), Begun::Fresh);
    let erased = Erased::Tenant(acme());
    fresh.store.keeping.erase(1, &erased).await.unwrap();
    assert_eq!(port.begin(&one, 0, 10).await.unwrap(), Begun::Fresh);
}
